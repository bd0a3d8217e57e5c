/** Access tokens: who may come in, and the sessions that end with a token. */
import { ACCESS_TOKEN_HASH_BYTES } from '../model/access-token.ts';
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { CreateToken, Reply, RevokeToken } from '../model/command.ts';
import type { TokenView } from '../model/views.ts';
import { grantOf } from '../model/scopes.ts';
import { KIND } from './layout.ts';
import type { AccessToken } from './memory.ts';
import { erase, type MachineState, put } from './state.ts';
import { closeSession, endSession } from './timers.ts';

/** How many access tokens a space keeps, the ones that have ended included; for a new one the oldest of those goes. */
export const MAX_ACCESS_TOKENS = 1_000;

const RECORD_VERSION = 1;

const scratch = new ByteWriter(512);

const DONE: Reply = { kind: 'done' };

export function applyCreateToken(state: MachineState, command: CreateToken): Reply {
  const { id, hash, label, scopes, expiresInMs } = command;
  if (state.accessTokens.has(id))
    return refused('WRONG_STATE', `Cannot create access token "${id}": there is one already`);
  if (!makeRoom(state)) {
    return refused('TOO_MANY', `Cannot create an access token: a space has at most ${MAX_ACCESS_TOKENS} that live`);
  }
  const createdAt = Math.floor(instantOf(state));
  const expiresAt = expiresInMs === undefined ? 0 : createdAt + Math.ceil(expiresInMs);
  const token = {
    id,
    hash: Uint8Array.from(hash),
    label,
    scopes,
    grant: grantOf(scopes),
    createdAt,
    expiresAt,
    hasExpired: false,
    revokedAt: 0,
  };
  addAccessToken(state, token);
  write(state, token);
  return { kind: 'value', value: createdAt };
}

export function applyRevokeToken(state: MachineState, { id }: RevokeToken): Reply {
  const token = state.accessTokens.get(id);
  if (token === undefined) return refused('NOT_FOUND', `Cannot revoke access token "${id}": no token has this id`);
  if (token.revokedAt !== 0) return DONE;
  if (token.expiresAt !== 0 && !token.hasExpired) state.tokenExpiries.remove(token);
  token.revokedAt = Math.floor(instantOf(state));
  write(state, token);
  endSessionsOf(state, token);
  return DONE;
}

/** Ends the sessions of tokens whose time is over. */
export function expireTokens(state: MachineState): void {
  for (;;) {
    const token = state.tokenExpiries.first();
    if (token === undefined || token.expiresAt > instantOf(state)) return;
    state.tokenExpiries.remove(token);
    token.hasExpired = true;
    endSessionsOf(state, token);
  }
}

/** Whether the token still lets anybody in. */
export function tokenState(state: MachineState, { expiresAt, hasExpired, revokedAt }: AccessToken): TokenView['state'] {
  if (revokedAt !== 0) return 'revoked';
  return hasExpired || (expiresAt !== 0 && expiresAt <= instantOf(state)) ? 'expired' : 'live';
}

/**
 * What the ends of tokens go by: machine time, or the wall clock where that is ahead. After the machine has slept, machine time
 * is behind for long, and a token should not live for longer than its calendar says.
 */
function instantOf({ now, wall }: MachineState): number {
  return Math.max(now, wall);
}

/** All tokens, the oldest first. */
export function viewTokens(state: MachineState): TokenView[] {
  const tokens = [...state.accessTokens.values()].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  return tokens.map((token) => ({
    id: token.id,
    label: token.label,
    scopes: token.scopes,
    state: tokenState(state, token),
    createdAt: token.createdAt,
    expiresAt: token.expiresAt === 0 ? undefined : token.expiresAt,
    revokedAt: token.revokedAt === 0 ? undefined : token.revokedAt,
  }));
}

/** Adds a token that was made or read. */
export function addAccessToken(state: MachineState, token: AccessToken): void {
  state.accessTokens.set(token.id, token);
  if (token.expiresAt !== 0 && token.revokedAt === 0) state.tokenExpiries.add(token);
}

export function readAccessToken(number: number, value: Uint8Array): AccessToken {
  const reader = new ByteReader(value, 1);
  const hash = Uint8Array.from(reader.raw(ACCESS_TOKEN_HASH_BYTES));
  const label = reader.text();
  const createdAt = reader.f64();
  const expiresAt = reader.f64();
  const revokedAt = reader.f64();
  const scopes: string[] = [];
  while (reader.left > 0) scopes.push(reader.text());
  const id = number.toString(16).padStart(ID_DIGITS, '0');
  return { id, hash, label, scopes, grant: grantOf(scopes), createdAt, expiresAt, hasExpired: false, revokedAt };
}

/** An id of 48 bits is the number in the key of its record. */
const ID_DIGITS = 12;

function keyOf(state: MachineState, id: string): Uint8Array {
  return state.layout.key(KIND.accessToken, Number.parseInt(id, 16));
}

function write(state: MachineState, token: AccessToken): void {
  const record = scratch;
  record.clear();
  record.u8(RECORD_VERSION);
  record.raw(token.hash);
  record.text(token.label);
  record.f64(token.createdAt);
  record.f64(token.expiresAt);
  record.f64(token.revokedAt);
  for (const scope of token.scopes) record.text(scope);
  put(state, keyOf(state, token.id), record.finish());
}

/** Forgets the token that ended first when there are too many. @returns whether there is room */
function makeRoom(state: MachineState): boolean {
  if (state.accessTokens.size < MAX_ACCESS_TOKENS) return true;
  let oldest: AccessToken | undefined;
  for (const token of state.accessTokens.values()) {
    if (tokenState(state, token) === 'live') continue;
    if (oldest === undefined || endOf(token) < endOf(oldest)) oldest = token;
  }
  if (oldest === undefined) return false;
  state.accessTokens.delete(oldest.id);
  erase(state, keyOf(state, oldest.id));
  return true;
}

function endOf({ expiresAt, revokedAt }: AccessToken): number {
  return revokedAt !== 0 ? revokedAt : expiresAt;
}

/**
 * What the sessions hold goes back uncharged: their processes live, and nothing is wrong with the messages. Of a session that has
 * not come back since the broker before this one that is not known.
 */
function endSessionsOf(state: MachineState, token: AccessToken): void {
  const why = tokenState(state, token) === 'revoked' ? 'was revoked' : 'has expired';
  for (const session of state.sessions.values()) {
    if (session.accessToken !== token.id) continue;
    if (state.isLoading) {
      state.sessions.delete(session.id);
      state.endedWhileLoading.push(session);
    } else if (session.restored) endSession(state, session);
    else closeSession(state, session, `The access token ${why}`);
    state.endedSessions.push({ session, message: `The access token "${token.id}" ${why}` });
  }
}

function refused(code: 'WRONG_STATE' | 'TOO_MANY' | 'NOT_FOUND', message: string): Reply {
  return { kind: 'refused', code, message };
}
