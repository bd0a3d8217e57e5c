/** Authorise: what a client that says HELLO may do, if anything. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Machine, Proof } from '../machine/machine.ts';
import { ACCESS_TOKEN_HASH_BYTES, accessTokenId, type NeedsToken } from '../model/access-token.ts';
import { EVERYTHING } from '../model/scopes.ts';
import type { Goodbye } from '../wire/frames.ts';

/** What the hash of an unknown token is compared with. No text has it as its hash. */
const NO_HASH: Uint8Array = new Uint8Array(ACCESS_TOKEN_HASH_BYTES);

/**
 * What the client has proven, or why it has to go. An unknown id and a wrong secret cost the same work and get the same
 * answer; that a token has ended is told only to those who have it.
 *
 * @param text of the token that it gave; empty for none
 */
export function authorise(machine: Machine, needs: NeedsToken, text: string): Proof | Goodbye {
  if (text === '') {
    if (needs === 'always' || (needs === 'whenAny' && machine.hasAccessTokens)) {
      return unauthorized('This way in needs an access token');
    }
    return { accessToken: '', grant: EVERYTHING };
  }
  const id = accessTokenId(text);
  const token = id === undefined ? undefined : machine.accessToken(id);
  const isSame = timingSafeEqual(createHash('sha256').update(text).digest(), token?.hash ?? NO_HASH);
  if (token === undefined || !isSame) return unauthorized('The access token is not known here');
  const state = machine.accessTokenState(token);
  if (state !== 'live') {
    return unauthorized(`The access token "${token.id}" ${state === 'expired' ? 'has expired' : 'was revoked'}`);
  }
  return { accessToken: token.id, grant: token.grant };
}

export function unauthorized(message: string): Goodbye {
  return { code: 'UNAUTHORIZED', message };
}
