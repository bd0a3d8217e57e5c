/** A campaign: one fault after the other on the same data, and after some of them a strict count and new data. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '#holdfast/model/random.js';
import { type Child, startChild } from './child.ts';
import { Ledger } from './ledger.ts';
import type { LoadEvent } from './load.ts';
import type { Place } from './place.ts';
import { sumOf, type Tally } from './tally.ts';

export interface CampaignOptions {
  readonly place: Place;
  /** Decides the moments of the faults. */
  readonly seed: number;
  /** After at most this time under load the fault comes. */
  readonly longestLoadMs: number;
  /** Hears what it has come to after each fault. */
  readonly onCycle: (tally: Tally) => void;
}

/** So many faults meet the same data before it is counted to the end; more would make the listings long. */
export const FAULTS_A_FOLDER = 10;
/** The load lasts at least this long, in milliseconds. */
export const SHORTEST_LOAD_MS = 50;
/** One in so many faults comes while the store is opened, at most this long after the beginning, in milliseconds. */
export const OPENING_SHARE = 8;
export const OPENING_MS = 150;
/** A process that was started again begins so far below what it had reached, to meet its own dedupe keys. */
export const OVERLAP = 40;

export class Campaign {
  readonly #options: CampaignOptions;
  readonly #random: () => number;
  readonly #reopenMs: number[] = [];
  readonly #closed: Ledger[] = [];
  #ledger = new Ledger();
  #child: Child | undefined;
  #cycles = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
    const random = seededRandom(options.seed);
    this.#random = () => random.fraction();
  }

  /** @throws the reason of `abort` when that fires; the process under torture is gone then */
  async run(cycles: number, abort: AbortSignal): Promise<Tally> {
    const stop = (): void => void this.#child?.process.kill('SIGKILL');
    abort.addEventListener('abort', stop, { once: true });
    try {
      return await this.#run(cycles, abort);
    } catch (error) {
      // Whatever it looked like to whoever waited for the process.
      abort.throwIfAborted();
      throw error;
    } finally {
      abort.removeEventListener('abort', stop);
      stop();
      await this.#child?.gone;
    }
  }

  async #run(cycles: number, abort: AbortSignal): Promise<Tally> {
    for (let left = cycles; left > 0; left -= FAULTS_A_FOLDER) {
      const data = join(this.#options.place.folder, `data-${this.#closed.length}`);
      for (let i = 0; i < Math.min(left, FAULTS_A_FOLDER); i++) {
        await this.#fault(data, abort);
        this.#cycles += 1;
        this.#options.onCycle(this.tally);
      }
      await this.#finish(data, abort);
      if (this.isViolated) return this.tally;
      rmSync(data, { recursive: true });
      this.#closed.push(this.#ledger);
      this.#ledger = new Ledger();
    }
    return this.tally;
  }

  get tally(): Tally {
    return { cycles: this.#cycles, ...sumOf([...this.#closed, this.#ledger]), reopenMs: this.#reopenMs };
  }

  get isViolated(): boolean {
    return this.describe().length > 0;
  }

  describe(): string[] {
    return this.#ledger.describe();
  }

  async #fault(data: string, abort: AbortSignal): Promise<void> {
    const child = this.#start(data, 'load', abort);
    const whileOpening = this.#random() < 1 / OPENING_SHARE;
    const share = this.#random();
    await child.until(whileOpening ? 'opening' : 'listed');
    const loadMs = whileOpening
      ? share * OPENING_MS
      : SHORTEST_LOAD_MS + share * (this.#options.longestLoadMs - SHORTEST_LOAD_MS);
    await sleep(loadMs, undefined, { signal: abort });
    const { exitCode, signalCode } = child.process;
    if (exitCode !== null || signalCode !== null) {
      const end = signalCode ?? `exit code ${exitCode}`;
      throw new Error(`The process under torture ended by itself under load (${end})\n${child.complaints()}`);
    }
    this.#options.place.strike(child.process);
    await child.gone;
    this.#options.place.recover();
  }

  async #finish(data: string, abort: AbortSignal): Promise<void> {
    const child = this.#start(data, 'finish', abort);
    await child.until('finished');
    await child.gone;
  }

  #start(data: string, mode: 'load' | 'finish', abort: AbortSignal): Child {
    abort.throwIfAborted();
    const first = Math.max(0, this.#ledger.highest - OVERLAP);
    const hear = (event: LoadEvent): void => {
      this.#ledger.take(event);
      if (event.kind === 'opened') this.#reopenMs.push(event.ms);
    };
    this.#child = startChild({ data, mode, first }, hear);
    return this.#child;
  }
}
