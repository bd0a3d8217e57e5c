/** Turns what the `lmdb` package and the file system throw into errors of the store contract. */
import { StoreError, type ErrorCode } from '../model/errors.ts';

/** LMDB's own codes that speak of damaged contents. */
const CORRUPT: ReadonlyMap<number, string> = new Map([
  [-30797, 'MDB_PAGE_NOTFOUND'],
  [-30796, 'MDB_CORRUPTED'],
  [-30794, 'MDB_VERSION_MISMATCH'],
  [-30793, 'MDB_INVALID'],
  [-30781, 'MDB_BAD_VALSIZE'],
  [-30779, 'MDB_PROBLEM'],
  [-30778, 'MDB_BAD_CHECKSUM'],
]);

const MDB_MAP_FULL = -30792;
const ENOSPC = 28;
const EDQUOT = 122;
const EFBIG = 27;

/**
 * The error of the contract for `cause`; one that is already of the contract is passed through.
 * `doing` completes "Cannot …" in the message.
 */
export function asStoreError(cause: unknown, outcome: 'aborted' | 'unknown', doing: string): StoreError {
  if (cause instanceof StoreError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new StoreError(codeOf(cause), outcome, `Cannot ${doing}: ${message}`, { cause });
}

function codeOf(cause: unknown): ErrorCode {
  const code = (cause as { code?: unknown } | null)?.code;
  if (code === ENOSPC || code === EDQUOT || code === EFBIG || code === MDB_MAP_FULL) return 'STORE_FULL';
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') return 'STORE_FULL';
  if (typeof code === 'number' && CORRUPT.has(code)) return 'STORE_CORRUPT';
  return 'STORE_FAILED';
}
