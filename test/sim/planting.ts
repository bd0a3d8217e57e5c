import { checkHistory, simulate, type SimRecord } from '#holdfast/testing/sim/index.js';

export type Of<Kind extends SimRecord['kind']> = Extract<SimRecord, { readonly kind: Kind }>;

/** Changes one record of a history, the first of its kind for which `change` gives another. */
export function plant<Kind extends SimRecord['kind']>(
  history: readonly SimRecord[],
  kind: Kind,
  change: (record: Of<Kind>, before: readonly SimRecord[]) => SimRecord | undefined,
): SimRecord[] {
  for (const [i, record] of history.entries()) {
    const changed = record.kind === kind ? change(record as Of<Kind>, history.slice(0, i)) : undefined;
    if (changed !== undefined) return history.toSpliced(i, 1, changed);
  }
  throw new Error(`Cannot plant a violation: no record of kind "${kind}" fits`);
}

/** The invariants that a history breaks. */
export function found(history: readonly SimRecord[]): string[] {
  return checkHistory(history).map(({ id }) => id);
}

/** More than this are not simulated to find one that suits. */
const MOST_HISTORIES = 60;
const FIRST_SEED = 101;

/** Histories of seeds, in which nothing is wrong. */
export class Histories {
  readonly all: SimRecord[][] = [];

  async simulate(seeds: readonly number[]): Promise<void> {
    for (const seed of seeds) this.all.push([...(await simulate({ seed, keepsHistory: true })).history]);
  }

  /** Plants a violation in the first history that allows it; where none does, more are simulated. */
  async inAny(planting: (history: readonly SimRecord[]) => SimRecord[]): Promise<SimRecord[]> {
    for (let i = 0; i < MOST_HISTORIES; i++) {
      if (this.all[i] === undefined) await this.simulate([FIRST_SEED + i]);
      try {
        return planting(this.all[i] as SimRecord[]);
      } catch {
        // This history has no such record; another will.
      }
    }
    throw new Error('Cannot plant a violation: no history fits');
  }
}
