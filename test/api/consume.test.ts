import { describe, expect, test } from 'vitest';
import { deadLetter, type HandlerContext, type HoldfastError, retry, snooze } from 'holdfast';
import { settled, until } from '../helpers/manual-clock.ts';
import { setups } from '../helpers/instances.ts';

describe.each(setups)('handlers [$name]', ({ start }) => {
  test('a throw is a failed attempt, retried with backoff, dead with the last error', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', { attempts: 3, backoff: ['1s', '5s'] });
    const { id } = await channel.produce('hello');
    const attempts: [number, boolean][] = [];
    await channel.consume((_message, { attempt, redelivered }) => {
      attempts.push([attempt, redelivered]);
      throw new RangeError(`boom ${attempt}`);
    });
    await clock.advance(999);
    expect(attempts).toEqual([[1, false]]);
    await clock.advance(5_001);
    expect(attempts).toEqual([
      [1, false],
      [2, true],
      [3, true],
    ]);
    expect(await channel.get(id)).toMatchObject({ state: 'dead', failure: { name: 'RangeError', message: 'boom 3' } });
  });

  test.each<[string, unknown, object]>([
    ['a text', 'just text', { name: 'Error', message: 'just text' }],
    ['undefined', undefined, { name: 'Error', message: 'undefined' }],
    ['an object without a prototype', Object.create(null), { message: 'An error that cannot be shown' }],
    [
      'an error with strange fields',
      Object.assign(new Error('x'), { message: { a: 1 }, name: 5, stack: 7 }),
      { name: '5' },
    ],
    ['an error that throws itself', hostileError(), { name: 'Error', message: 'An error that cannot be shown' }],
    ['an error as long as a book', new Error('m'.repeat(100_000)), { message: 'm'.repeat(1_024) }],
  ])('a handler may throw %s', async (_name, thrown, failure) => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail', { attempts: 1 });
    const { id } = await channel.produce('hello');
    await channel.consume(() => {
      throw thrown as Error;
    });
    await settled();
    expect((await channel.get(id))?.state).toBe('dead');
    expect((await channel.get(id))?.failure).toMatchObject(failure);
  });

  test('retry(), snooze() and deadLetter() do what they say', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', { attempts: 2 });
    const seen: [string, number][] = [];
    await channel.consume((message, { attempt }) => {
      seen.push([message, attempt]);
      if (message === 'give up') return deadLetter('no such address');
      if (message === 'later') return seen.length < 5 ? snooze('10s') : undefined;
      return retry({ delay: '1s', reason: 'busy' });
    });
    const retried = await channel.produce('again');
    const dead = await channel.produce('give up');
    const snoozed = await channel.produce('later');
    await settled();
    expect(await channel.get(dead.id)).toMatchObject({
      state: 'dead',
      failure: { name: 'DeadLettered', message: 'no such address' },
    });
    await clock.advance(1_000);
    expect(await channel.get(retried.id)).toMatchObject({
      state: 'dead',
      attempts: 2,
      failure: { name: 'Retry', message: 'busy' },
    });
    await clock.advance(9_000);
    expect(seen).toEqual([
      ['again', 1],
      ['give up', 1],
      ['later', 1],
      ['again', 2],
      ['later', 1],
    ]);
    expect(await channel.get(snoozed.id)).toMatchObject({ state: 'completed', attempts: 1 });
  });

  test('a result that cannot be stored is a failed attempt', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail', { attempts: 1 });
    const { id } = await channel.produce('hello');
    await channel.consume(() => () => 'a function');
    await settled();
    expect(await channel.get(id)).toMatchObject({ state: 'dead', failure: { name: 'TypeError' } });
  });

  test('a timeout fires the signal and fails the attempt', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', { timeout: '5s', attempts: 1 });
    const { id } = await channel.produce('hello');
    let signal: AbortSignal | undefined;
    await channel.consume((_message, context) => {
      ({ signal } = context);
      return new Promise<void>(() => {});
    });
    await clock.advance(4_999);
    expect(signal?.aborted).toBe(false);
    await clock.advance(1);
    expect(signal?.aborted).toBe(true);
    expect(await channel.get(id)).toMatchObject({ state: 'dead', failure: { name: 'TimeoutError' } });
  });

  test('extend() gives a handler more time', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', { timeout: '5s', attempts: 1 });
    const { id } = await channel.produce('hello');
    let finish = (): void => {};
    await channel.consume(async (_message, context) => {
      await context.extend('60s');
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
    });
    await clock.advance(59_000);
    finish();
    await settled();
    expect(await channel.get(id)).toMatchObject({ state: 'completed' });
  });

  test('a custom backoff function gives the delay, or gives up', async () => {
    const { hf, clock } = await start();
    const asked: [number, string][] = [];
    const channel = hf.channel<string>('mail', {
      attempts: 100,
      backoff: (attempt, error) => {
        asked.push([attempt, (error as Error).message]);
        return attempt === 3 ? undefined : attempt * 1_000;
      },
    });
    const { id } = await channel.produce('hello');
    await channel.consume((_message, { attempt }) => {
      throw new Error(`boom ${attempt}`);
    });
    await clock.advance(1_000);
    await clock.advance(2_000);
    expect(asked).toEqual([
      [1, 'boom 1'],
      [2, 'boom 2'],
      [3, 'boom 3'],
    ]);
    expect(await channel.get(id)).toMatchObject({ state: 'dead', attempts: 3, failure: { message: 'boom 3' } });
  });

  test('a backoff function that throws does not hide the error of the handler', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', {
      attempts: 2,
      backoff: () => {
        throw new Error('bad function');
      },
    });
    const { id } = await channel.produce('hello');
    await channel.consume(() => {
      throw new Error('boom');
    });
    await clock.advance(1_000);
    expect((await channel.get(id))?.failure?.message).toMatch(
      /^boom \(and the backoff function failed: .*bad function\)$/,
    );
  });

  test('cancel() fires the signal of a running handler, and what it returns is lost', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail');
    const { id } = await channel.produce('hello');
    const errors: HoldfastError[] = [];
    let finish = (): void => {};
    let signal: AbortSignal | undefined;
    await channel.consume(
      (_message, context) => {
        ({ signal } = context);
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      },
      { onError: (error) => errors.push(error) },
    );
    await settled();
    await channel.cancel(id);
    await settled();
    expect(signal?.reason).toMatchObject({ code: 'LEASE_LOST' });
    finish();
    await settled();
    expect(errors).toMatchObject([{ code: 'LEASE_LOST' }]);
    expect(await channel.get(id)).toMatchObject({ state: 'cancelled' });
  });

  test('progress(), log() and extend() work when the handler has taken its context apart', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail', { timeout: '5s' });
    const { id } = await channel.produce('hello');
    await channel.consume(async (_message, { progress, log, extend }) => {
      await progress(50);
      await log('half');
      await extend('10s');
    });
    await channel.result(id);
    expect(await channel.get(id)).toMatchObject({ state: 'completed', progress: 50, log: ['half'] });
  });

  test('progress(), log() and extend() of a message that is lost reject with LEASE_LOST', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail');
    const { id } = await channel.produce('hello');
    let context: HandlerContext | undefined;
    const consumer = await channel.consume((_message, given) => {
      context = given;
      return new Promise<void>(() => {});
    });
    await settled();
    await context?.progress({ percent: 10 });
    await context?.log('one');
    await context?.log('two');
    expect(await channel.get(id)).toMatchObject({ progress: { percent: 10 }, log: ['one', 'two'] });
    await expect(context?.log(5 as never)).rejects.toThrow('a line must be a text');
    await expect(context?.progress('x'.repeat(20_000))).rejects.toThrow(RangeError);
    await channel.cancel(id);
    await expect(context?.progress(1)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(context?.log('late')).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(context?.extend('5s')).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await consumer.close();
  });

  test("prefetch: 'auto' keeps nothing in advance for slow handlers, and much for fast ones", async () => {
    const { hf, clock } = await start();
    const slow = hf.channel<number>('slow');
    await slow.produceAll(Array.from({ length: 50 }, (_, i) => i));
    let finish = (): void => {};
    const consumer = await slow.consume(
      () =>
        new Promise<void>((resolve) => {
          finish = resolve;
        }),
    );
    for (let i = 0; i < 10; i++) {
      await clock.advance(1_000);
      finish();
      await settled();
    }
    expect((await slow.inspect()).leased).toBe(1);
    await consumer.close();
    const fast = hf.channel<number>('fast');
    await fast.produceAll(Array.from({ length: 3_000 }, (_, i) => i));
    let most = 0;
    let done = 0;
    await fast.consume(async () => {
      done += 1;
      if (done % 100 === 0) most = Math.max(most, (await fast.inspect()).leased);
    });
    await until(() => done === 3_000);
    expect(most).toBeGreaterThan(50);
    expect(most).toBeLessThanOrEqual(2_001);
  });

  test('prefetch as a number is the most that is held in advance', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('jobs');
    await channel.produceAll([1, 2, 3, 4, 5, 6]);
    const consumer = await channel.consume(() => new Promise<void>(() => {}), { concurrency: 2, prefetch: 3 });
    await settled();
    expect((await channel.inspect()).leased).toBe(5);
    await consumer.close();
  });
});

function hostileError(): Error {
  return Object.defineProperty(new Error('x'), 'message', {
    get() {
      throw new Error('no');
    },
  });
}
