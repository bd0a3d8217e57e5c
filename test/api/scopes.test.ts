import { describe, expect, test } from 'vitest';
import {
  type BatchMessage,
  CancelledError,
  deadLetter,
  type Handler,
  type HandlerContext,
  retry,
  snooze,
} from 'holdfast';
import { z } from 'zod';
import { settled } from '../helpers/manual-clock.ts';
import { setups, startInMemory } from '../helpers/instances.ts';

/** Resolves as soon as somebody opens it. */
function gate(): { readonly opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** A scope that says what becomes of it. */
function speaking(said: string[], name: string, dispose: () => void | Promise<void> = () => {}) {
  said.push(`open ${name}`);
  return {
    name,
    async [Symbol.asyncDispose](): Promise<void> {
      said.push(`dispose ${name}`);
      await dispose();
    },
  };
}

function failing(message: string): () => never {
  return () => {
    throw new RangeError(message);
  };
}

describe.each(setups)('consume() with a scope [$name]', ({ start }) => {
  test('opens one for each message, and disposes of it before the message is settled', async () => {
    const { hf } = await start();
    const mail = hf.channel<string, string>('mail');
    const said: string[] = [];
    const disposing = gate();
    const ids = (await mail.produceAll(['a', 'b'])).map(({ id }) => id);
    const consumer = await mail.consume(
      (message, { scope, attempt }) => {
        said.push(`handle ${message} in ${scope.name}`);
        return `${message} ${attempt}`;
      },
      {
        scope: async (message: string, { id }: HandlerContext) =>
          speaking(said, `${message} ${ids.indexOf(id)}`, () => disposing.opened),
      },
    );
    await settled();
    expect(said).toEqual(['open a 0', 'handle a in a 0', 'dispose a 0']);
    expect(await mail.get(ids[0] ?? '')).toMatchObject({ state: 'leased' });
    disposing.open();
    expect(await mail.result(ids[1] ?? '')).toBe('b 1');
    await consumer.drain();
    expect(said.slice(3)).toEqual(['open b 1', 'handle b in b 1', 'dispose b 1']);
    expect(await mail.inspect()).toMatchObject({ completed: 2 });
  });

  test('fails the attempt when it cannot be opened, and runs no handler', async () => {
    const { hf, clock } = await start();
    const mail = hf.channel<string>('mail', { backoff: '1s' });
    const { id } = await mail.produce('a');
    let handled = 0;
    await mail.consume(() => (handled += 1), {
      scope: (_message: string, { attempt }) => (attempt === 1 ? failing('no pool')() : undefined),
    });
    await settled();
    expect(handled).toBe(0);
    expect(await mail.get(id)).toMatchObject({ state: 'delayed', failure: { name: 'RangeError', message: 'no pool' } });
    await clock.advance(1_000);
    expect(handled).toBe(1);
    expect(await mail.get(id)).toMatchObject({ state: 'completed', attempts: 2 });
  });

  test('fails the attempt when it cannot be disposed of, and nothing of it commits', async () => {
    const { hf } = await start();
    const errors: unknown[] = [];
    const backoff = (_attempt: number, error: unknown): undefined => void errors.push(error);
    const [mail, other] = [hf.channel<string>('mail', { backoff }), hf.channel<string>('other')];
    const { id } = await mail.produce('a');
    await mail.consume(
      (_message, { tx }) => {
        tx.set(['done'], true);
        tx.produce(other, 'b');
      },
      { scope: () => ({ dispose: failing('not flushed') }) },
    );
    await settled();
    expect(await mail.get(id)).toMatchObject({
      state: 'dead',
      failure: { name: 'RangeError', message: 'not flushed (when its scope was disposed of)' },
    });
    expect(errors).toEqual([new RangeError('not flushed')]);
    expect((await hf.kv.get(['done'])).value).toBe(null);
    expect(await other.inspect()).toMatchObject({ ready: 0 });
  });

  test.each<[string, Handler<string, unknown>, object]>([
    [
      'an error',
      failing('boom'),
      {
        state: 'delayed',
        attempts: 1,
        failure: { name: 'RangeError', message: 'boom (and its scope could not be disposed of: stuck)' },
      },
    ],
    [
      'retry()',
      () => retry({ delay: '7s', reason: 'busy' }),
      { state: 'delayed', failure: { name: 'Retry', message: 'busy (and its scope could not be disposed of: stuck)' } },
    ],
    [
      'deadLetter()',
      () => deadLetter('no such address'),
      { state: 'dead', failure: { message: 'no such address (and its scope could not be disposed of: stuck)' } },
    ],
    [
      'snooze(), which is no failure',
      () => snooze('7s'),
      { state: 'delayed', attempts: 1, failure: { message: 'stuck (when its scope was disposed of)' } },
    ],
  ])('notes that it could not be disposed of behind %s', async (_what, handler, expected) => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail', { backoff: '1h' });
    const { id } = await mail.produce('a');
    await mail.consume(handler, { scope: () => ({ dispose: failing('stuck') }) });
    await settled();
    expect(await mail.get(id)).toMatchObject(expected);
  });

  test('gives the backoff function what the handler threw, whatever its scope did', async () => {
    const { hf } = await start();
    const boom = new TypeError('boom');
    const errors: unknown[] = [];
    const mail = hf.channel<string>('mail', { backoff: (_attempt, error) => void errors.push(error) });
    await mail.produce('a');
    await mail.consume(
      () => {
        throw boom;
      },
      { scope: () => ({ dispose: failing('stuck') }) },
    );
    await settled();
    expect(errors).toHaveLength(1);
    expect(errors[0]).toBe(boom);
  });

  test('lives as long as a handler that runs over its time, whose attempt has failed by then', async () => {
    const { hf, clock } = await start();
    const mail = hf.channel<string>('mail', { timeout: '5s', attempts: 1 });
    const { id } = await mail.produce('a');
    const said: string[] = [];
    const end = gate();
    await mail.consume(() => end.opened, { scope: () => speaking(said, 'a') });
    await clock.advance(5_000);
    expect(await mail.get(id)).toMatchObject({ state: 'dead', failure: { name: 'TimeoutError' } });
    expect(said).toEqual(['open a']);
    end.open();
    await settled();
    expect(said).toEqual(['open a', 'dispose a']);
  });

  test.each(['timeout', 'cancel', 'cancel with a deadline', 'close'])(
    'is disposed of without a handler when it was opened too late: %s',
    async (what) => {
      const { hf, clock } = await start();
      const mail = hf.channel<string>('mail', { timeout: '5s', attempts: 1 });
      const { id } = await mail.produce('a');
      const said: string[] = [];
      const late = gate();
      const reasons: unknown[] = [];
      const consumer = await mail.consume(() => said.push('handle'), {
        scope: async (_message: string, { signal }) => {
          await late.opened;
          reasons.push(signal.reason);
          return speaking(said, 'a');
        },
      });
      await settled();
      if (what === 'timeout') await clock.advance(5_000);
      else if (what === 'cancel') await mail.cancel(id);
      else if (what === 'cancel with a deadline') await mail.cancel(id, { deadline: '1s' });
      else await consumer.close();
      await settled();
      late.open();
      await settled();
      expect(said).toEqual(['open a', 'dispose a']);
      const states = { timeout: 'dead', cancel: 'cancelled', 'cancel with a deadline': 'cancelled', close: 'ready' };
      expect(await mail.get(id)).toMatchObject({ state: states[what as keyof typeof states] });
      expect(reasons[0] instanceof CancelledError).toBe(what === 'cancel with a deadline');
    },
  );

  test('is another one when the handler runs again over a conflict', async () => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail');
    const said: string[] = [];
    await mail.consume(
      async (_message, { tx, scope }) => {
        const { value } = await tx.get<number>(['n']);
        if (scope.name === '1') await hf.kv.set(['n'], 5);
        tx.set(['n'], (value ?? 0) + 1);
      },
      { scope: () => speaking(said, String(said.length / 2 + 1)) },
    );
    await mail.request('a');
    expect(said).toEqual(['open 1', 'dispose 1', 'open 2', 'dispose 2']);
    expect((await hf.kv.get(['n'])).value).toBe(6);
  });

  test('is given the message as its schema has made it, and is opened for none that it refuses', async () => {
    const { hf } = await start();
    const mail = hf.channel('mail', { schema: z.string().transform((text) => text.length) });
    const loose = hf.channel<unknown>('mail');
    const given: unknown[] = [];
    const bad = await loose.produce(5);
    await mail.produce('four');
    await mail.consume((length, { scope }) => void given.push([length, scope]), {
      scope: (length: number) => {
        given.push(length);
        return length * 2;
      },
    });
    await settled();
    expect(given).toEqual([4, [4, 8]]);
    expect(await loose.get(bad.id)).toMatchObject({ state: 'dead' });
  });

  test('is awaited by drain()', async () => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail');
    const disposing = gate();
    await mail.produce('a');
    const said: string[] = [];
    const consumer = await mail.consume(() => {}, { scope: () => speaking(said, 'a', () => disposing.opened) });
    await settled();
    const drained = consumer.drain().then(() => said.push('drained'));
    await settled();
    disposing.open();
    await drained;
    expect(said).toEqual(['open a', 'dispose a', 'drained']);
  });
});

describe('a scope', () => {
  test.each<[string, (said: string[]) => unknown, string[]]>([
    [
      'Symbol.asyncDispose before all',
      (said) => ({
        [Symbol.asyncDispose]: async () => said.push('async'),
        [Symbol.dispose]: () => said.push('sync'),
        dispose: () => said.push('method'),
      }),
      ['async'],
    ],
    [
      'Symbol.dispose before dispose()',
      (said) => ({ [Symbol.dispose]: () => said.push('sync'), dispose: () => said.push('method') }),
      ['sync'],
    ],
    [
      'dispose(), as a method, of a function too',
      (said) =>
        Object.assign(() => {}, {
          said,
          dispose(this: { said: string[] }) {
            this.said.push('method');
          },
        }),
      ['method'],
    ],
    ['nothing of what has none', () => ({ dispose: 'a text' }), []],
    ['nothing of null', () => null, []],
    ['nothing of undefined', () => undefined, []],
    ['nothing of a text', () => 'scope', []],
  ])('is disposed of with %s', async (_what, open, expected) => {
    const { hf } = await startInMemory();
    const said: string[] = [];
    const given: unknown[] = [];
    const mail = hf.channel<string>('mail');
    const scope = open(said);
    await mail.consume((_message, context) => void given.push(context.scope), { scope: () => scope });
    await mail.request('a');
    expect(given).toEqual([scope]);
    expect(said).toEqual(expected);
  });

  test('is opened by a function', async () => {
    const { hf } = await startInMemory();
    const mail = hf.channel<string>('mail');
    const message = 'Cannot use object as "scope": it must be a function that opens a scope';
    await expect(mail.consume(() => {}, { scope: {} as never })).rejects.toThrow(message);
    await expect(mail.consumeBatch(() => {}, { scope: {} as never })).rejects.toThrow(message);
    expect(await mail.inspect()).toMatchObject({ consumers: 0 });
  });
});

describe.each(setups)('consumeBatch() with a scope [$name]', ({ start }) => {
  test('opens one for each batch', async () => {
    const { hf } = await start();
    const mail = hf.channel<number, string>('mail');
    const said: string[] = [];
    const receipts = await mail.produceAll([1, 2, 3, 4]);
    const consumer = await mail.consumeBatch(
      (batch, { scope }) => batch.map(({ message }) => `${message} in ${scope.name}`),
      {
        size: 2,
        wait: '1h',
        scope: (batch: readonly BatchMessage<number, string>[]) =>
          speaking(said, batch.map(({ message }) => message).join('+')),
      },
    );
    expect(await Promise.all(receipts.map(({ id }) => mail.result(id)))).toEqual([
      '1 in 1+2',
      '2 in 1+2',
      '3 in 3+4',
      '4 in 3+4',
    ]);
    await consumer.drain();
    expect(said).toEqual(['open 1+2', 'dispose 1+2', 'open 3+4', 'dispose 3+4']);
  });

  test('fails all that were done when it cannot be disposed of, also those settled one by one', async () => {
    const { hf } = await start();
    const mail = hf.channel<number, string>('mail', { backoff: '1h' });
    const ids = (await mail.produceAll([1, 2, 3])).map(({ id }) => id);
    await mail.consumeBatch(
      ([first, second]) => {
        first?.settle('done');
        second?.settle(deadLetter('no such address'));
      },
      { size: 3, wait: '1h', scope: () => ({ dispose: failing('not flushed') }) },
    );
    await settled();
    const found = await Promise.all(ids.map((id) => mail.get(id)));
    expect(found.map((one) => [one?.state, one?.failure?.message])).toEqual([
      ['delayed', 'not flushed (when its scope was disposed of)'],
      ['dead', 'no such address'],
      ['delayed', 'not flushed (when its scope was disposed of)'],
    ]);
  });

  test('fails the batch when it cannot be opened', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail', { backoff: '1h' });
    await mail.produceAll([1, 2]);
    await mail.consumeBatch(() => {}, { size: 2, wait: '1h', scope: failing('no pool') });
    await settled();
    expect((await mail.list('delayed')).map(({ failure }) => failure?.message)).toEqual(['no pool', 'no pool']);
  });
});
