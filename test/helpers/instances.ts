import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Holdfast, open, type OpenOptions } from 'holdfast';
import { ManualClock } from './manual-clock.ts';

/** A way to run the whole system under a clock that stands still until a test moves it. */
export interface Setup {
  readonly name: string;
  readonly start: (options?: OpenOptions) => Promise<Instance>;
}

export interface Instance {
  readonly hf: Holdfast;
  readonly clock: ManualClock;
  readonly url: string;
}

/** Everything in the caller's thread: in memory, and in a folder. */
export const setups: readonly Setup[] = [
  { name: 'memory', start: (options) => start('memory:', options) },
  { name: 'file, inline', start: (options) => start(`file:${newFolder()}`, options) },
];

/** A system that runs by the machine's own clock, for what time does not matter to. */
export interface TimelessSetup {
  readonly name: string;
  readonly start: (options?: OpenOptions) => Promise<Pick<Instance, 'hf' | 'url'>>;
}

/** As {@link setups}, and with the broker in its thread. */
export const timelessSetups: readonly TimelessSetup[] = [
  ...setups,
  {
    name: 'file, thread',
    start: async (options) => {
      const url = `file:${newFolder()}`;
      return { url, hf: await openUntilEnd(url, options) };
    },
  },
];

/** A folder that is deleted behind the test. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Opens an instance that is closed behind the test. */
export async function openUntilEnd(url: string, options: OpenOptions = {}): Promise<Holdfast> {
  const hf = await open(url, options);
  onTestFinished(() => hf.close());
  return hf;
}

/** An instance in memory under a manual clock. */
export function startInMemory(options?: OpenOptions): Promise<Instance> {
  return start('memory:', options);
}

async function start(url: string, options: OpenOptions = {}): Promise<Instance> {
  const clock = new ManualClock();
  const own = url === 'memory:' ? {} : { thread: false };
  return { url, clock, hf: await openUntilEnd(url, { clock, ...own, ...options }) };
}
