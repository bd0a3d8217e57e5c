/** Cases of the API's conformance suite: events. */
import assert from 'node:assert/strict';
import type { JournalEvent } from '../api/events.ts';
import type { ApiCase } from './api-conformance-tools.ts';

export const eventCases: ApiCase[] = [
  [
    'events() of a channel tells of its messages and of itself, to another instance too',
    async ({ channel, open, nameOf }) => {
      const tasks = channel<number, string>('tasks', { attempts: 1 });
      const other = (await open()).events({
        channels: `${nameOf('')}*`,
        kinds: ['produced', 'acked', 'failed', 'drained'],
      });
      const [ends, progress] = [tasks.events({ kinds: ['acked', 'failed'] }), tasks.events({ kinds: ['progress'] })];
      const consumer = await tasks.consume(async (n, context) => {
        await context.progress({ n });
        if (n === 2) throw new Error('no');
        return 'done';
      });
      await tasks.request(1);
      const { id } = await tasks.produce(2);
      const [acked, failed] = await take(ends, 2);
      assert.equal(acked?.kind === 'message' && acked.what, 'acked');
      assert.deepEqual(failed?.kind === 'message' && [failed.what, failed.id, failed.note], ['failed', id, 'no']);
      const [first] = await take(progress, 1);
      assert.deepEqual(first?.kind === 'message' && first.progress, { n: 1 });
      const whats: string[] = [];
      while (whats.filter((what) => what === 'drained').length < 2) whats.push(...(await take(other, 1)).map(brief));
      assert.deepEqual(whats, ['produced', 'acked', 'drained', 'produced', 'failed', 'drained']);
      await consumer.drain();
    },
  ],
  [
    'events() goes on behind a position in another instance',
    async ({ channel, open, nameOf }) => {
      const tasks = channel<number>('tasks');
      const events = tasks.events({ kinds: ['produced'] });
      await tasks.produceAll([1, 2, 3]);
      const [one, ...rest] = await take(events, 3);
      const again = (await open()).events({
        channel: nameOf('tasks'),
        after: one?.position ?? '',
        kinds: ['produced'],
      });
      assert.deepEqual(await take(again, 2), rest);
    },
  ],
];

async function take<Event extends JournalEvent>(events: AsyncGenerator<Event>, count: number): Promise<Event[]> {
  const taken: Event[] = [];
  while (taken.length < count) taken.push((await events.next()).value as Event);
  return taken;
}

function brief(event: JournalEvent): string {
  return event.kind === 'trimmed' ? event.kind : event.what;
}
