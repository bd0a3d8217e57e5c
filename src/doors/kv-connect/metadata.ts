/** The metadata exchange: a client says which versions it speaks, and learns where its data is. */
import { createHash } from 'node:crypto';
import type { Clock } from '../../model/clock.ts';
import type { Request } from './exchange.ts';
import { Refusal } from './refusal.ts';

/** The versions of the protocol, the one that is liked best first. */
const VERSIONS = [3, 2, 1] as const;

export type Version = (typeof VERSIONS)[number];

/** Where the data path is, below the path of the exchange. */
export const DATA_PATH = '/data';

/**
 * How long a client keeps what it learns, in milliseconds. Well above the 5 minutes before whose end `@deno/kv` asks anew.
 */
const EXPIRES_IN_MS = 3_600_000;

/** The body of the exchange is short. */
export const MAX_EXCHANGE_BYTES = 4_096;

/**
 * The answer, as JSON with no field but those of the protocol: clients refuse others.
 *
 * The token of the data path is the access token itself. Clients take a refusal on the data path as the last word, so
 * one of its own would have to outlive this server, and to be known to every other one in front of the same space; and
 * whoever could read it could read the access token in the same place. As it is, a token that is revoked is so at once.
 *
 * @throws Refusal
 */
export function metadataOf(
  request: Request,
  body: Uint8Array,
  { token, databaseId, isSecure, clock }: { token: string; databaseId: string; isSecure: boolean; clock: Clock },
): Uint8Array {
  const version = versionFor(body);
  return Buffer.from(
    JSON.stringify({
      version,
      databaseId,
      endpoints: [{ url: endpointFor(request, version, isSecure), consistency: 'strong' }],
      token,
      expiresAt: new Date(clock.wallMs() + EXPIRES_IN_MS).toISOString(),
    }),
  );
}

/** Always the same for a space of this name, and never read by anybody but the server: clients show it again. */
export function databaseIdOf(space: string): string {
  const hex = createHash('sha256').update(`holdfast kv ${space}`).digest('hex');
  // The form of a UUID whose bits are one's own (RFC 9562, version 8).
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** @throws Refusal for a request that is not of this database, or in no version of the protocol */
export function checkDataHeaders({ headers }: Request, databaseId: string): void {
  const version = headers['x-denokv-version'];
  if (version !== undefined && version !== '2' && version !== '3') {
    throw new Refusal(400, 'Expected protocol version 1, 2 or 3.');
  }
  const database = headers[version === undefined ? 'x-transaction-domain-id' : 'x-denokv-database-id'];
  if (database !== databaseId) throw new Refusal(400, 'Invalid database id.');
}

/** @throws Refusal */
function versionFor(body: Uint8Array): Version {
  // Who says nothing speaks the first version alone.
  const supported = body.length === 0 ? [1] : supportedVersions(body);
  const version = VERSIONS.find((one) => supported.includes(one));
  if (version === undefined) {
    throw new Refusal(400, 'The server could not negotiate a protocol version: it speaks versions 1, 2 and 3.');
  }
  return version;
}

function supportedVersions(body: Uint8Array): readonly unknown[] {
  let content: unknown;
  try {
    content = JSON.parse(Buffer.from(body).toString());
  } catch {
    throw new Refusal(400, 'The metadata exchange request is not JSON.');
  }
  if (typeof content === 'object' && content !== null && 'supportedVersions' in content) {
    const { supportedVersions } = content;
    if (Array.isArray(supportedVersions)) return supportedVersions;
  }
  throw new Refusal(400, 'The metadata exchange request has no list of supportedVersions.');
}

/**
 * Relative to the URL that the client knows, where its version allows that, so that the server need not know by what
 * name and behind what it is reached.
 */
function endpointFor(request: Request, version: Version, isSecure: boolean): string {
  const path = pathOf(request);
  if (version > 1) {
    const last = path.slice(path.lastIndexOf('/') + 1);
    return `./${last}${DATA_PATH}`.replace('.//', './');
  }
  const host = 'authority' in request ? request.authority : request.headers.host;
  if (host === undefined || host === '') throw new Refusal(400, 'The request does not say which host it is for.');
  return `http${isSecure ? 's' : ''}://${host}${path.replace(/\/$/, '')}${DATA_PATH}`;
}

export function pathOf({ url }: Request): string {
  return url?.split('?', 1)[0] ?? '';
}
