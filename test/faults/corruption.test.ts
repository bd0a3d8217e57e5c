import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'holdfast';
import { expect, test } from 'vitest';
import { seededRandom } from '#holdfast/model/random.js';
import { temporaryFolder } from './folders.ts';
import { runProgram } from './programs.ts';

const folder = temporaryFolder();

const MESSAGES = 150;
const HANDLED = 50;
const DAMAGES = 36;
const SEED = 20;
/** Where something is written is more telling than the zeros behind it. */
const RUN_BYTES = 8;

type Found =
  | { readonly code: string }
  | { readonly messages: readonly { readonly number: number; readonly text: string; readonly result?: number }[] };

test(`a damaged store is refused or as it was, never altered (seed ${SEED})`, async () => {
  const whole = join(folder, 'whole');
  await fill(whole);
  const damaged = Array.from({ length: DAMAGES }, (_, i) => damage(whole, join(folder, `damaged ${i}`), SEED + i));

  const { output, code, signal, errors } = await runProgram('read-all', whole, ...damaged);

  expect({ code, signal, errors }).toEqual({ code: 0, signal: null, errors: '' });
  const [intact, ...found] = output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Found);
  expect(intact).toEqual({ messages: expectedMessages() });
  expect(found.length).toBe(DAMAGES);
  for (const [i, one] of found.entries()) {
    expect(one, `seed ${SEED + i}`).toEqual(
      'code' in one ? expect.objectContaining({ code: 'STORE_CORRUPT' }) : intact,
    );
  }
  const refused = found.filter((one) => 'code' in one).length;
  expect(refused).toBeGreaterThan(DAMAGES / 4);
}, 50_000);

async function fill(data: string): Promise<void> {
  await using holdfast = await open(`file:${data}`);
  const kept = holdfast.channel<{ number: number; text: string }, number>('kept', { retain: { completed: false } });
  const numbers = Array.from({ length: MESSAGES }, (_, number) => number);
  await kept.produceAll(numbers.slice(0, HANDLED).map(messageOf));
  let left = HANDLED;
  const consumer = await kept.consume(({ number }) => {
    left -= 1;
    return number * 3;
  });
  await expect.poll(() => left, { timeout: 10_000, interval: 5 }).toBe(0);
  await consumer.drain();
  for (const number of numbers.slice(HANDLED)) await kept.produce(messageOf(number));
}

/** Some large enough for pages of their own. */
function messageOf(number: number): { number: number; text: string } {
  return { number, text: `${number} `.repeat(number % 10 === 0 ? 2_000 : 20) };
}

function expectedMessages(): unknown[] {
  const ready = Array.from({ length: MESSAGES - HANDLED }, (_, i) => ({ ...messageOf(HANDLED + i), state: 'ready' }));
  const completed = Array.from({ length: HANDLED }, (_, i) => {
    const number = HANDLED - 1 - i;
    return { ...messageOf(number), state: 'completed', result: number * 3 };
  });
  return [...ready, ...completed];
}

/** Copies the store and changes some bytes in it. */
function damage(whole: string, copy: string, seed: number): string {
  const random = seededRandom(seed);
  mkdirSync(copy);
  for (const name of readdirSync(whole)) {
    if (!name.endsWith('.mdb')) continue;
    copyFileSync(join(whole, name), join(copy, name));
    const bytes = readFileSync(join(copy, name));
    let at = Math.floor(random.fraction() * bytes.length);
    while (bytes.subarray(at, at + RUN_BYTES).every((byte) => byte === 0)) {
      at = Math.floor(random.fraction() * bytes.length);
    }
    const length = 1 + Math.floor(random.fraction() * RUN_BYTES);
    for (let i = at; i < Math.min(at + length, bytes.length); i++)
      bytes[i] = (bytes[i] as number) ^ (1 + Math.floor(random.fraction() * 255));
    writeFileSync(join(copy, name), bytes);
  }
  return copy;
}
