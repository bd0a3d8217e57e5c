import type { Holdfast } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { startServer, startWorker, type Talking } from './processes.ts';
import { startProxy } from './proxy.ts';
import { connectRaw, declare } from './raw-client.ts';
import { effectsIn, effectsOf, hasEnded, hasStarted, isLeaseLost, untilCompleted, workOf } from './work.ts';

const SESSION_TIMEOUT_MS = 1_000;
const LINGER_MS = 10;

/** Another consumer, and when its handler got a message. */
async function takeOver(hf: Holdfast): Promise<{ taken: Promise<number> }> {
  let resolve: (at: number) => void = () => {};
  const taken = new Promise<number>((done) => (resolve = done));
  await workOf(hf).consume(({ n }, { tx }) => {
    resolve(performance.now());
    tx.produce(effectsOf(hf), { n, by: 'other' });
  });
  return { taken };
}

describe('a worker that is silent', () => {
  async function expectNothingChanged(hf: Holdfast, worker: Talking): Promise<void> {
    worker.tell('release');
    await worker.says(hasEnded(1));
    await worker.says(isLeaseLost);
    await untilCompleted(hf, 1);
    expect(await effectsIn(hf)).toEqual(new Map([[1, ['other']]]));
    const [message] = await workOf(hf).list('completed');
    expect(message?.attempts).toBe(1);
  }

  test('behind a half-open connection loses its message within the session timeout, and can change nothing then', async () => {
    const server = await startServer({ sessionTimeoutMs: SESSION_TIMEOUT_MS });
    const proxy = await startProxy(server.port);
    const worker = await startWorker({ url: proxy.url });
    const hf = await openUntilEnd(server.url);
    await workOf(hf).produce({ n: 1, act: 'hold' });
    await worker.says(hasStarted(1));
    const { taken } = await takeOver(hf);
    const silentAt = performance.now();
    proxy.silence();
    const tookMs = (await taken) - silentAt;
    // The last sign of life may have come a quarter of the timeout before the silence, or at its beginning.
    expect(tookMs).toBeGreaterThan(SESSION_TIMEOUT_MS * 0.6);
    expect(tookMs).toBeLessThan(SESSION_TIMEOUT_MS * 1.5);
    proxy.speak();
    await expectNothingChanged(hf, worker);
  });

  test('because it was stopped loses its message within the session timeout, and can change nothing when it goes on', async () => {
    const server = await startServer({ sessionTimeoutMs: SESSION_TIMEOUT_MS });
    const worker = await startWorker({ url: server.url });
    const hf = await openUntilEnd(server.url);
    await workOf(hf).produce({ n: 1, act: 'hold' });
    await worker.says(hasStarted(1));
    const { taken } = await takeOver(hf);
    const stoppedAt = performance.now();
    worker.kill('SIGSTOP');
    const tookMs = (await taken) - stoppedAt;
    expect(tookMs).toBeLessThan(SESSION_TIMEOUT_MS * 1.5);
    worker.kill('SIGCONT');
    await expectNothingChanged(hf, worker);
  });
});

describe.each(['leads', 'follows'])('behind a server whose process %s the folder', (role) => {
  test('leases wait a moment for a client whose connection has closed', async () => {
    const folder = newFolder();
    const [leader, follower] = [await startServer({ folder }), await startServer({ folder })];
    const hf = await openUntilEnd(leader.url);
    await workOf(hf).produce({ n: 1 });
    const client = connectRaw(role === 'leads' ? leader.port : follower.port);
    await client.hello();
    await client.request(1, declare(1, 'work'));
    client.ask({ request: 0, command: { kind: 'window', consumer: 1, ref: 1, size: 1 } });
    await client.delivered(1);
    const { taken } = await takeOver(hf);
    const closedAt = performance.now();
    client.socket.destroy();
    // The server counts from when it hears of it.
    expect((await taken) - closedAt).toBeGreaterThan(LINGER_MS - 1);
  });
});

test('a handler that blocks its event loop for three session timeouts keeps its message, and its ack counts', async () => {
  const server = await startServer({ sessionTimeoutMs: SESSION_TIMEOUT_MS });
  const worker = await startWorker({ url: server.url });
  const hf = await openUntilEnd(server.url);
  await workOf(hf).produce({ n: 1, act: 'block', ms: 3 * SESSION_TIMEOUT_MS });
  await worker.says(hasStarted(1));
  await workOf(hf).consume(({ n }, { tx }) => tx.produce(effectsOf(hf), { n, by: 'other' }));
  await untilCompleted(hf, 1);
  expect(await effectsIn(hf)).toEqual(new Map([[1, ['worker']]]));
  expect((await workOf(hf).inspect()).totals.redelivered).toBe(0);
});
