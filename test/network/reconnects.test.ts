import type { Holdfast } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { type RunningServer, startServer } from './processes.ts';
import { startProxy } from './proxy.ts';
import { effectsOf, expectEachOnce, untilCompleted, workOf } from './work.ts';

describe('a client comes back', () => {
  /** Works all the time, and keeps what it produced. */
  async function load(hf: Holdfast): Promise<{ produced: () => number; stop: () => Promise<number> }> {
    await workOf(hf).consume(({ n }, { tx }) => tx.produce(effectsOf(hf), { n, by: 'client' }), {
      concurrency: 4,
    });
    let produced = 0;
    let isOver = false;
    const producing = (async () => {
      while (!isOver) {
        await workOf(hf).produce({ n: produced });
        produced += 1;
      }
    })();
    const stop = async (): Promise<number> => {
      isOver = true;
      await producing;
      await untilCompleted(hf, produced);
      return produced;
    };
    return { produced: () => produced, stop };
  }

  const portOf = (server: RunningServer): string => `holdfast://127.0.0.1:${server.port}`;

  test('to a broker that was killed and started again at the same address', async () => {
    let server = await startServer();
    const hf = await openUntilEnd(server.url);
    const { produced, stop } = await load(hf);
    for (let times = 1; times <= 3; times++) {
      const before = produced();
      await untilTrue(async () => produced() >= before + 20);
      await server.end();
      server = await startServer({ folder: server.folder, listen: [portOf(server)] });
    }
    await expectEachOnce(hf, await stop());
  });

  test('to a server that has moved to another address', async () => {
    const server = await startServer();
    const proxy = await startProxy(server.port);
    const hf = await openUntilEnd(proxy.url);
    const { produced, stop } = await load(hf);
    await untilTrue(async () => produced() >= 20);
    await server.end('SIGTERM');
    const moved = await startServer({ folder: server.folder });
    expect(moved.port).not.toBe(server.port);
    proxy.target(moved.port);
    const before = produced();
    await untilTrue(async () => produced() >= before + 20);
    await expectEachOnce(hf, await stop());
  });

  test('over a connection that is cut after any number of bytes', async () => {
    const server = await startServer({ sessionTimeoutMs: 10_000 });
    const proxy = await startProxy(server.port);
    const hf = await openUntilEnd(proxy.url);
    await workOf(hf).consume(({ n }, { tx }) => tx.produce(effectsOf(hf), { n, by: 'client' }));
    let count = 0;
    for (const direction of ['up', 'down'] as const) {
      for (let bytes = 0; bytes < 120; bytes++) {
        let isCut = false;
        void proxy.cutAfter(direction, bytes).then(() => (isCut = true));
        do await workOf(hf).produce({ n: count++ });
        while (!isCut);
      }
    }
    await untilCompleted(hf, count);
    expect(proxy.connections).toBeGreaterThan(200);
    await expectEachOnce(hf, count);
  });
});

describe('a command whose answer was lost', () => {
  test('is applied once, and its first answer is given', async () => {
    const server = await startServer({ sessionTimeoutMs: 10_000 });
    const proxy = await startProxy(server.port);
    const hf = await openUntilEnd(proxy.url);
    const work = workOf(hf);
    const swallowing = async <T>(act: () => Promise<T>): Promise<T> => {
      const swallowed = proxy.swallowAnswer();
      const [answer] = await Promise.all([act(), swallowed]);
      return answer;
    };
    for (let n = 0; n < 5; n++) await swallowing(() => work.produce({ n }));
    expect(await work.inspect()).toMatchObject({ ready: 5, totals: { produced: 5 } });
    expect(await swallowing(() => work.purge())).toBe(5);
    expect(await work.inspect()).toMatchObject({ ready: 0, totals: { purged: 5 } });
    const { id } = await work.produce({ n: 6 });
    await swallowing(() => work.cancel(id));
    expect((await work.get(id))?.state).toBe('cancelled');
  });

  test('is applied once where it is the ack of a handler', async () => {
    const server = await startServer({ sessionTimeoutMs: 10_000 });
    const proxy = await startProxy(server.port);
    const hf = await openUntilEnd(proxy.url);
    const direct = await openUntilEnd(server.url);
    const errors: string[] = [];
    let swallowed = Promise.resolve();
    await workOf(hf).consume(
      ({ n }, { tx }) => {
        // With the first one the channel of the effects is named, which has an answer of its own.
        if (n > 0) swallowed = proxy.swallowAnswer();
        tx.produce(effectsOf(hf), { n, by: 'client' });
      },
      { onError: ({ code }) => errors.push(code) },
    );
    for (let n = 0; n < 5; n++) {
      await workOf(direct).produce({ n });
      await untilCompleted(direct, n + 1);
      await swallowed;
      // Behind this answer there is none left over another link that could be swallowed in place of the next ack's.
      await hf.channelNames();
    }
    await expectEachOnce(direct, 5);
    expect(errors).toEqual([]);
    expect((await workOf(direct).inspect()).totals.redelivered).toBe(0);
  });
});
