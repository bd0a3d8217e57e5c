import { describe, expect, expectTypeOf, test } from 'vitest';
import { type BatchMessage, deadLetter, type Holdfast, retry, snooze } from 'holdfast';
import { z } from 'zod';
import { openUntilEnd, startInMemory, timelessSetups } from '../helpers/instances.ts';

async function valueOf(hf: Holdfast, ...key: string[]): Promise<unknown> {
  return hf.transact(async (tx) => (await tx.get(key)).value);
}

/** Resolves as soon as somebody opens it. */
function gate(): { readonly opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

function numbers(batch: readonly BatchMessage<number>[]): number[] {
  return batch.map(({ message }) => message);
}

describe.each(timelessSetups)('consumeBatch() [$name]', ({ start }) => {
  test('hands over what waits, up to the size, and completes all of it', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail');
    const receipts = await mail.produceAll(Array.from({ length: 25 }, (_, i) => i));
    const batches: number[][] = [];
    const all = gate();
    const consumer = await mail.consumeBatch(
      (batch) => {
        batches.push(numbers(batch));
        if (batches.flat().length === 25) all.open();
      },
      { size: 10, wait: '1h', minSize: 5 },
    );
    await all.opened;
    await consumer.drain();
    expect(batches.flat()).toEqual(Array.from({ length: 25 }, (_, i) => i));
    expect(Math.max(...batches.map(({ length }) => length))).toBe(10);
    expect(await mail.inspect()).toMatchObject({ completed: 25, ready: 0, leased: 0 });
    expect(await mail.get(receipts[0]?.id ?? '')).toMatchObject({ state: 'completed', attempts: 1 });
  });

  test('gives each message the outcome that it was given, or the one that was returned', async () => {
    const { hf } = await start();
    const mail = hf.channel<number, string>('mail', { attempts: 2, backoff: '1h' });
    const ids = (await mail.produceAll([0, 1, 2, 3, 4, 5])).map(({ id }) => id);
    const consumer = await mail.consumeBatch(
      (batch) => {
        const [, , two, three, four, five] = batch;
        two?.settle(snooze('1h'));
        three?.settle(deadLetter('no such address'));
        four?.fail(new RangeError('too far'));
        five?.settle('early');
        five?.settle('late');
        return ['zero', undefined, 'ignored', 'ignored', 'ignored', 'ignored'];
      },
      { size: 6, wait: '1h' },
    );
    expect(await mail.result(ids[0] ?? '')).toBe('zero');
    await consumer.drain();
    const found = await Promise.all(ids.map((id) => mail.get(id)));
    expect(found.map((one) => [one?.state, one?.attempts, one?.failure?.message, one?.result])).toEqual([
      ['completed', 1, undefined, 'zero'],
      ['completed', 1, undefined, undefined],
      ['delayed', 0, undefined, undefined],
      ['dead', 1, 'no such address', undefined],
      ['delayed', 1, 'too far', undefined],
      ['completed', 1, undefined, 'late'],
    ]);
  });

  test('an error concerns those without an outcome, and so does one outcome for all', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail', { attempts: 1 });
    await mail.produceAll([0, 1, 2]);
    const thrown = await mail.consumeBatch(
      ([first]) => {
        first?.settle();
        throw new Error('the others');
      },
      { size: 3, wait: '1h' },
    );
    const events = mail.events({ after: 0, kinds: ['failed', 'acked'] });
    for (let i = 0; i < 3; i++) await events.next();
    await thrown.drain();
    expect(await mail.inspect()).toMatchObject({ completed: 1, dead: 2 });
    await mail.produceAll([3, 4]);
    const returned = await mail.consumeBatch(() => deadLetter('all of them'), { size: 2, wait: '1h' });
    for (let i = 0; i < 2; i++) await events.next();
    await returned.drain();
    expect((await mail.list('dead')).map(({ failure }) => failure?.message)).toEqual([
      'all of them',
      'all of them',
      'the others',
      'the others',
    ]);
  });

  test('what a handler returns that is no outcome for each is a failed attempt', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail', { attempts: 1 });
    const wrong: readonly unknown[] = [[1], 'done', { result: 1 }];
    for (const returned of wrong) {
      const events = mail.events({ kinds: ['drained'] });
      await mail.produceAll([0, 1]);
      const consumer = await mail.consumeBatch(() => returned as never, { size: 2, wait: '1h' });
      await events.next();
      await consumer.drain();
    }
    const reasons = (await mail.list('dead')).map(({ failure }) => failure?.message.replace(/:.*/, ''));
    expect(reasons.reverse()).toEqual([
      'Cannot settle a batch of 2 with 1 outcomes',
      'Cannot settle a batch of 2 with 1 outcomes',
      ...Array.from({ length: 4 }, () => 'Cannot settle a batch with this'),
    ]);
  });

  test('tx commits with all ends of the batch in one commit', async () => {
    const { hf } = await start();
    const [mail, sums] = [hf.channel<number, string>('mail', { attempts: 1 }), hf.channel<number>('sums')];
    const ids = (await mail.produceAll([1, 2, 3])).map(({ id }) => id);
    const consumer = await mail.consumeBatch(
      async (batch, { tx }) => {
        const { value } = await tx.get<number>(['sum']);
        const sum = numbers(batch).reduce((a, b) => a + b, value ?? 0);
        tx.set(['sum'], sum);
        tx.produce(sums, sum);
        batch[2]?.fail(new Error('not this one'));
        return ['one', 'two', undefined];
      },
      { size: 3, wait: '1h' },
    );
    expect(await Promise.all([mail.result(ids[0] ?? ''), mail.result(ids[1] ?? '')])).toEqual(['one', 'two']);
    await consumer.drain();
    expect(await valueOf(hf, 'sum')).toBe(6);
    expect((await sums.list('ready')).map(({ message }) => message)).toEqual([6]);
    expect(await mail.get(ids[2] ?? '')).toMatchObject({ state: 'dead', failure: { message: 'not this one' } });
    const events = hf.events({ after: 0, kinds: ['acked', 'produced', 'failed'] });
    const positions: string[] = [];
    for (let i = 0; i < 7; i++) positions.push(((await events.next()).value.position as string).split('.')[0] ?? '');
    // The three messages of the batch, then the sum and the three ends, of one commit; an end is one place further.
    expect(new Set(positions.slice(3, 6)).size).toBe(1);
  });

  test('runs again without a message that was cancelled meanwhile, and without any of its effects', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail');
    const receipts = await mail.produceAll([1, 2, 3]);
    const runs: number[][] = [];
    const consumer = await mail.consumeBatch(
      async (batch, { tx }) => {
        runs.push(numbers(batch));
        tx.set(
          ['sum'],
          numbers(batch).reduce((a, b) => a + b),
        );
        if (runs.length === 1) await mail.cancel(receipts[1]?.id ?? '');
      },
      { size: 3, wait: '1h' },
    );
    await mail.result(receipts[0]?.id ?? '');
    await consumer.drain();
    expect(runs).toEqual([
      [1, 2, 3],
      [1, 3],
    ]);
    expect(await valueOf(hf, 'sum')).toBe(4);
    expect(await mail.inspect()).toMatchObject({ completed: 2, cancelled: 1 });
  });

  test('runs again when what it read has changed, also when it threw for that', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail', { attempts: 1 });
    const receipts = await mail.produceAll([1, 2]);
    const seen: unknown[] = [];
    const consumer = await mail.consumeBatch(
      async (batch, { tx }) => {
        const { value } = await tx.get<number>(['n']);
        seen.push(value);
        if (seen.length <= 2) await hf.transact((other) => other.set(['n'], seen.length));
        if (seen.length === 2) throw new Error('what it read cannot be');
        tx.set(['n'], 10 * batch.length);
      },
      { size: 2, wait: '1h' },
    );
    await mail.result(receipts[1]?.id ?? '');
    await consumer.drain();
    expect(seen).toEqual([null, 1, 2]);
    expect(await valueOf(hf, 'n')).toBe(20);
    expect(await mail.inspect()).toMatchObject({ completed: 2, dead: 0 });
  });

  test('a handler that throws takes back the successes that rest on its effects', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail', { attempts: 1 });
    const events = mail.events({ kinds: ['failed', 'acked'] });
    await mail.produceAll([1, 2]);
    const consumer = await mail.consumeBatch(
      ([first], { tx }) => {
        tx.set(['n'], 1);
        first?.settle('done');
        throw new Error('no');
      },
      { size: 2, wait: '1h' },
    );
    for (let i = 0; i < 2; i++) await events.next();
    await consumer.drain();
    expect(await mail.inspect()).toMatchObject({ completed: 0, dead: 2 });
    expect(await valueOf(hf, 'n')).toBe(null);
  });

  test('leaves out what cannot be decoded or does not match the schema', async () => {
    const { hf } = await start();
    const anything = hf.channel<unknown>('mail', { attempts: 1 });
    const mail = hf.channel('mail', { attempts: 1, schema: z.object({ to: z.string() }) });
    const receipts = await anything.produceAll([{ to: 'ada' }, 5, { to: 'bob' }]);
    const batches: string[][] = [];
    const consumer = await mail.consumeBatch(
      (batch) => {
        expectTypeOf(batch[0]?.message).toEqualTypeOf<{ to: string } | undefined>();
        batches.push(batch.map(({ message }) => message.to));
      },
      { size: 3, wait: '1h' },
    );
    await anything.result(receipts[2]?.id ?? '');
    await consumer.drain();
    expect(batches).toEqual([['ada', 'bob']]);
    expect(await mail.get(receipts[1]?.id ?? '')).toMatchObject({
      state: 'dead',
      failure: { name: 'InvalidMessageError' },
    });
  });

  test('close() gives back what waits for a batch, and what one is working on', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail');
    await mail.produceAll([1, 2, 3]);
    const started = gate();
    let reason: unknown;
    const consumer = await mail.consumeBatch(
      async (_, { signal }) => {
        started.open();
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        reason = signal.reason;
      },
      { size: 2, wait: '1h' },
    );
    await started.opened;
    await consumer.close();
    expect(reason).toMatchObject({ code: 'CLOSED' });
    expect(await mail.inspect()).toMatchObject({ ready: 3, leased: 0 });
    expect((await mail.list('ready')).map(({ attempts }) => attempts)).toEqual([0, 0, 0]);
  });
});

describe('consumeBatch()', () => {
  test('waits for more, from when the first message came, and no longer', async () => {
    const { hf, clock } = await startInMemory();
    const mail = hf.channel<number>('mail');
    const batches: number[][] = [];
    await mail.consumeBatch((batch) => void batches.push(numbers(batch)), { size: 10, minSize: 3, wait: '1s' });
    await mail.produce(1);
    await clock.advance(600);
    await mail.produce(2);
    await clock.advance(399);
    expect(batches).toEqual([]);
    await clock.advance(1);
    expect(batches).toEqual([[1, 2]]);
    await mail.produceAll([3, 4]);
    await clock.advance(500);
    await mail.produce(5);
    await clock.advance(0);
    expect(batches).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
    expect(await mail.inspect()).toMatchObject({ completed: 5 });
  });

  test('a message that waits for a batch has not started, and is charged nothing when its process dies', async () => {
    const { hf, clock } = await startInMemory();
    const mail = hf.channel<number>('mail', { timeout: '1s' });
    const { id } = await mail.produce(1);
    const consumer = await mail.consumeBatch(() => {}, { size: 2, wait: '1h' });
    await clock.advance(600_000);
    // Its time as a handler's would be over; it has not begun.
    expect(await mail.get(id)).toMatchObject({ state: 'leased', attempts: 0 });
    await consumer.close();
    expect(await mail.get(id)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
  });

  test('the time of a batch is the shortest of its messages, and extend() gives more to all', async () => {
    const { hf, clock } = await startInMemory();
    const mail = hf.channel<number>('mail', { attempts: 1 });
    await mail.produce(1, { timeout: '2s' });
    await mail.produce(2, { timeout: '5s' });
    const [aborted, started] = [gate(), gate()];
    await mail.consumeBatch(
      async (_, context) => {
        await context.extend('3s');
        started.open();
        context.signal.addEventListener('abort', aborted.open);
        await aborted.opened;
        await new Promise(() => {});
      },
      { size: 2, wait: '1h' },
    );
    await started.opened;
    await clock.advance(2_999);
    expect(await mail.inspect()).toMatchObject({ leased: 2 });
    await clock.advance(1);
    await aborted.opened;
    await clock.advance(0);
    expect((await mail.list('dead')).map(({ failure }) => failure?.name)).toEqual(['TimeoutError', 'TimeoutError']);
  });

  test('runs several batches at a time, and no more', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<number>('mail');
    await mail.produceAll(Array.from({ length: 50 }, (_, i) => i));
    let [running, most] = [0, 0];
    const consumer = await mail.consumeBatch(
      async (batch) => {
        most = Math.max(most, ++running);
        await batch[0]?.log('at work');
        running -= 1;
      },
      { size: 5, wait: '1h', concurrency: 3 },
    );
    const events = mail.events({ kinds: ['drained'], after: 0 });
    await events.next();
    await consumer.drain();
    expect(most).toBe(3);
  });

  test('one that is never allowed its effects fails, and says why', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<number>('mail', { attempts: 1 });
    const events = mail.events({ kinds: ['failed'] });
    await hf.transact((tx) => tx.set(['text'], 'no number'));
    await mail.produceAll([1, 2]);
    await mail.consumeBatch((_, { tx }) => tx.sum(['text'], 1n), { size: 2, wait: '1h' });
    for (let i = 0; i < 2; i++) {
      const { value } = await events.next();
      expect(value).toMatchObject({ what: 'failed' });
    }
    const [dead] = await mail.list('dead');
    expect(dead?.failure?.name).toBe('WRONG_TYPE');
  });

  test('refuses options that cannot be', async () => {
    const hf = await openUntilEnd('memory:');
    const mail = hf.channel<number>('mail');
    const consume = (options: object) => mail.consumeBatch(() => {}, options);
    await expect(consume({ size: 0 })).rejects.toThrow(
      'Cannot use 0 as "size": it must be a whole number from 1 to 1000',
    );
    await expect(consume({ size: 5, minSize: 6, wait: 1 })).rejects.toThrow('it must be a whole number from 1 to 5');
    await expect(consume({ size: 5, minSize: 2 })).rejects.toThrow('Cannot use "minSize" without "wait"');
    await expect(consume({ size: 1_000, concurrency: 11 })).rejects.toThrow('at most 10000 together');
    await expect(consume({ batch: 5 })).rejects.toThrow(
      'known are concurrency, prefetch, signal, onError, scope, size, minSize, wait',
    );
    await expect(mail.consumeBatch(new URL('file:///x.js') as never)).rejects.toThrow('the handler must be a function');
    await expect(mail.consumeBatch(() => retry(), { size: 2.5 })).rejects.toThrow(RangeError);
  });
});
