/** A record as a line of the trace. */
import type { KvAsked, KvHeard, SimRecord } from './records.ts';

export function describe(record: SimRecord): string {
  switch (record.kind) {
    case 'produce.called': {
      const to = record.withToken === undefined ? '' : ` with the ack of ${record.withToken}`;
      return `${record.process} produces #${record.op} to ${record.channel}${to}: ${record.messages.map(({ id }) => id).join(' ')}`;
    }
    case 'publish.answered':
      return `#${record.op} is in ${record.stored} channels`;
    case 'produce.answered': {
      const receipts = record.receipts.map(({ id, deduplicated }) => (deduplicated ? `same as ${id}` : id)).join(' ');
      return `#${record.op} is ${record.outcome} ${record.code ?? ''}${receipts}`;
    }
    case 'handler.started':
      return `${record.process} starts ${record.id} of ${record.channel}, token ${record.token}, attempt ${record.attempt}`;
    case 'handler.ended':
      return `${record.process} ${record.how} from token ${record.token}`;
    case 'settle.called':
      return `${record.process} settles token ${record.token} of ${record.seq}: ${record.outcome}${record.effects === undefined ? '' : ` with ${asked({ what: 'commit', ...record.effects })}`}`;
    case 'settle.answered':
      return `${record.process} hears of token ${record.token}: ${record.held ?? 'nothing'}`;
    case 'manage.answered':
      return `${record.process} has done ${record.action} ${record.channel} ${record.id ?? ''}: ${record.outcome}`;
    case 'update.called':
      return `${record.process} changes ${record.id} to ${record.content}`;
    case 'result':
      return `#${record.op} has its result ${record.result}`;
    case 'kv.called':
      return `${record.process} asks #${record.op}: ${asked(record.asked)}`;
    case 'kv.answered':
      return `#${record.op} hears: ${heard(record.heard)}`;
    case 'flow.called':
      return `${record.process} adds a flow: ${record.edges.map(({ parent, child, onFailure }) => `${parent} ${onFailure} ${child}`).join(', ')}`;
    case 'flow.seen':
      return `${record.id} sees ${record.children.map(({ id, state, result }) => `${id} ${state} ${result}`).join(', ')}`;
    case 'watching':
      return `watched by ${record.watchers.map(({ process }) => process).join(' ')}`;
    case 'commit': {
      const { transitions, now, entries } = record.content;
      const what = transitions.map(({ what: happening, seq, attempt }) => `${seq} ${happening} ${attempt}`).join(', ');
      const changed = entries.map(({ key, stored }) => `${key} ${stored?.version ?? 'gone'}`).join(', ');
      const bulks = record.content.bulks.map(
        ({ number, state, changed: count }) => `; bulk ${number} ${state} ${count}`,
      );
      return `commit of ${brief(record.host)} at ${Math.floor(now)}: ${what}${changed === '' ? '' : `; ${changed}`}${bulks.join('')}`;
    }
    case 'began':
      return `sessions wait for ${record.sessionTimeoutMs} ms, leases behind a closed link for ${record.lingerMs} ms`;
    case 'acquired':
      return `${brief(record.host)} leads in epoch ${record.epoch}`;
    case 'welcomed':
      return `${brief(record.host)} is welcomed by ${brief(record.by)}`;
    case 'parted':
      return `${brief(record.host)} is parted from ${brief(record.by)}`;
    case 'died':
      return `${brief(record.host)} is dead`;
    case 'looked':
      return `quiet since ${record.quietSince}, ${record.unserved.length} are not served`;
    case 'replied':
      return `request ${record.request} of ${brief(record.session)} is answered: ${record.reply}`;
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

function asked(what: KvAsked): string {
  switch (what.what) {
    case 'read':
      return `read ${[...what.keys, ...what.ranges.map(({ from, to }) => `${from}..${to}`)].join(' ')}`;
    case 'watch':
      return `watch ${what.keys.join(' ')}`;
    case 'commit': {
      const checks = what.checks.map(({ key, version }) => `${key} is ${version}`);
      return [...checks, ...what.mutations.map(({ kind, key }) => `${kind} ${key}`)].join(', ');
    }
  }
}

function heard(answer: KvHeard): string {
  switch (answer.what) {
    case 'read': {
      const entries = [...answer.entries, ...answer.pages.flatMap((page) => page.entries)];
      return entries.map((entry) => (entry === undefined ? 'nothing' : `${entry.key} ${entry.version}`)).join(', ');
    }
    case 'committed':
      return `version ${answer.version}`;
    case 'conflict':
      return 'a conflict';
    case 'refused':
    case 'unknown':
      return `${answer.what} ${answer.code}`;
  }
}

/** Enough of a random name to tell it from others. */
function brief(name: string): string {
  return name.slice(0, 6);
}
