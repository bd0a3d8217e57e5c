import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { KvU64 } from 'holdfast';
import { startInMemory } from '../helpers/instances.ts';
import { settled, until } from '../helpers/manual-clock.ts';

const quiet = { onError: (): void => {} };

describe('enqueue()', () => {
  test('delivers any value as a copy of it', async () => {
    const { kv } = (await startInMemory()).hf;
    const seen: unknown[] = [];
    void kv.listenQueue((message) => void seen.push(message), { concurrency: 1 });
    const date = new Date(5);
    const values = [undefined, null, 'text', 5n, { date, map: new Map([[1, Uint8Array.of(1)]]) }, Uint8Array.of(2)];
    for (const value of values) await kv.enqueue(value);
    date.setTime(6);
    // Where a value is, a KvU64 is a number; in a message it is an object with a field.
    await kv.enqueue(new KvU64(5n));
    await until(() => seen.length === 7);
    expect(seen.slice(0, 4)).toEqual([undefined, null, 'text', 5n]);
    expect(seen.slice(4)).toEqual([
      { date: new Date(5), map: new Map([[1, Uint8Array.of(1)]]) },
      Uint8Array.of(2),
      { value: 5n },
    ]);
  });

  test('waits for the delay, and no longer', async () => {
    const { hf, clock } = await startInMemory();
    const seen: unknown[] = [];
    void hf.kv.listenQueue((message) => void seen.push(message));
    await hf.kv.enqueue('later', { delay: 600_000 });
    await clock.advance(599_999);
    expect(seen).toEqual([]);
    await clock.advance(1);
    expect(seen).toEqual(['later']);
  });

  test('keeps the order of what one commit enqueues, whatever the schedules and the channels', async () => {
    const { hf } = await startInMemory();
    const { kv } = hf;
    const mails = hf.channel<string>('mails');
    await kv
      .atomic()
      .enqueue('a')
      .produce(mails, 'first')
      .enqueue('b', { backoffSchedule: [5] })
      .produce(mails, 'second', { attempts: 2 })
      .enqueue('c')
      .produce(mails, 'third')
      .commit();
    await hf.transact((tx) => {
      tx.produce(mails, 'fourth');
      tx.produce(mails, 'fifth', { attempts: 2 });
      tx.produce(mails, 'sixth');
    });
    const seen: unknown[] = [];
    void kv.listenQueue((message) => void seen.push(message), { concurrency: 1 });
    await until(() => seen.length === 3);
    expect(seen).toEqual(['a', 'b', 'c']);
    const mailed = (await mails.list('ready')).map(({ message }) => message);
    expect(mailed).toEqual(['first', 'second', 'third', 'fourth', 'fifth', 'sixth']);
  });

  test('happens with the rest of its commit, or not at all', async () => {
    const { kv } = (await startInMemory()).hf;
    const queue = kv.queue('held');
    expect(
      await kv
        .atomic()
        .check({ key: ['a'], versionstamp: null })
        .set(['a'], 1)
        .enqueue('one')
        .commit(),
    ).toMatchObject({
      ok: true,
    });
    expect(
      await kv
        .atomic()
        .check({ key: ['a'], versionstamp: null })
        .enqueue('two')
        .commit(),
    ).toEqual({ ok: false });
    const seen: unknown[] = [];
    void kv.listenQueue((message) => void seen.push(message));
    void queue.listenQueue((message) => void seen.push(['held', message]));
    await until(() => seen.length > 0);
    await settled();
    expect(seen).toEqual(['one']);
  });

  test('can be committed again, as another message', async () => {
    const { hf } = await startInMemory();
    const mails = hf.channel<string>('mails');
    const atomic = hf.kv.atomic().enqueue('again').produce(mails, 'mail');
    await atomic.commit();
    await atomic.commit();
    expect(await mails.inspect()).toMatchObject({ ready: 2 });
    expect(await hf.channel('kv/queue').inspect()).toMatchObject({ ready: 2 });
  });

  test('says that the queue is full, and does nothing of the commit', async () => {
    const { hf } = await startInMemory({ kv: { maxBacklog: 2 } });
    const { kv } = hf;
    await kv.enqueue(1);
    const tooMany = kv.atomic().set(['a'], 1).enqueue(2).enqueue(3);
    const full = new TypeError('Queue backlog limit exceeded');
    await expect(tooMany.commit()).rejects.toThrow(full);
    expect((await kv.get(['a'])).versionstamp).toBeNull();
    await kv.enqueue(2);
    await expect(kv.enqueue(3)).rejects.toBeInstanceOf(TypeError);
    // Another queue is another one.
    await kv.queue('other').enqueue(3);
    const mails = hf.channel<number>('mails', { maxBacklog: 1 });
    await mails.produce(1);
    await expect(kv.atomic().enqueue(1, { delay: 5 }).produce(mails, 2).commit()).rejects.toMatchObject({
      code: 'BACKLOG_FULL',
    });
  });
});

describe('a handler that throws', () => {
  test('runs again after 0.1, 1, 5, 30 and 60 s, and the message is found under its keys', async () => {
    const { hf, clock } = await startInMemory();
    const { kv } = hf;
    const at: number[] = [];
    const start = clock.monotonicMs();
    void kv.listenQueue(() => {
      at.push(clock.monotonicMs() - start);
      throw new Error('boom');
    }, quiet);
    const keys = [
      ['failed', 1],
      ['failed', 2],
    ];
    await kv.set(['failed', 1], 'what was there');
    await kv.enqueue({ to: 'ann' }, { keysIfUndelivered: keys });
    await clock.advance(96_099);
    expect(at).toEqual([0, 100, 1_100, 6_100, 36_100]);
    expect((await kv.get(['failed', 1])).value).toBe('what was there');
    await clock.advance(1);
    expect(at).toEqual([0, 100, 1_100, 6_100, 36_100, 96_100]);
    const [one, two] = await kv.getMany(keys);
    expect([one?.value, two?.value]).toEqual([{ to: 'ann' }, { to: 'ann' }]);
    expect(one?.versionstamp).toBe(two?.versionstamp);
    await clock.advance(600_000);
    expect(at).toHaveLength(6);
  });

  test('has as many attempts as its schedule has delays, and one more', async () => {
    const { hf, clock } = await startInMemory();
    const { kv } = hf;
    const seen: string[] = [];
    void kv.listenQueue((message: string) => {
      seen.push(message);
      throw new Error('boom');
    }, quiet);
    await kv.enqueue('once', { backoffSchedule: [], keysIfUndelivered: [['once']] });
    await kv.enqueue('thrice', { backoffSchedule: [10, 20], keysIfUndelivered: [['thrice']] });
    await clock.advance(30);
    expect(seen).toEqual(['once', 'thrice', 'thrice', 'thrice']);
    expect((await kv.getMany([['once'], ['thrice']])).map(({ value }) => value)).toEqual(['once', 'thrice']);
    // It can be looked at, and brought back.
    const queue = hf.channel('kv/queue');
    expect(await queue.list('dead')).toMatchObject([
      { message: 'thrice', failure: { message: 'boom' } },
      { message: 'once', attempts: 1 },
    ]);
  });

  test('is told of by a warning of the process', async () => {
    const { kv } = (await startInMemory()).hf;
    const warned = once(process, 'warning') as Promise<[Error & { detail?: string }]>;
    void kv.listenQueue(() => {
      throw new Error('boom');
    });
    await kv.enqueue(1, { backoffSchedule: [] });
    const [warning] = await warned;
    expect(warning.message).toBe('Exception in queue handler');
    expect(warning.detail).toContain('Error: boom');
  });
});

describe('listenQueue()', () => {
  test('runs 100 handlers at a time, or as many as it is told', async () => {
    const { kv } = (await startInMemory()).hf;
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    for (const [name, concurrency, expected] of [
      ['default', undefined, 100],
      ['three', 3, 3],
    ] as const) {
      const queue = kv.queue(name);
      let running = 0;
      void queue.listenQueue(
        () => {
          running += 1;
          return finished;
        },
        concurrency === undefined ? {} : { concurrency },
      );
      await Promise.all(Array.from({ length: 150 }, (_, i) => queue.enqueue(i)));
      await settled();
      expect(running).toBe(expected);
    }
    finish();
  });

  test('shares messages among listeners', async () => {
    const { kv } = (await startInMemory()).hf;
    const seen: string[] = [];
    for (const name of ['a', 'b']) {
      void kv.listenQueue(
        async () => {
          seen.push(name);
          await settled(1);
        },
        { concurrency: 1 },
      );
    }
    await Promise.all(Array.from({ length: 20 }, (_, i) => kv.enqueue(i)));
    await until(() => seen.length === 20);
    expect(new Set(seen)).toEqual(new Set(['a', 'b']));
  });

  test('gives the handler its context, whose effects commit with the message', async () => {
    const { kv } = (await startInMemory()).hf;
    let isDone = false;
    void kv.listenQueue(async (amount: bigint, { tx, attempt }) => {
      const balance = await tx.get<bigint>(['balance']);
      tx.set(['balance'], (balance.value ?? 0n) + amount);
      if (attempt === 1) throw new Error('not yet');
      isDone = true;
    }, quiet);
    await kv.enqueue(10n, { backoffSchedule: [0] });
    await until(() => isDone);
    await settled();
    expect((await kv.get(['balance'])).value).toBe(10n);
  });

  test('hears BSON too, from a channel of its name', async () => {
    const { hf } = await startInMemory();
    const seen: unknown[] = [];
    void hf.kv.queue('both').listenQueue((message) => void seen.push(message));
    await hf.channel('kv/queue/both').produce({ at: new Date(5) });
    await until(() => seen.length === 1);
    expect(seen).toEqual([{ at: new Date(5) }]);
  });

  test('refuses a KV that was closed, and options that it does not know', async () => {
    const { kv } = (await startInMemory()).hf;
    await expect(kv.listenQueue(() => {}, { workers: 5 } as never)).rejects.toThrow(/Cannot use "workers"/);
    await expect(kv.listenQueue(() => {}, { concurrency: 0 })).rejects.toThrow(RangeError);
    kv.close();
    await expect(kv.listenQueue(() => {})).rejects.toThrow(new Error('Queue already closed'));
  });

  test('ends with its instance', async () => {
    const { hf } = await startInMemory();
    const heard = hf.kv.listenQueue(() => {});
    await hf.close();
    await heard;
    await expect(hf.kv.get(['a'])).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('refuses a name that no channel can have', async () => {
    const { kv } = (await startInMemory()).hf;
    expect(() => kv.queue('')).toThrow(RangeError);
    expect(() => kv.queue('a'.repeat(250))).toThrow(RangeError);
  });
});
