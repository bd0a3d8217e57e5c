import { expect, onTestFinished, test } from 'vitest';
import type { Channel, Holdfast } from 'holdfast';
import { createTestHoldfast, drain, type TestClock } from 'holdfast/testing';

const DAY_MS = 86_400_000;

/** An instance on a test clock, closed when the test ends. */
async function openInstance(): Promise<{ holdfast: Holdfast; clock: TestClock }> {
  const instance = await createTestHoldfast();
  onTestFinished(() => instance.close());
  return instance;
}

/** Produces one message whose handler always throws, and gives the times at which its attempts began. */
async function failAlways(channel: Channel<string>, clock: TestClock): Promise<number[]> {
  const startedAt: number[] = [];
  await channel.consume(() => {
    startedAt.push(clock.wallMs());
    throw new Error('never');
  });
  await channel.produce('x');
  await clock.advance('1h');
  return startedAt;
}

test('attempts are 5 by default, and the message is dead after the last', async () => {
  const { holdfast, clock } = await openInstance();
  const channel = holdfast.channel<string>('c');
  expect(await failAlways(channel, clock)).toHaveLength(5);
  expect((await channel.inspect()).dead).toBe(1);
});

test('backoff is exponential by default: from one second, doubling, with a jitter of a fifth', async () => {
  const { holdfast, clock } = await openInstance();
  const startedAt = await failAlways(holdfast.channel<string>('c'), clock);
  const waits = startedAt.slice(1).map((at, i) => at - (startedAt[i] as number));
  waits.forEach((wait, i) => {
    expect(wait).toBeGreaterThanOrEqual(800 * 2 ** i);
    expect(wait).toBeLessThanOrEqual(1_000 * 2 ** i);
  });
  expect(waits).toHaveLength(4);
});

test('backoff is at most an hour by default', async () => {
  const { holdfast, clock } = await openInstance();
  const startedAt: number[] = [];
  const channel = holdfast.channel<string>('c', { attempts: 16 });
  await channel.consume(() => {
    startedAt.push(clock.wallMs());
    throw new Error('never');
  });
  await channel.produce('x');
  await clock.advance('10h');
  const waits = startedAt.slice(1).map((at, i) => at - (startedAt[i] as number));
  expect(waits).toHaveLength(15);
  expect(Math.max(...waits)).toBeLessThanOrEqual(3_600_000);
  expect(waits.at(-1)).toBeGreaterThanOrEqual(2_880_000);
});

test('a handler has no timeout by default', async () => {
  const { holdfast, clock } = await openInstance();
  const channel = holdfast.channel<string>('c');
  let finish = (): void => {};
  await channel.consume(() => new Promise<void>((resolve) => (finish = resolve)));
  await channel.produce('x');
  await clock.advance('10d');
  expect((await channel.inspect()).leased).toBe(1);
  finish();
  await drain(channel);
  expect((await channel.inspect()).totals).toMatchObject({ completed: 1, redelivered: 0 });
});

test('a message has no time to live by default', async () => {
  const { holdfast, clock } = await openInstance();
  const channel = holdfast.channel<string>('c');
  await channel.produce('x');
  await clock.advance('400d');
  expect((await channel.inspect()).ready).toBe(1);
});

test('a channel has no maxBacklog by default', async () => {
  const { holdfast } = await openInstance();
  const channel = holdfast.channel<number>('c');
  for (let i = 0; i < 11; i++) await channel.produceAll(Array.from({ length: 10_000 }, (_, k) => k));
  expect((await channel.inspect()).ready).toBe(110_000);
});

test('1,000 completed messages are kept by default, for an hour', async () => {
  const { holdfast, clock } = await openInstance();
  const channel = holdfast.channel<number>('c');
  await channel.consume(() => {});
  await channel.produceAll(Array.from({ length: 1_200 }, (_, k) => k));
  await drain(channel);
  expect((await channel.inspect()).completed).toBe(1_000);
  await clock.advance('59m');
  expect((await channel.inspect()).completed).toBe(1_000);
  await clock.advance('2m');
  expect((await channel.inspect()).completed).toBe(0);
});

test('dead messages are kept for 30 days by default, and 100,000 of them', async () => {
  const { holdfast, clock } = await openInstance();
  const channel = holdfast.channel<string>('c', { attempts: 1 });
  await failAlways(channel, clock);
  await clock.advance(29 * DAY_MS);
  expect((await channel.inspect()).dead).toBe(1);
  await clock.advance(1 * DAY_MS);
  expect((await channel.inspect()).dead).toBe(0);
  expect((await channel.inspect()).settings.dead).toEqual({ count: 100_000, ageMs: 30 * DAY_MS });
});

test('concurrency is 1 by default', async () => {
  const { holdfast, clock } = await openInstance();
  const channel = holdfast.channel<number>('c');
  let running = 0;
  let most = 0;
  await channel.consume(async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => clock.timer(10, resolve));
    running -= 1;
  });
  await channel.produceAll([1, 2, 3]);
  await clock.advance('1s');
  expect(most).toBe(1);
  expect((await channel.inspect()).completed).toBe(3);
});

test('prefetch is automatic by default: a slow handler holds one message at a time', async () => {
  const { holdfast, clock } = await openInstance();
  const channel = holdfast.channel<number>('c');
  await channel.consume(() => new Promise<void>((resolve) => clock.timer(60_000, resolve)));
  await channel.produceAll([1, 2, 3, 4, 5]);
  await clock.advance('150s');
  expect(await channel.inspect()).toMatchObject({ leased: 1, ready: 2, completed: 2 });
  // The handlers end before the instance is closed, which would wait for them.
  await clock.advance('10m');
});
