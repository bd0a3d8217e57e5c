import { describe, expect, test } from 'vitest';
import type { Channel, Holdfast, JournalEvent, MessageHappened } from 'holdfast';
import { newFolder, openUntilEnd, startInMemory, timelessSetups } from '../helpers/instances.ts';

/** The next events, as many as asked for. */
async function take(events: AsyncGenerator<JournalEvent>, count: number): Promise<JournalEvent[]> {
  const taken: JournalEvent[] = [];
  while (taken.length < count) taken.push((await events.next()).value as JournalEvent);
  return taken;
}

function shown(events: readonly JournalEvent[]): unknown[] {
  return events.map((event) => {
    if (event.kind === 'message') return [event.what, event.channel, event.id, event.attempt];
    return event.kind === 'channel' ? [event.what, event.channel] : event;
  });
}

describe.each(timelessSetups)('events() [$name]', ({ start }) => {
  test('tells what happens from the call on, in the order of the commits', async () => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail');
    await mail.produce('before');
    const events = hf.events();
    const first = await mail.produce('first');
    const second = await mail.produce('second', { delay: '1h' });
    await hf.admin.cancel(first.id);
    await hf.admin.promote(second.id);
    expect(shown(await take(events, 4))).toEqual([
      ['produced', 'mail', first.id, 0],
      ['produced', 'mail', second.id, 0],
      ['cancelled', 'mail', first.id, 1],
      ['promoted', 'mail', second.id, 1],
    ]);
  });

  test('waits for what has not happened yet', async () => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail');
    const events = hf.events();
    for (let i = 0; i < 5; i++) {
      const next = events.next();
      const { id } = await mail.produce('hello');
      expect(shown([(await next).value])).toEqual([['produced', 'mail', id, 0]]);
    }
  });

  test('names the session that did it, and a message that is gone by then', async () => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail', { retain: { completed: { count: 0 } } });
    const events = mail.events({ kinds: ['produced', 'claimed', 'acked'] });
    const consumer = await mail.consume(() => {});
    const { id } = await mail.produce('hello');
    const heard = (await take(events, 3)) as MessageHappened[];
    await consumer.drain();
    expect(shown(heard)).toEqual([
      ['produced', 'mail', id, 0],
      ['claimed', 'mail', id, 1],
      ['acked', 'mail', id, 1],
    ]);
    expect(await mail.get(id)).toBeUndefined();
    const [produced, claimed, acked] = heard.map(({ session }) => session);
    expect(produced).toBeUndefined();
    expect(claimed).toEqual(expect.any(Number));
    expect(acked).toBe(claimed);
  });

  test('goes on behind a position, and from a moment', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail');
    const events = hf.events();
    const receipts = await mail.produceAll([0, 1, 2, 3, 4]);
    const all = (await take(events, 5)) as MessageHappened[];
    for (const [i, { position }] of all.entries()) {
      const rest = await take(hf.events({ after: position }), 4 - i);
      expect(rest).toEqual(all.slice(i + 1));
    }
    expect(await take(hf.events({ after: 0 }), 5)).toEqual(all);
    expect(await take(hf.events({ after: new Date((all[0] as MessageHappened).at) }), 5)).toEqual(all);
    const later = hf.events({ after: (all[0] as MessageHappened).at + 86_400_000 });
    const { id } = await mail.produce(5);
    expect(shown(await take(later, 1))).toEqual([['produced', 'mail', id, 0]]);
    expect(receipts.map((receipt) => receipt.id)).toEqual(all.map((event) => event.id));
  });

  test('of one channel leaves out the others, also in between', async () => {
    const { hf } = await start();
    const [mail, other] = [hf.channel<number>('mail'), hf.channel<number>('other')];
    const events = hf.events({ channel: 'mail' });
    const ids: string[] = [];
    for (let i = 0; i < 30; i++) {
      await other.produceAll([1, 2, 3]);
      ids.push((await mail.produce(i)).id);
    }
    expect((await take(events, 30)).map((event) => (event as MessageHappened).id)).toEqual(ids);
  });

  test('gives only what passes the filter, and sleeps through the rest', async () => {
    const { hf } = await start();
    const [one, two, other] = ['mail/1', 'mail/2', 'other'].map((name) => hf.channel<number>(name));
    const events = hf.events({ channels: 'mail/*', kinds: ['cancelled', 'paused'] });
    const next = events.next();
    const ids: string[] = [];
    for (const channel of [one, other, two]) {
      const { id } = await (channel as Channel<number>).produce(1);
      await hf.admin.cancel(id);
      await channel?.pause();
      ids.push(id);
    }
    expect(shown([(await next).value as JournalEvent, ...(await take(events, 3))])).toEqual([
      ['cancelled', 'mail/1', ids[0], 1],
      ['paused', 'mail/1'],
      ['cancelled', 'mail/2', ids[2], 1],
      ['paused', 'mail/2'],
    ]);
    expect(() => hf.events({ channel: 'a', channels: 'b' })).toThrow('Cannot use "channel" and "channels" together');
    expect(() => hf.events({ kinds: [] })).toThrow('must be a list that is not empty');
    expect(() => hf.events({ kinds: ['done' as 'acked'] })).toThrow(
      'Cannot use "done" as one of "kinds": known are produced',
    );
  });

  test('tells what happens to a channel as a whole, each change once', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail');
    const events = mail.events({ kinds: ['paused', 'resumed', 'cleared', 'drained', 'configured'] });
    for (const paused of [true, true, false, false]) await (paused ? mail.pause() : mail.resume());
    await mail.retain({ dead: { count: 7 } });
    await mail.retain({ dead: { count: 7 } });
    await mail.produceAll([1, 2, 3], { delay: '1h' });
    await mail.purge();
    const seen = await take(events, 5);
    expect(shown(seen.slice(0, 3))).toEqual([
      ['paused', 'mail'],
      ['resumed', 'mail'],
      ['configured', 'mail'],
    ]);
    expect(shown(seen.slice(3))).toEqual([
      ['cleared', 'mail'],
      ['drained', 'mail'],
    ]);
    const { id } = await mail.produce(4);
    await mail.cancel(id);
    expect(shown(await take(events, 1))).toEqual([['drained', 'mail']]);
  });

  test('carries small progress, lines, and why an attempt has failed', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail', { attempts: 1 });
    const events = mail.events({ kinds: ['progress', 'logged', 'failed'] });
    const consumer = await mail.consume(async (_, context) => {
      await context.progress({ done: 5n });
      await context.progress('x'.repeat(2_000));
      await context.log('halfway');
      await context.log('é'.repeat(1_000));
      throw new Error('no more'.padEnd(300, '.'));
    });
    await mail.produce(1);
    const seen = (await take(events, 5)) as MessageHappened[];
    await consumer.close();
    expect(seen.map(({ what, progress, note }) => [what, progress, note])).toEqual([
      ['progress', { done: 5n }, undefined],
      ['progress', undefined, undefined],
      ['logged', undefined, 'halfway'],
      ['logged', undefined, undefined],
      ['failed', undefined, 'no more'.padEnd(200, '.')],
    ]);
  });

  test('ends with the reason of the signal, whether it waits or not', async () => {
    const { hf } = await start();
    const abort = new AbortController();
    const events = hf.events({ signal: abort.signal });
    const waiting = events.next();
    await hf.channelNames();
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(hf.events({ signal: AbortSignal.abort(new Error('never')) }).next()).rejects.toThrow('never');
  });

  test('ends when the instance is closed', async () => {
    const { hf } = await start();
    const waiting = hf.events().next();
    await hf.channelNames();
    const ended = expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
    await hf.close();
    await ended;
  });

  test('refuses a position that no event has had, and what is no position', async () => {
    const { hf } = await start();
    await expect(hf.events({ after: '999999.0' }).next()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    for (const after of ['', 'x', '1', '-1.0', '1.5.2', Number.NaN, new Date(Number.NaN), {}, null]) {
      expect(() => hf.events({ after: after as string })).toThrow(TypeError);
    }
    expect(() => hf.events({ since: 5 } as object)).toThrow('known are after, channel, channels, kinds, signal');
    expect(() => hf.events({ channel: '' })).toThrow(RangeError);
  });
});

describe('events()', () => {
  test('are kept over a restart, each once', async () => {
    const url = `file:${newFolder()}`;
    const first = await openUntilEnd(url);
    const events = first.events();
    const ids = [
      (await first.channel<number>('mail').produce(1)).id,
      (await first.channel<number>('mail').produce(2)).id,
    ];
    const [{ position }] = (await take(events, 1)) as [MessageHappened];
    await first.close();
    const second = await openUntilEnd(url);
    const rest = second.events({ after: position });
    expect(shown(await take(rest, 1))).toEqual([['produced', 'mail', ids[1], 0]]);
    const { id } = await second.channel<number>('mail').produce(3);
    expect(shown(await take(rest, 1))).toEqual([['produced', 'mail', id, 0]]);
  });

  test('say what was trimmed, exactly', async () => {
    const { hf, clock } = await startInMemory();
    const mail = hf.channel<number>('mail');
    const events = hf.events();
    await mail.produceAll([1, 2]);
    const [one, two] = (await take(events, 2)) as [MessageHappened, MessageHappened];
    await clock.advance(86_400_000);
    const { id } = await mail.produce(3);
    // Behind the second nothing is missing, although its record is gone.
    expect(shown(await take(hf.events({ after: two.position }), 1))).toEqual([['produced', 'mail', id, 0]]);
    const [trimmed, next] = await take(hf.events({ after: one.position }), 2);
    expect(trimmed).toMatchObject({ kind: 'trimmed' });
    expect(shown([next as JournalEvent])).toEqual([['produced', 'mail', id, 0]]);
    expect(shown(await take(hf.events({ after: (trimmed as JournalEvent).position }), 1))).toEqual(
      shown([next as JournalEvent]),
    );
  });

  test('are kept as long as retainEvents says, also by the broker after this one', async () => {
    const url = `file:${newFolder()}`;
    const first = await openUntilEnd(url);
    await first.admin.retainEvents({ count: 10 });
    await first.close();
    const second = await openUntilEnd(url);
    const mail = second.channel<number>('mail');
    const ids: string[] = [];
    for (let i = 0; i < 30; i++) ids.push((await mail.produce(i)).id);
    const kept = (await take(second.events({ after: 0 }), 10)) as MessageHappened[];
    expect(kept.map(({ id }) => id)).toEqual(ids.slice(-10));
    for (const wrong of [{ count: -1 }, { count: 1_000_001 }, { count: 1.5 }, { age: 'soon' }, { size: 5 }]) {
      await expect(second.admin.retainEvents(wrong as object)).rejects.toThrow(/^Cannot /);
    }
  });

  test('of a burst are all there, each once', async () => {
    const { hf } = await startInMemory();
    const mail = hf.channel<number>('mail', { retain: { completed: { count: 10 } } });
    const events = hf.events({ kinds: ['produced', 'claimed', 'acked'] });
    const consumer = await mail.consume(() => {}, { concurrency: 50 });
    const produced: Promise<{ readonly id: string }>[] = [];
    for (let i = 0; i < 5_000; i++) produced.push(mail.produce(i));
    const ids = (await Promise.all(produced)).map(({ id }) => id);
    const counts = new Map<string, string[]>();
    await collect(events, 15_000, counts);
    await consumer.drain();
    for (const id of ids) expect(counts.get(id)).toEqual(['produced', 'claimed', 'acked']);
    expect(counts.size).toBe(5_000);
  });

  test('come to several readers of one instance', async () => {
    const { hf } = await startInMemory();
    const readers: readonly AsyncGenerator<JournalEvent>[] = [hf.events(), hf.events({ channel: 'mail' }), hf.events()];
    const waiting = readers.map((reader) => take(reader, 3));
    for (let i = 0; i < 3; i++) await produceOne(hf, i);
    const heard = await Promise.all(waiting);
    expect(heard[1]).toEqual(heard[0]);
    expect(heard[2]).toEqual(heard[0]);
  });
});

async function produceOne(hf: Holdfast, number: number): Promise<void> {
  await hf.channel<number>('mail').produce(number);
}

async function collect(
  events: AsyncGenerator<JournalEvent>,
  count: number,
  into: Map<string, string[]>,
): Promise<void> {
  for (const event of await take(events, count)) {
    if (event.kind !== 'message' || event.id === undefined) throw new Error('An event is not known any more');
    into.set(event.id, [...(into.get(event.id) ?? []), event.what]);
  }
}
