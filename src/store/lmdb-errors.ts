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
const [EIO, EFBIG, ENOSPC, EDQUOT] = [5, 27, 28, 122];

/** A disk with less free space than this is taken for full when a write was cut short. */
const FULL_BYTES: number = 1024 * 1024;

/**
 * The error of the contract for `cause`; one that is already of the contract is passed through.
 * `doing` completes "Cannot …" in the message. `freeBytes` says what the disk has left.
 */
export function asStoreError(
  cause: unknown,
  outcome: 'aborted' | 'unknown',
  doing: string,
  freeBytes: () => number = () => Infinity,
): StoreError {
  if (cause instanceof StoreError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new StoreError(codeOf(cause, freeBytes), outcome, `Cannot ${doing}: ${message}`, { cause });
}

function codeOf(cause: unknown, freeBytes: () => number): ErrorCode {
  const { code, errno } = (cause ?? {}) as { code?: unknown; errno?: unknown };
  // The package has numbers as codes; the file system of Node has names, and negative numbers in `errno`.
  const number = typeof code === 'number' ? code : typeof errno === 'number' ? -errno : 0;
  if ([ENOSPC, EDQUOT, EFBIG, MDB_MAP_FULL].includes(number)) return 'STORE_FULL';
  // LMDB calls it EIO when the system wrote a part only, as it does when the disk gets full meanwhile.
  if (number === EIO && isFull(freeBytes)) return 'STORE_FULL';
  return CORRUPT.has(number) ? 'STORE_CORRUPT' : 'STORE_FAILED';
}

function isFull(freeBytes: () => number): boolean {
  try {
    return freeBytes() < FULL_BYTES;
  } catch {
    return false;
  }
}
