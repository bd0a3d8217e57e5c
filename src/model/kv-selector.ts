/** Selectors of KV: which keys a list covers, and where it goes on. */
import { checkReadable, encodeKvKey, type KvKey } from './kv-key.ts';

export type KvListSelector =
  | { prefix: KvKey }
  | { prefix: KvKey; start: KvKey }
  | { prefix: KvKey; end: KvKey }
  | { start: KvKey; end: KvKey };

/** The keys from `from` (included) to `to` (excluded), all of which begin with the first `commonBytes` of either. */
export interface KvBounds {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly commonBytes: number;
}

/** A selector whose shape has been checked. */
export interface CheckedSelector {
  readonly prefix: KvKey | undefined;
  readonly start: KvKey | undefined;
  readonly end: KvKey | undefined;
}

/** @throws TypeError for a selector that names too little or too much */
export function checkSelector(selector: KvListSelector): CheckedSelector {
  if (selector === undefined || selector === null) throw new TypeError('Cannot convert undefined or null to object');
  const { prefix, start, end } = selector as Partial<CheckedSelector>;
  if (prefix !== undefined) {
    if (start !== undefined && end !== undefined) {
      throw new TypeError(`Selector can not specify both 'start' and 'end' key when specifying 'prefix'`);
    }
  } else if (start === undefined || end === undefined) {
    throw new TypeError(`Selector must specify either 'prefix' or both 'start' and 'end' key`);
  }
  return { prefix, start, end };
}

/** A prefix selects what goes on behind it, and not itself. @throws TypeError */
export function boundsOf({ prefix, start, end }: CheckedSelector): KvBounds {
  const from = start === undefined ? undefined : checkReadable(encodeKvKey(start));
  const to = end === undefined ? undefined : checkReadable(encodeKvKey(end));
  if (prefix === undefined) {
    const bounds = { from: from as Uint8Array, to: to as Uint8Array };
    if (Buffer.compare(bounds.from, bounds.to) > 0) throw new TypeError('Start key is greater than end key');
    return { ...bounds, commonBytes: commonBytes(bounds.from, bounds.to) };
  }
  const common = encodeKvKey(prefix);
  if (from !== undefined && !goesOnBehind(common, from)) {
    throw new TypeError('Start key is not in the keyspace defined by prefix');
  }
  if (to !== undefined && !goesOnBehind(common, to)) {
    throw new TypeError('End key is not in the keyspace defined by prefix');
  }
  return {
    from: from ?? checkReadable(withByte(common, 0x00)),
    to: to ?? checkReadable(withByte(common, 0xff)),
    commonBytes: common.length,
  };
}

/** The rest of the bounds behind the key that a cursor stands for. @throws TypeError */
export function boundsBehind(bounds: KvBounds, cursor: string, reverse: boolean): KvBounds {
  const key = keyOfCursor(bounds, cursor);
  if (reverse) {
    if (Buffer.compare(key, bounds.to) > 0) throw new TypeError('cursor out of bounds');
    return { ...bounds, to: key };
  }
  const from = behind(key);
  if (Buffer.compare(from, bounds.from) < 0) throw new TypeError('cursor out of bounds');
  return { ...bounds, from };
}

/** Whether there can be no key between the bounds. */
export function areEmpty({ from, to }: KvBounds): boolean {
  return Buffer.compare(from, to) >= 0;
}

/** What to go on from behind this key with: its bytes behind those that all keys of the selector begin with. */
export function cursorAt({ commonBytes: common }: KvBounds, key: Uint8Array): string {
  return Buffer.from(key.subarray(common)).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

/** The first key behind this one. */
export function behind(key: Uint8Array): Uint8Array {
  return withByte(key, 0x00);
}

function keyOfCursor(bounds: KvBounds, cursor: string): Uint8Array {
  const rest = Buffer.from(cursor, 'base64url');
  // Whatever is no base64 is passed over by Buffer, and so is what is left of a text that was cut.
  if (cursorAt({ ...bounds, commonBytes: 0 }, rest) !== cursor) throw new TypeError('invalid cursor');
  return checkReadable(Buffer.concat([bounds.from.subarray(0, bounds.commonBytes), rest]));
}

function goesOnBehind(prefix: Uint8Array, key: Uint8Array): boolean {
  return key.length > prefix.length && commonBytes(prefix, key) === prefix.length;
}

function commonBytes(one: Uint8Array, other: Uint8Array): number {
  let common = 0;
  while (common < one.length && common < other.length && one[common] === other[common]) common += 1;
  return common;
}

function withByte(bytes: Uint8Array, byte: number): Uint8Array {
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  longer[bytes.length] = byte;
  return longer;
}
