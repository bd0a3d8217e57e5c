import { describe, expect, expectTypeOf, test } from 'vitest';
import { type Holdfast, HoldfastError, retry, snooze, type Transaction } from 'holdfast';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';

interface Job {
  readonly from: string;
  readonly to: string;
  readonly amount: number;
}

async function valueOf(hf: Holdfast, ...key: string[]): Promise<unknown> {
  return hf.transact(async (tx) => (await tx.get(key)).value);
}

describe('transact()', () => {
  test('commits what it set, deleted, added and produced, and gives what its function returns', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<string>('mail');
    await hf.transact((tx) => tx.set(['old'], 1));
    const returned = await hf.transact(async (tx) => {
      expect(await tx.get(['old'])).toMatchObject({ value: 1, versionstamp: expect.stringMatching(/^[0-9a-f]{20}$/) });
      tx.set(['new'], { when: new Date(7), list: new Set([1n]) });
      tx.delete(['old']);
      tx.sum(['n'], 3n);
      tx.sum(['n'], 4n);
      tx.produce(mail, 'hello');
      return 'done';
    });
    expect(returned).toBe('done');
    expect(await valueOf(hf, 'new')).toEqual({ when: new Date(7), list: new Set([1n]) });
    expect(await valueOf(hf, 'old')).toBe(null);
    expect(await valueOf(hf, 'n')).toMatchObject({ value: 7n });
    expect(await mail.inspect()).toMatchObject({ ready: 1 });
    expectTypeOf(hf.transact(() => 5)).toEqualTypeOf<Promise<number>>();
  });

  test('sees what it has set itself, and always the same of what it read', async () => {
    const hf = await openUntilEnd('memory:');
    await hf.transact(async (tx) => {
      expect(await tx.get(['x'])).toEqual({ key: ['x'], value: null, versionstamp: null });
      tx.set(['x'], 'set');
      expect(await tx.get(['x'])).toEqual({ key: ['x'], value: 'set', versionstamp: '' });
      tx.delete(['x']);
      expect((await tx.get(['x'])).value).toBe(null);
      tx.sum(['n'], 1n);
      await expect(tx.get(['n'])).rejects.toThrow('Cannot read an entry that this transaction adds to');
    });
    let runs = 0;
    await hf.transact(async (tx) => {
      const first = await tx.get(['y']);
      if (runs++ === 0) await hf.transact((other) => other.set(['y'], runs));
      expect(await tx.get(['y'])).toEqual(first);
    });
    expect(runs).toBe(2);
  });

  test('runs again when what it read has changed, and loses no increment', async () => {
    const hf = await openUntilEnd('memory:');
    let runs = 0;
    const increment = (): Promise<void> =>
      hf.transact(async (tx) => {
        runs += 1;
        const { value } = await tx.get<number>(['n']);
        tx.set(['n'], (value ?? 0) + 1);
      });
    await Promise.all(Array.from({ length: 30 }, increment));
    expect(await valueOf(hf, 'n')).toBe(30);
    expect(runs).toBeGreaterThan(30);
  });

  test('gives up with CONFLICT when that never holds, and commits nothing', async () => {
    const hf = await openUntilEnd('memory:');
    let runs = 0;
    const work = async (tx: Transaction): Promise<void> => {
      await tx.get(['n']);
      runs += 1;
      await hf.transact((other) => other.set(['n'], runs));
      tx.set(['mine'], true);
    };
    await expect(hf.transact(work)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(runs).toBe(100);
    expect(await valueOf(hf, 'mine')).toBe(null);
  });

  test('throws what its function throws, if that has read what holds', async () => {
    const hf = await openUntilEnd('memory:');
    let runs = 0;
    const work = async (tx: Transaction): Promise<never> => {
      const { value } = await tx.get(['n']);
      tx.set(['mine'], true);
      if (runs++ === 0) await hf.transact((other) => other.set(['n'], 1));
      throw new RangeError(`It was ${String(value)}`);
    };
    await expect(hf.transact(work)).rejects.toThrow(new RangeError('It was 1'));
    expect(await valueOf(hf, 'mine')).toBe(null);
    await expect(hf.transact(() => Promise.reject(new Error('at once')))).rejects.toThrow('at once');
  });

  test('refuses a sum on what is no number, and produces nothing then', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<string>('mail');
    await hf.transact((tx) => tx.set(['n'], 'text'));
    const work = (tx: Transaction): void => {
      tx.sum(['n'], 1n);
      tx.produce(mail, 'hello');
    };
    await expect(hf.transact(work)).rejects.toThrow(TypeError);
    expect(await mail.inspect()).toMatchObject({ ready: 0 });
  });

  test('expires entries', async () => {
    const hf = await openUntilEnd('memory:');
    await hf.transact((tx) => tx.set(['x'], 1, { expireIn: 20 }));
    await untilTrue(async () => (await valueOf(hf, 'x')) === null);
  });

  test.each([
    [(tx: Transaction) => tx.set([], 1), 'key cannot be empty'],
    [(tx: Transaction) => tx.set(['x'], () => {}), 'could not be cloned'],
    [(tx: Transaction) => tx.set(['x'], 1, { expireIn: -1 }), 'expireIn must be a non-negative integer'],
    [(tx: Transaction) => tx.set(['x'], 1, { expiresIn: 1 } as object), 'expiresIn'],
    [(tx: Transaction) => tx.sum(['x'], 5 as never), 'Value must be a bigint'],
    [(tx: Transaction) => tx.delete(['x'.repeat(3_000)]), 'Key too large for write'],
  ])('refuses %s', async (work, message) => {
    const hf = await openUntilEnd('memory:');
    await expect(hf.transact(work)).rejects.toThrow(message);
    await expect(hf.transact(5 as never)).rejects.toThrow('give a function');
  });
});

describe('tx of a handler', () => {
  test('commits with the ack: balances stay right with many handlers at a time', async () => {
    const hf = await openUntilEnd(`file:${newFolder()}`);
    const accounts = ['a', 'b', 'c'];
    for (const account of accounts) await hf.transact((tx) => tx.set(['balance', account], 100));
    const transfers = hf.channel<Job>('transfers');
    const receipts = hf.channel<Job>('receipts');
    const jobs = Array.from({ length: 200 }, (_, i) => ({
      from: accounts[i % 3] as string,
      to: accounts[(i + 1 + (i % 2)) % 3] as string,
      amount: 1 + (i % 5),
    }));
    await transfers.produceAll(jobs);
    let runs = 0;
    const consumer = await transfers.consume(
      async (job, { tx }) => {
        runs += 1;
        const [from, to] = await Promise.all([
          tx.get<number>(['balance', job.from]),
          tx.get<number>(['balance', job.to]),
        ]);
        tx.set(['balance', job.from], (from.value ?? 0) - job.amount);
        tx.set(['balance', job.to], (to.value ?? 0) + job.amount);
        tx.sum(['transfers'], 1n);
        tx.produce(receipts, job);
      },
      { concurrency: 20 },
    );
    await untilTrue(async () => (await transfers.inspect()).totals.completed === 200);
    await consumer.close();
    const expected = new Map(accounts.map((account) => [account, 100]));
    for (const { from, to, amount } of jobs) {
      expected.set(from, (expected.get(from) ?? 0) - amount);
      expected.set(to, (expected.get(to) ?? 0) + amount);
    }
    for (const account of accounts) expect(await valueOf(hf, 'balance', account)).toBe(expected.get(account));
    expect(await valueOf(hf, 'transfers')).toMatchObject({ value: 200n });
    expect(await receipts.inspect()).toMatchObject({ ready: 200 });
    expect(runs).toBeGreaterThan(200);
    expect(await transfers.inspect()).toMatchObject({ dead: 0, totals: { redelivered: 0 } });
  });

  test('checks what was read before an attempt counts as failed', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<string>('mail', { attempts: 1 });
    await mail.produce('x');
    const runs: unknown[] = [];
    await mail.consume(async (_message, { tx, attempt }) => {
      const { value } = await tx.get(['ready']);
      runs.push([attempt, value]);
      if (runs.length === 1) await hf.transact((other) => other.set(['ready'], true));
      if (value !== true) throw new Error('Not ready');
    });
    await untilTrue(async () => (await mail.inspect()).completed === 1);
    expect(runs).toEqual([
      [1, null],
      [1, true],
    ]);
  });

  test.each([
    ['snooze', () => snooze('1h')],
    ['retry', () => retry({ delay: '1h' })],
  ])('checks what was read before it does %s, and commits no entries then', async (_name, outcome) => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<string>('mail');
    await mail.produce('x');
    let runs = 0;
    await mail.consume(async (_message, { tx }) => {
      await tx.get(['n']);
      tx.set(['mine'], true);
      if (runs++ === 0) await hf.transact((other) => other.set(['n'], 1));
      return outcome();
    });
    await untilTrue(async () => (await mail.inspect()).delayed === 1);
    expect(await mail.inspect()).toMatchObject({ delayed: 1, leased: 0 });
    expect(runs).toBe(2);
    expect(await valueOf(hf, 'mine')).toBe(null);
  });

  test('fails the attempt, with the reason, when what it reads never holds', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<string>('mail', { attempts: 1 });
    const { id } = await mail.produce('x');
    let runs = 0;
    await mail.consume(async (_message, { tx }) => {
      await tx.get(['n']);
      runs += 1;
      await hf.transact((other) => other.set(['n'], runs));
    });
    await untilTrue(async () => (await mail.inspect()).dead === 1);
    expect(runs).toBe(100);
    expect(await mail.get(id)).toMatchObject({
      failure: { name: 'HoldfastError', message: expect.stringContaining('100 times') },
    });
  });

  test('has no effect when the message was somebody else’s by then', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<string>('mail');
    const { id } = await mail.produce('x');
    let stopped: unknown;
    const consumer = await mail.consume(async (_message, { tx, signal }) => {
      tx.set(['mine'], true);
      await hf.admin.cancel(id);
      stopped = signal.reason;
    });
    await untilTrue(async () => (await mail.inspect()).cancelled === 1);
    await consumer.close();
    expect(stopped === undefined || stopped instanceof HoldfastError).toBe(true);
    expect(await valueOf(hf, 'mine')).toBe(null);
  });

  test('goes on while its consumer drains', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<string>('mail');
    await mail.produce('x');
    let runs = 0;
    let closing: Promise<void> | undefined;
    const consumer = await mail.consume(async (_message, { tx }) => {
      await tx.get(['n']);
      runs += 1;
      closing ??= consumer.drain();
      if (runs < 20) await hf.transact((other) => other.set(['n'], runs));
      tx.set(['mine'], runs);
    });
    await untilTrue(() => closing !== undefined);
    await closing;
    expect(runs).toBe(20);
    expect(await valueOf(hf, 'mine')).toBe(20);
    expect(await mail.inspect()).toMatchObject({ completed: 1 });
  });
});

describe.each(['process', 'thread'] as const)('tx of a handler in a %s', (isolate) => {
  test('reads, and commits with the ack', async () => {
    const hf = await openUntilEnd(`file:${newFolder()}`);
    const jobs = hf.channel<number>('jobs');
    await jobs.produceAll([1, 2, 3, 4, 5]);
    await jobs.consume(new URL('../isolate/modules/counts.mjs', import.meta.url), { isolate, concurrency: 2 });
    await untilTrue(async () => (await jobs.inspect()).completed === 5);
    expect(await valueOf(hf, 'total')).toBe(15);
    expect(await valueOf(hf, 'jobs')).toMatchObject({ value: 5n });
  });
});
