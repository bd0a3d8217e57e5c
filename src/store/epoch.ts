/** What every store needs to know of epochs: comparing them, making them, and answering `resolve`. */
import { StoreError } from '../model/errors.ts';
import type { Random } from '../model/random.ts';
import type { Epoch, Leader } from '../model/records.ts';

const NONCE_BYTES = 16;

/** The durable record of who leads a store. */
export interface Leadership {
  readonly epoch: Epoch;
  readonly address: string;
  /** The epoch that this one took over from, so that `resolve` can tell whose commit the last one was. */
  readonly before: Epoch | undefined;
}

/** The trace of the last commit that was applied. */
export interface LastCommit {
  readonly epoch: Epoch;
  readonly id: bigint;
}

/** Whether two epochs are the same, or both absent. */
export function sameEpoch(a: Epoch | undefined, b: Epoch | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.number === b.number && a.nonce === b.nonce);
}

/** The leadership that follows `current` when the broker at `address` takes over. */
export function succeed(current: Leadership | undefined, address: string, random: Random): Leadership {
  const nonce = Buffer.from(random.fill(new Uint8Array(NONCE_BYTES))).toString('hex');
  return { epoch: { number: (current?.epoch.number ?? 0) + 1, nonce }, address, before: current?.epoch };
}

/** What `leader()` and a lost race answer in a store without leases. */
export function leaderOf(leadership: Leadership): Leader {
  return { epoch: leadership.epoch, address: leadership.address, leaseRuns: true };
}

/** Throws `FENCED` unless `epoch` leads the store. */
export function checkEpoch(current: Epoch | undefined, epoch: Epoch): void {
  if (sameEpoch(current, epoch)) return;
  const leads = current === undefined ? 'nobody leads the store' : `epoch ${current.number} leads the store`;
  throw new StoreError('FENCED', 'aborted', `Cannot use the store under epoch ${epoch.number}: ${leads}`);
}

/**
 * Answers `resolve` for a commit of the epoch that leads, or of the one before it. Commit ids grow by one
 * within an epoch and start anywhere, so the last commit says most only together with its epoch.
 */
export function resolveCommit(
  leadership: Leadership,
  last: LastCommit | undefined,
  id: bigint,
): 'applied' | 'absent' | 'unknown' {
  const traced =
    last !== undefined && (sameEpoch(last.epoch, leadership.epoch) || sameEpoch(last.epoch, leadership.before));
  // The last commit is older than both epochs that can be asked about: neither of them has applied any.
  if (!traced) return 'absent';
  if (last.id === id) return 'applied';
  return id === last.id + 1n ? 'absent' : 'unknown';
}
