/** A record as a line of the trace. */
import type { SimRecord } from './records.ts';

export function describe(record: SimRecord): string {
  switch (record.kind) {
    case 'produce.called': {
      const to = record.withToken === undefined ? '' : ` with the ack of ${record.withToken}`;
      return `${record.process} produces #${record.op} to ${record.channel}${to}: ${record.messages.map(({ id }) => id).join(' ')}`;
    }
    case 'produce.answered': {
      const receipts = record.receipts.map(({ id, deduplicated }) => (deduplicated ? `same as ${id}` : id)).join(' ');
      return `#${record.op} is ${record.outcome} ${record.code ?? ''}${receipts}`;
    }
    case 'handler.started':
      return `${record.process} starts ${record.id} of ${record.channel}, token ${record.token}, attempt ${record.attempt}`;
    case 'handler.ended':
      return `${record.process} ${record.how} from token ${record.token}`;
    case 'settle.called':
      return `${record.process} settles token ${record.token} of ${record.seq}: ${record.outcome}`;
    case 'settle.answered':
      return `${record.process} hears of token ${record.token}: ${record.held ?? 'nothing'}`;
    case 'manage.answered':
      return `${record.process} has done ${record.action} ${record.channel} ${record.id ?? ''}: ${record.outcome}`;
    case 'result':
      return `#${record.op} has its result ${record.result}`;
    case 'commit': {
      const { transitions, now } = record.content;
      const what = transitions.map(({ what: happening, seq, attempt }) => `${seq} ${happening} ${attempt}`).join(', ');
      return `commit at ${Math.floor(now)}: ${what}`;
    }
    case 'opened':
      return `a broker leads after ${record.tookMs} ms`;
    case 'noted':
      return record.what;
    case 'idle':
      return `idle: ${record.consumers.map(({ channel }) => channel).join(' ')}`;
    case 'inspected':
      return `${record.moment}: ${record.views.map((view) => `${view.channel} ${view.totals.produced}`).join(', ')}`;
    case 'ended':
      return `the end: ${JSON.stringify(record.left)}`;
  }
}
