/**
 * Scopes: what an access token allows.
 *
 * ```
 * channel:GLOB:RIGHT[,RIGHT…]   produce, consume, read or admin on the channels whose names match
 * kv:PREFIX:r|w|r,w             reading or writing the keys whose first parts are these texts, with / between them
 * topic:GLOB:publish|subscribe  publishing to the topics whose names match, or having channels subscribed to them
 * server:admin                  everything, access tokens and backups included
 * ```
 *
 * In a glob `*` stands for any characters, also none; everything else for itself, to the letter. The rights follow the
 * last colon, so a glob may hold colons. No right includes another one.
 */

export const CHANNEL_RIGHTS = ['produce', 'consume', 'read', 'admin'] as const;

/** Produce messages; run handlers on them; look at them; pause, purge, cancel, redrive and the like. */
export type ChannelRight = (typeof CHANNEL_RIGHTS)[number];

const KV_RIGHTS = ['r', 'w'] as const;

const TOPIC_RIGHTS = ['publish', 'subscribe'] as const;

export type Scope =
  | { readonly kind: 'channel'; readonly glob: string; readonly rights: readonly ChannelRight[] }
  | { readonly kind: 'kv'; readonly prefix: string; readonly rights: readonly (typeof KV_RIGHTS)[number][] }
  | { readonly kind: 'topic'; readonly glob: string; readonly rights: readonly (typeof TOPIC_RIGHTS)[number][] }
  | { readonly kind: 'server' };

/** A glob or prefix has at most this many characters, as a channel's name has. */
const MAX_PATTERN_CHARACTERS = 255;

/** Reads a scope. @throws TypeError, RangeError when it is none */
export function parseScope(text: string): Scope {
  if (typeof text !== 'string') throw new TypeError(`Cannot use ${typeof text} as a scope: it must be a text`);
  if (text === 'server:admin') return { kind: 'server' };
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  const kind = text.slice(0, Math.max(first, 0));
  if ((kind !== 'channel' && kind !== 'kv' && kind !== 'topic') || first === last) {
    throw new TypeError(
      `Cannot use "${text}" as a scope: write channel:GLOB:produce|consume|read|admin, kv:PREFIX:r|w, topic:GLOB:publish|subscribe or server:admin`,
    );
  }
  const pattern = text.slice(first + 1, last);
  if (pattern.length > MAX_PATTERN_CHARACTERS || (kind !== 'kv' && pattern === '')) {
    throw new RangeError(
      `Cannot use "${text}" as a scope: a pattern has from 1 to ${MAX_PATTERN_CHARACTERS} characters`,
    );
  }
  const rights = text.slice(last + 1).split(',');
  if (kind === 'kv') return { kind, prefix: pattern, rights: knownRights(text, rights, KV_RIGHTS) };
  if (kind === 'topic') return { kind, glob: pattern, rights: knownRights(text, rights, TOPIC_RIGHTS) };
  return { kind, glob: pattern, rights: knownRights(text, rights, CHANNEL_RIGHTS) };
}

/** Whether the text is a scope. */
export function isScope(text: unknown): boolean {
  try {
    parseScope(text as string);
    return true;
  } catch {
    return false;
  }
}

/** Whether the name matches the glob; the time it takes is within the product of their lengths. */
export function matchesGlob(glob: string, name: string): boolean {
  let [at, inName] = [0, 0];
  /** Where the last `*` was, and up to where of the name it reaches as yet. */
  let [star, reach] = [-1, 0];
  while (inName < name.length) {
    // Before the comparison: the name may hold an asterisk itself.
    if (glob[at] === '*') {
      star = at++;
      reach = inName;
    } else if (glob[at] === name[inName]) {
      at += 1;
      inName += 1;
    } else if (star >= 0) {
      at = star + 1;
      inName = ++reach;
    } else return false;
  }
  while (glob[at] === '*') at += 1;
  return at === glob.length;
}

/** What a session may do. */
export interface Grant {
  /** Everything. */
  readonly isAdmin: boolean;
  readonly channels: readonly Extract<Scope, { kind: 'channel' }>[];
  readonly keys: readonly KeyGrant[];
  readonly topics: readonly Extract<Scope, { kind: 'topic' }>[];
}

/** Rights on the keys of KV that begin with these bytes. */
interface KeyGrant {
  readonly prefix: Uint8Array;
  readonly rights: readonly (typeof KV_RIGHTS)[number][];
}

/** Of a session whose way in is proof enough. */
export const EVERYTHING: Grant = { isAdmin: true, channels: [], keys: [], topics: [] };

export const NOTHING: Grant = { isAdmin: false, channels: [], keys: [], topics: [] };

/** What the scopes allow together. @throws TypeError, RangeError when one of them is none */
export function grantOf(scopes: readonly string[]): Grant {
  const parsed = scopes.map(parseScope);
  return {
    isAdmin: parsed.some(({ kind }) => kind === 'server'),
    channels: parsed.filter((scope) => scope.kind === 'channel'),
    topics: parsed.filter((scope) => scope.kind === 'topic'),
    keys: parsed
      .filter((scope) => scope.kind === 'kv')
      .map(({ prefix, rights }) => ({ prefix: keyPrefix(prefix), rights })),
  };
}

/** Whether the key may be read, or written. */
export function mayUseKey({ isAdmin, keys }: Grant, key: Uint8Array, right: (typeof KV_RIGHTS)[number]): boolean {
  return isAdmin || keys.some(({ prefix, rights }) => rights.includes(right) && startsWith(key, prefix));
}

/** Whether the topic may be published to, or subscribed to. */
export function mayUseTopic({ isAdmin, topics }: Grant, name: string, right: (typeof TOPIC_RIGHTS)[number]): boolean {
  return isAdmin || topics.some(({ glob, rights }) => rights.includes(right) && matchesGlob(glob, name));
}

/** Whether all keys from `from` (included) to `to` (excluded) may be read. */
export function mayReadRange({ isAdmin, keys }: Grant, from: Uint8Array, to: Uint8Array): boolean {
  if (isAdmin) return true;
  return keys.some(({ prefix, rights }) => rights.includes('r') && startsWith(from, prefix) && startsWith(to, prefix));
}

/** The bytes with which the keys begin whose first parts are these texts; see `kv-key.ts`. */
function keyPrefix(texts: string): Uint8Array {
  if (texts === '') return new Uint8Array();
  const parts = texts.split('/').map((text) => `\u0002${text}\0`);
  return new TextEncoder().encode(parts.join(''));
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && prefix.every((byte, i) => key[i] === byte);
}

/** Rights on one channel, a bit each: quick to ask at every message. */
export type RightSet = number;

const BIT = { produce: 1, consume: 2, read: 4, admin: 8 } as const;

const ALL_RIGHTS: RightSet = BIT.produce | BIT.consume | BIT.read | BIT.admin;

/** The rights on the channel of this name. */
export function rightsOn({ isAdmin, channels }: Grant, name: string): RightSet {
  if (isAdmin) return ALL_RIGHTS;
  let rights = 0;
  for (const scope of channels) {
    if (!matchesGlob(scope.glob, name)) continue;
    for (const right of scope.rights) rights |= BIT[right];
  }
  return rights;
}

/** Whether one of these rights is among them. */
export function hasRight(rights: RightSet, ...wanted: readonly ChannelRight[]): boolean {
  return wanted.some((right) => (rights & BIT[right]) !== 0);
}

function knownRights<T extends string>(text: string, given: readonly string[], known: readonly T[]): T[] {
  const unknown = given.find((right) => !known.some((one) => one === right));
  if (unknown === undefined) return known.filter((right) => given.includes(right));
  throw new TypeError(`Cannot use "${text}" as a scope: "${unknown}" is none of ${known.join(', ')}`);
}
