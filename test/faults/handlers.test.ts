import { join } from 'node:path';
import { type HoldfastError, open } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from './folders.ts';
import { runProgram } from './programs.ts';

const folder = temporaryFolder();

const JOBS = 20;
const DEADLY = 7;
/** Three deaths alone, and those beside other messages, which accuse nobody. */
const MOST_RUNS = 10;

describe('a handler that', () => {
  test('kills its process loses nothing: its message is dead after three deaths, and the others complete', async () => {
    const data = join(folder, 'deadly');
    let holdfast = await open(`file:${data}`);
    const numbers = Array.from({ length: JOBS }, (_, number) => number);
    await holdfast.channel('jobs').produceAll(numbers.map((number) => ({ number, isDeadly: number === DEADLY })));
    await holdfast.close();

    const signals: (string | null)[] = [];
    while (signals.length < MOST_RUNS && (signals.length === 0 || signals.at(-1) !== null)) {
      signals.push((await runProgram('deadly', data)).signal);
    }

    expect(signals.at(-1)).toBe(null);
    expect(signals.length).toBeGreaterThan(3);
    holdfast = await open(`file:${data}`);
    const jobs = holdfast.channel<{ readonly number: number }>('jobs');
    const effects = await holdfast.channel<{ readonly number: number }>('effects').list('ready', { limit: 100 });
    const others = numbers.filter((number) => number !== DEADLY);
    expect(effects.map(({ message }) => message.number).sort((a, b) => a - b)).toEqual(others);
    const [dead, ...moreDead] = await jobs.list('dead');
    expect(dead).toMatchObject({ message: { number: DEADLY }, deaths: 3, failure: { name: 'ProcessDied' } });
    expect(moreDead).toEqual([]);
    expect(await jobs.inspect()).toMatchObject({ completed: JOBS - 1, ready: 0, delayed: 0, leased: 0 });
    await holdfast.close();
  });

  test('hangs is timed out and its message retried', async () => {
    await using holdfast = await open(`file:${join(folder, 'hanging')}`);
    const jobs = holdfast.channel<string, number>('jobs', { timeout: 100, backoff: 1 });
    const reasons: unknown[] = [];
    await jobs.consume((_message, { attempt, signal }) => {
      if (attempt > 1) return attempt;
      signal.addEventListener('abort', () => reasons.push((signal.reason as HoldfastError).code));
      return new Promise(() => {});
    });

    expect(await jobs.request('hang once')).toBe(2);
    expect(reasons).toEqual(['LEASE_LOST']);
    const [done] = await jobs.list('completed');
    expect(done?.history.find(({ what }) => what === 'nacked')?.note).toMatch(/longer than 100 ms/);
  });

  test('hangs and blocks its event loop is timed out by the broker, and what it says later has no effect', async () => {
    await using holdfast = await open(`file:${join(folder, 'blocking')}`);
    const jobs = holdfast.channel<string, number>('jobs', { timeout: 50, backoff: 1, retain: { completed: false } });
    const effects = holdfast.channel<number>('effects');
    await jobs.consume((_message, { attempt, tx }) => {
      if (attempt === 1) block(2_500);
      tx.produce(effects, attempt);
      return attempt;
    });

    expect(await jobs.request('block once')).toBe(2);
    expect((await effects.list('ready')).map(({ message }) => message)).toEqual([2]);
  });

  test('blocks its event loop for 5 s loses no lease, and a delayed message starts on the next turn', async () => {
    await using holdfast = await open(`file:${join(folder, 'blocked')}`, { sessionTimeout: '1s' });
    const slow = holdfast.channel<string>('slow');
    const quick = holdfast.channel<string, number>('quick');
    const errors: HoldfastError[] = [];
    const onError = (error: HoldfastError): void => void errors.push(error);
    let unblockedAt = Infinity;
    const attempts: number[] = [];
    await quick.consume((_message, { attempt }) => (attempts.push(attempt), performance.now()), { onError });
    await slow.consume(
      (_message, { attempt }) => {
        attempts.push(attempt);
        block(5_000);
        unblockedAt = performance.now();
      },
      { onError },
    );

    const delayed = quick.request('later', { delay: 500 });
    await slow.request('block');

    expect((await delayed) - unblockedAt).toBeLessThan(1_000);
    expect(attempts).toEqual([1, 1]);
    expect(errors).toEqual([]);
  });
});

/** Holds up the thread: nothing of it runs meanwhile. */
function block(forMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forMs);
}
