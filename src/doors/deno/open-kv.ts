/** `openKv`: KV as Deno opens it, on an instance of its own. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { environment } from '../../api/environment.ts';
import type { CloseOptions } from '../../api/holdfast.ts';
import { Kv as KvOfInstance } from '../../api/kv/kv.ts';
import type { KvOptions } from '../../api/kv/limits.ts';
import type { Kv } from '../../api/kv/types.ts';
import { type Duration, parseDuration } from '../../model/duration.ts';
import { HoldfastError } from '../../model/errors.ts';
import { open, type OpenOptions } from '../../open.ts';

/** What Deno does not know: how to open the store, and limits that are other than Deno's. */
export interface OpenKvOptions extends Omit<OpenOptions, 'kv' | 'channels'>, KvOptions {
  /** Messages of a queue that have not ended; `Infinity` for any number. @default 100000 */
  readonly maxBacklog?: number;
  /**
   * How long handlers may go on when KV is closed, before `listenQueue` resolves without them: what still runs then
   * gets its signal, and its message goes back, uncounted. `Infinity` for as long as they take.
   * @default '5s'
   */
  readonly grace?: Duration;
}

/** As many undelivered messages as Deno Deploy takes. */
const MAX_BACKLOG = 100_000;

/** Deno itself knows no limit here. */
const MAX_KEYS_IF_UNDELIVERED = 10_000;

const GRACE = '5s';

const HTTP = /^https?:\/\//;

/** What the client of WebSocket says of an HTTP server that is none of ours. */
const REFUSED_UPGRADE = /^Unexpected server response: (\d{3})$/;

/** Where KV is when nothing is said. */
const DEFAULT_FOLDER = 'holdfast-kv';

/**
 * Opens KV.
 *
 * - `':memory:'`: nothing outlives the process, and each call opens a new one; with `DENO_KV_DB_MODE=memory` always
 * - a path: a folder, made if it is not there, of which any number of processes may have it open; `DENO_KV_PATH_PREFIX`
 *   is put before it
 * - `http://host:port`, `https://…`: a server of Holdfast, with the token of `DENO_KV_ACCESS_TOKEN`; a listener works there too
 * - whatever else `open` of `holdfast` takes: `file:`, `holdfast://`, `holdfasts://`, `ws://`, `wss://`, `unix:`
 *
 * An environment variable that may not be read, as under Deno without `--allow-env`, counts as not set.
 *
 * @param path by default `DENO_KV_DEFAULT_PATH`, or the folder `holdfast-kv` within the working directory
 * @throws TypeError for a path or option that cannot be used, and, with its `cause`, for `http:` and `https:` whatever
 * keeps it from a server; what `open` throws
 */
export async function openKv(path?: string, options: OpenKvOptions = {}): Promise<Kv> {
  const place = path ?? environment('DENO_KV_DEFAULT_PATH') ?? DEFAULT_FOLDER;
  const target = targetOf(place);
  const { openOptions, kv, grace } = parted(options);
  const token = options.token ?? (isRemote(target) ? environment('DENO_KV_ACCESS_TOKEN') : undefined);
  const opening = open(target, { ...openOptions, ...(token === undefined ? {} : { token }), kv });
  const hf = await opening.catch((error: unknown) => {
    throw HTTP.test(place) ? inWordsOfDeno(error, new URL(place)) : error;
  });
  KvOfInstance.onClose(hf.kv, () => void hf.close(grace));
  return hf.kv;
}

/** Why a server could not be opened. */
function inWordsOfDeno(error: unknown, { href }: URL): unknown {
  if (!(error instanceof HoldfastError)) return error;
  const reason = error.cause instanceof Error ? error.cause.message : error.message;
  const status = REFUSED_UPGRADE.exec(reason)?.[1];
  let why = error.message;
  if (status !== undefined) why = `the metadata endpoint at '${href}' responded with status ${status}`;
  else if (error.code === 'UNREACHABLE') why = `failed to connect to '${href}': ${reason}`;
  return new TypeError(`Could not open Deno KV database: ${why}`, { cause: error });
}

const KV_OPTIONS = [
  'maxValueBytes',
  'maxAtomicBytes',
  'maxChecks',
  'maxMutations',
  'maxKeys',
  'maxBatchSize',
  'maxBackoffIntervals',
  'maxKeysIfUndelivered',
  'maxBacklog',
] as const satisfies readonly (keyof KvOptions)[];

interface Parted {
  readonly openOptions: OpenOptions;
  readonly kv: KvOptions;
  readonly grace: CloseOptions;
}

/** @throws TypeError, RangeError for a grace that is no duration */
function parted({ grace = GRACE, ...options }: OpenKvOptions): Parted {
  const kv: Record<string, number> = { maxBacklog: MAX_BACKLOG, maxKeysIfUndelivered: MAX_KEYS_IF_UNDELIVERED };
  const openOptions: Record<string, unknown> = { ...options };
  for (const name of KV_OPTIONS) {
    const { [name]: given } = options;
    if (given !== undefined) kv[name] = given;
    delete openOptions[name];
  }
  return { openOptions, kv, grace: grace === Infinity ? {} : { grace: parseDuration(grace, 'grace') } };
}

/** What `open` is to be given. @throws TypeError */
function targetOf(path: string): string {
  if (typeof path !== 'string' || path === '') throw new TypeError('Filename cannot be empty');
  if (path === ':memory:') return 'memory:';
  if (path.startsWith(':')) throw new TypeError(`Filename cannot start with ':' unless prefixed with './'`);
  if (environment('DENO_KV_DB_MODE') === 'memory') return 'memory:';
  if (HTTP.test(path)) return addressOf(path);
  if (/^(?:file:|memory:|unix:|(?:holdfasts?|tcp|tls|wss?):\/\/)/.test(path)) return path;
  const folder = resolve(`${environment('DENO_KV_PATH_PREFIX') ?? ''}${path}`);
  if (statSync(folder, { throwIfNoEntry: false })?.isFile() === true) {
    throw new TypeError(`Cannot open "${folder}": it is a file, such as Deno makes, and a store is a folder`);
  }
  return `file:${folder}`;
}

/** A server speaks WebSocket where it speaks HTTP. */
function addressOf(text: string): string {
  const url = new URL(text);
  const isSecure = url.protocol === 'https:';
  const port = url.port === '' ? (isSecure ? 443 : 80) : url.port;
  return `${isSecure ? 'wss' : 'ws'}://${url.hostname}:${port}${url.pathname}${url.search}`;
}

function isRemote(target: string): boolean {
  return !target.startsWith('file:') && target !== 'memory:';
}
