import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Channel, type HoldfastError, type LogLine, open } from 'holdfast';
import { expect, test } from 'vitest';
import { must } from '../store/children.ts';
import { smallDisk } from './folders.ts';

const disk = smallDisk(64);

const PAYLOAD = new Uint8Array(64 * 1024).fill(7);
/** More than the disk takes. */
const ENOUGH = 2_000;

interface Load {
  readonly number: number;
  readonly bytes: Uint8Array;
}

test('a full disk refuses new messages, lets consumers finish, and is used again when there is room', async () => {
  const ballast = join(disk, 'ballast');
  must('fallocate', '-l', '8M', ballast);
  const url = `file:${join(disk, 'data')}`;
  const log: LogLine[] = [];
  const options = { reserveBytes: 16 * 1024 * 1024, log: (line: LogLine) => void log.push(line) };
  let holdfast = await open(url, options);
  let loads = holdfast.channel<Load>('loads', { retain: { completed: { count: 0 } } });

  // Full by its own messages: they are finished, and then there is room.
  const first = await produceUntilFull(loads, 0);
  expect(first).toBeGreaterThan(50);
  expect(await finish(loads, first)).toEqual(numbersFrom(0, first));
  await untilAccepted(loads, first);

  // Full again, and room by what somebody deletes.
  const second = await produceUntilFull(loads, first + 1);
  expect(second).toBeGreaterThan(0);
  rmSync(ballast);
  await untilAccepted(loads, first + 1 + second);
  await holdfast.close();

  holdfast = await open(url, options);
  loads = holdfast.channel<Load>('loads', { retain: { completed: { count: 0 } } });
  const left = second + 2;
  expect((await loads.inspect()).ready).toBe(left);
  expect(await finish(loads, left)).toEqual(numbersFrom(first, left));
  await holdfast.close();
  expect(log.filter(({ level }) => level !== 'info')).toEqual([]);
});

/** Produces until one is refused, and says how many were stored. */
async function produceUntilFull(loads: Channel<Load>, from: number): Promise<number> {
  for (let stored = 0; stored < ENOUGH; stored++) {
    try {
      await loads.produce({ number: from + stored, bytes: PAYLOAD });
    } catch (error) {
      expect((error as HoldfastError).code).toBe('STORE_FULL');
      return stored;
    }
  }
  throw new Error('The disk is not full yet');
}

/** Handles this many messages and gives their numbers in order. */
async function finish(loads: Channel<Load>, count: number): Promise<number[]> {
  const numbers: number[] = [];
  let stop = (): void => {};
  const all = new Promise<void>((resolve) => (stop = resolve));
  const consumer = await loads.consume(({ number, bytes }) => {
    expect(Buffer.compare(bytes, PAYLOAD)).toBe(0);
    numbers.push(number);
    if (numbers.length === count) stop();
  });
  await all;
  await consumer.drain();
  return numbers.sort((a, b) => a - b);
}

async function untilAccepted(loads: Channel<Load>, number: number): Promise<void> {
  await expect
    .poll(
      () =>
        loads.produce({ number, bytes: PAYLOAD }).then(
          () => 'stored',
          (error: HoldfastError) => error.code,
        ),
      { timeout: 10_000, interval: 20 },
    )
    .toBe('stored');
}

function numbersFrom(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}
