/**
 * Access tokens: what a client proves its rights with.
 *
 * ```
 * token = "hf_" id "_" secret      id: 48 random bits as 12 hexadecimal digits; secret: 256 random bits as base64url
 * ```
 *
 * The id is public: records, lists and messages name the token by it. Whoever has the whole text has its rights, so
 * it is shown once, where it is made, and all that is kept is the SHA-256 of it. The secret is random and as long as the
 * hash, so there is nothing for a slow hash to slow down.
 */
import type { Random } from './random.ts';

/**
 * Who needs a token:
 *
 * - `never`: whoever reaches the broker this way has proven enough, as within its process or through a socket that only
 *   its user may open
 * - `whenAny`: as soon as the space has one, be it one that has ended
 * - `always`
 *
 * One that is given is looked at in any case, and its scopes are the limit.
 */
export type NeedsToken = 'never' | 'whenAny' | 'always';

/** From the mildest to the strictest. */
export const NEEDS_TOKEN: readonly NeedsToken[] = ['never', 'whenAny', 'always'];

export function stricter(a: NeedsToken, b: NeedsToken): NeedsToken {
  return NEEDS_TOKEN.indexOf(a) > NEEDS_TOKEN.indexOf(b) ? a : b;
}

const ID_BYTES = 6;
const SECRET_BYTES = 32;

export const ACCESS_TOKEN_HASH_BYTES = 32;

/** How many scopes a token may have, and how many characters its label. */
export const MAX_SCOPES = 64;
export const MAX_LABEL_CHARACTERS = 255;

const ID = /^[0-9a-f]{12}$/;
const TOKEN = /^hf_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/;

/** A token that nobody has had before. */
export function makeAccessToken(random: Random): { readonly id: string; readonly text: string } {
  const id = Buffer.from(random.fill(new Uint8Array(ID_BYTES))).toString('hex');
  const secret = Buffer.from(random.fill(new Uint8Array(SECRET_BYTES))).toString('base64url');
  return { id, text: `hf_${id}_${secret}` };
}

/** The id within the text of a token; `undefined` when it is the text of none. */
export function accessTokenId(text: string): string | undefined {
  return TOKEN.exec(text)?.[1];
}

export function isAccessTokenId(id: unknown): boolean {
  return typeof id === 'string' && ID.test(id);
}
