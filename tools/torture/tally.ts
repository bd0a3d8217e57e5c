/** What a campaign has come to. */
import type { Ledger, Violations } from './ledger.ts';

/** What the books say. */
interface Books extends Violations {
  /** Messages whose produce had resolved. */
  readonly acknowledged: number;
  /** Messages of which the end was known to be durable. */
  readonly ended: number;
  /** Transfers of money that committed with an ack, and messages that transactions produced and counted. */
  readonly moved: number;
  readonly counted: number;
  /** The same two for the jobs of a queue of BullMQ's. */
  readonly jobsAdded: number;
  readonly jobsEnded: number;
}

export interface Tally extends Books {
  readonly cycles: number;
  /** How long each opening took, in milliseconds. */
  readonly reopenMs: readonly number[];
  /** What several processes on one store went through. */
  readonly shared?: SharedTally;
}

export interface SharedTally {
  /** Processes that were killed. */
  readonly kills: number;
  /** How many of them led the store. */
  readonly leaderKills: number;
  /** Processes that were stopped for so long that the others took them for dead. */
  readonly stops: number;
  /** From the kill of the leader to the acknowledgement of the first produce that was asked for since, in milliseconds. */
  readonly takeoverMs: readonly number[];
}

export function sumOf(ledgers: readonly Ledger[]): Books {
  const none = { missing: 0, doubled: 0, altered: 0, revived: 0, miscounted: 0 };
  const sum = { acknowledged: 0, ended: 0, moved: 0, counted: 0, jobsAdded: 0, jobsEnded: 0, ...none };
  for (const { acknowledged, ended, moved, counted, jobsAdded, jobsEnded, violations } of ledgers) {
    sum.jobsAdded += jobsAdded;
    sum.jobsEnded += jobsEnded;
    sum.moved += moved;
    sum.counted += counted;
    sum.acknowledged += acknowledged;
    sum.ended += ended;
    for (const kind of ['missing', 'doubled', 'altered', 'revived', 'miscounted'] as const)
      sum[kind] += violations[kind];
  }
  return sum;
}
