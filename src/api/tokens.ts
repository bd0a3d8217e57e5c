/** Access tokens of a space, as an instance manages them. */
import { createHash } from 'node:crypto';
import type { Client } from '../client/client.ts';
import { refusal } from '../client/outbox.ts';
import { isAccessTokenId, makeAccessToken, MAX_LABEL_CHARACTERS, MAX_SCOPES } from '../model/access-token.ts';
import type { Command } from '../model/command.ts';
import type { TokenView } from '../model/views.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { parseScope } from '../model/scopes.ts';
import { refuseUnknown } from './checks.ts';

export interface CreateTokenOptions {
  /** What it is for, in at most 255 characters: for whoever looks at the list. */
  readonly label: string;
  /**
   * What it allows, from 1 to 64 of these: `channel:GLOB:produce|consume|read|admin`, with several rights as
   * `produce,read`, where `*` stands for any characters; `kv:PREFIX:r|w`; `server:admin` for everything.
   */
  readonly scopes: readonly string[];
  /**
   * How long it is good for.
   * @default until it is revoked
   */
  readonly expiresIn?: Duration;
}

/** A token that was just made. */
export interface NewToken {
  /** The token itself, `hf_…`: keep it now, for nobody can show it again. */
  readonly token: string;
  /** The public part, by which it is revoked. */
  readonly id: string;
  readonly label: string;
  readonly scopes: readonly string[];
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
}

export interface Tokens {
  /**
   * Makes a token of 256 random bits. It is made in this process and never leaves it: the store gets its hash. Several with
   * the same scopes may live at once, so that one can take over from another.
   *
   * Where clients were let in without a token because there was none, the first one ends that at once.
   *
   * @throws TypeError, RangeError for options that cannot be used
   * @throws HoldfastError `FORBIDDEN`, `TOO_MANY`, `CLOSED`
   */
  create(options: CreateTokenOptions): Promise<NewToken>;
  /** All tokens, also those that have ended, the oldest first. @throws HoldfastError `FORBIDDEN`, `CLOSED` */
  list(): Promise<TokenView[]>;
  /**
   * Ends a token for good: connections that came in with it are closed with `UNAUTHORIZED`, and what they held goes back
   * uncounted. One that has ended already stays as it is.
   *
   * @param id the public part, as in `list`
   * @throws TypeError when it is no id
   * @throws HoldfastError `NOT_FOUND`, `FORBIDDEN`, `CLOSED`
   */
  revoke(id: string): Promise<void>;
}

export function createTokens(client: Client): Tokens {
  const ask = async (command: Command): Promise<unknown> => {
    const reply = await client.request(command);
    if (reply.kind === 'value') return reply.value;
    if (reply.kind === 'done') return undefined;
    throw refusal(reply);
  };
  return {
    async create(options) {
      const { label, scopes, expiresInMs } = resolve(options);
      const { id, text } = makeAccessToken(client.random);
      const hash = createHash('sha256').update(text).digest();
      const createdAt = (await ask({ kind: 'createToken', id, hash, label, scopes, expiresInMs })) as number;
      const expiresAt = expiresInMs === undefined ? undefined : createdAt + expiresInMs;
      return { token: text, id, label, scopes, createdAt, expiresAt };
    },
    async list() {
      return (await ask({ kind: 'inspect', what: 'tokens' })) as TokenView[];
    },
    async revoke(id) {
      if (!isAccessTokenId(id)) {
        throw new TypeError('Cannot revoke an access token: give its id, the 12 digits behind "hf_"');
      }
      await ask({ kind: 'revokeToken', id });
    },
  };
}

/** @throws TypeError, RangeError */
function resolve(options: CreateTokenOptions): { label: string; scopes: string[]; expiresInMs: number | undefined } {
  refuseUnknown(options, ['label', 'scopes', 'expiresIn'], 'create');
  const { label, scopes, expiresIn } = options;
  if (typeof label !== 'string') throw new TypeError('Cannot create an access token: "label" must be a text');
  if (label.length === 0 || label.length > MAX_LABEL_CHARACTERS) {
    throw new RangeError(
      `Cannot use a label of ${label.length} characters: it must have from 1 to ${MAX_LABEL_CHARACTERS}`,
    );
  }
  if (!Array.isArray(scopes)) throw new TypeError('Cannot create an access token: "scopes" must be an array of texts');
  if (scopes.length === 0 || scopes.length > MAX_SCOPES) {
    throw new RangeError(`Cannot use ${scopes.length} scopes: give from 1 to ${MAX_SCOPES}`);
  }
  for (const scope of scopes) parseScope(scope);
  const expiresInMs = expiresIn === undefined ? undefined : parseDuration(expiresIn, 'expiresIn');
  if (expiresInMs === 0) throw new RangeError('Cannot use 0 as "expiresIn": it would have ended before it begins');
  return { label, scopes: [...scopes], expiresInMs };
}
