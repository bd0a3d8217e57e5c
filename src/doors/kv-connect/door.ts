/**
 * KV Connect: the protocol by which Deno and `@deno/kv` reach a database over HTTP, in front of the KV of a space. What
 * clients prove and may do, and all that their requests mean, is for the broker to judge; here their words are translated.
 *
 * The protocol is specified in `proto/kv-connect.md` of denoland/denokv.
 */
import type { CancelTimer, Clock } from '../../model/clock.ts';
import { HoldfastError } from '../../model/errors.ts';
import { KV_ANSWER_BYTES, type KvRecord } from '../../model/kv.ts';
import { announcedBytes, Answer, readBody, type Request, type Response } from './exchange.ts';
import { LIMITS, MAX_READ_BYTES, MAX_WRITE_BYTES } from './limits.ts';
import { ATOMIC_WRITE, ATOMIC_WRITE_OUTPUT, SNAPSHOT_READ, WATCH, WRITE_STATUS } from './messages.ts';
import { checkDataHeaders, DATA_PATH, databaseIdOf, MAX_EXCHANGE_BYTES, metadataOf, pathOf } from './metadata.ts';
import { checkRanges, checkWatchedKeys, readRanges, versionstampBytes, watchOutput } from './reading.ts';
import { Refusal, refusalFor } from './refusal.ts';
import { type KvBackend, Sessions, type SessionsOptions } from './sessions.ts';
import { checkWrite } from './writing.ts';

export interface KvConnectOptions extends SessionsOptions {
  readonly space: string;
  /** Whether clients come over TLS. */
  readonly isSecure: boolean;
  /** Hears of clients that were turned away for their token. */
  readonly onUnauthorized: (reason: string, remote: string) => void;
}

/** Serves requests over HTTP below a path. */
export interface KvConnect {
  readonly path: string;
  /** @param admit is called when the request has proven its rights, and before its body is read */
  serve(request: Request, response: Response, admit: () => void): void;
  close(): void;
}

const PATH = '/kv';

/** How often a watch says that it is alive. */
const PING_MS = 5_000;
const PING = new Uint8Array(4);

interface Call {
  readonly door: Door;
  readonly backend: KvBackend;
  readonly request: Request;
  readonly answer: Answer;
}

const METHODS: ReadonlyMap<string, (call: Call) => Promise<void>> = new Map([
  ['/snapshot_read', serveRead],
  ['/atomic_write', serveWrite],
  ['/watch', serveWatch],
]);

interface Door extends KvConnectOptions {
  readonly databaseId: string;
  readonly sessions: Sessions;
}

export function openKvConnect(options: KvConnectOptions): KvConnect {
  const sessions = new Sessions(options);
  const door: Door = { ...options, sessions, databaseId: databaseIdOf(options.space) };
  return {
    path: PATH,
    serve(request, response, admit) {
      const answer = new Answer(response, options.clock);
      request.on('error', () => {});
      // It may be gone by the time somebody wants to know.
      const { remoteAddress = '' } = request.socket;
      serve(door, request, answer, admit).catch((error: unknown) => {
        const refusal = refusalFor(error) ?? new Refusal(500, 'An internal server error occurred.');
        if (refusal.status === 401) options.onUnauthorized(refusal.message, remoteAddress);
        return answer.hasBegun ? answer.cut() : answer.refuse(refusal, request);
      });
    },
    close: () => sessions.close(),
  };
}

async function serve(door: Door, request: Request, answer: Answer, admit: () => void): Promise<void> {
  const path = pathOf(request).slice(PATH.length);
  const isExchange = path === '' || path === '/';
  const method = path.startsWith(DATA_PATH) ? METHODS.get(path.slice(DATA_PATH.length)) : undefined;
  if (!isExchange && method === undefined) throw new Refusal(404, 'Resource not found.');
  if (request.method !== 'POST') throw new Refusal(405, 'Only POST is served here.');
  // Only browsers send an origin, and no page has any business here: not even on this machine, by whatever name it calls it.
  if (request.headers.origin !== undefined) throw new Refusal(403, 'Pages in browsers are not served.');
  const token = bearerOf(request);
  if (method !== undefined) checkDataHeaders(request, door.databaseId);
  const { backend, release } = await door.sessions.take(token);
  try {
    admit();
    if (method === undefined) await serveExchange(door, request, token, answer);
    else await method({ door, backend, request, answer });
  } finally {
    release();
  }
}

/** @throws Refusal */
function bearerOf({ headers }: Request): string {
  const token = /^bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (token === undefined) throw new Refusal(401, 'Malformed authorization header.');
  return token;
}

async function serveExchange(door: Door, request: Request, token: string, answer: Answer): Promise<void> {
  const body = await readBody(request, MAX_EXCHANGE_BYTES, door.clock);
  const { databaseId, isSecure, clock } = door;
  const metadata = metadataOf(request, body, { token, databaseId, isSecure, clock });
  await answer.send(200, { 'content-type': 'application/json' }, metadata);
}

async function serveRead({ door, backend, request, answer }: Call): Promise<void> {
  const ranges = checkRanges(SNAPSHOT_READ.decode(await readBody(request, MAX_READ_BYTES, door.clock)).ranges);
  const entries = ranges.reduce((sum, { limit }) => sum + limit, 0);
  const taken = [await backend.budget.take(Math.min(entries * LIMITS.valueBytes, KV_ANSWER_BYTES))];
  try {
    const output = await readRanges(backend, ranges, async () => void taken.push(await backend.large.take(1)));
    await sendMessage(answer, output);
  } finally {
    for (const giveBack of taken) giveBack();
  }
}

async function serveWrite({ door, backend, request, answer }: Call): Promise<void> {
  const giveBack = await backend.budget.take(announcedBytes(request, MAX_WRITE_BYTES));
  try {
    const body = await readBody(request, MAX_WRITE_BYTES, door.clock);
    const { effects, enqueued } = checkWrite(ATOMIC_WRITE.decode(body), door.clock);
    const { status, versionstamp = NO_BYTES } = await written(backend.write(effects, enqueued));
    await sendMessage(answer, ATOMIC_WRITE_OUTPUT.encode({ status, versionstamp }));
  } finally {
    giveBack();
  }
}

const NO_BYTES = new Uint8Array();

async function written(
  write: Promise<number | undefined>,
): Promise<{ readonly status: number; readonly versionstamp?: Uint8Array }> {
  try {
    const version = await write;
    if (version === undefined) return { status: WRITE_STATUS.checkFailure };
    return { status: WRITE_STATUS.success, versionstamp: versionstampBytes(version) };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    switch (error.code) {
      // Clients do not send again what they hear this of.
      case 'UNKNOWN_OUTCOME':
        return { status: WRITE_STATUS.unspecified };
      case 'STORE_FULL':
        return { status: WRITE_STATUS.writeDisabled };
      default:
        throw error;
    }
  }
}

async function serveWatch({ door, backend, request, answer }: Call): Promise<void> {
  const keys = checkWatchedKeys(WATCH.decode(await readBody(request, MAX_READ_BYTES, door.clock)).keys);
  const watching = backend.watch(keys);
  answer.onClose(() => watching.close());
  try {
    // What is refused is so by its status, and therefore before anything else is said.
    const first = await watching.next();
    if (first === undefined) return answer.cut();
    answer.begin(200, { 'content-type': 'application/octet-stream' });
    const stopPings = ping(answer, door.clock);
    try {
      await tellChanges(keys, first, watching, answer);
    } finally {
      stopPings();
      answer.cut();
    }
  } finally {
    watching.close();
  }
}

/** Says how the keys are, and again whenever that has changed. Resolves when there is nothing more to say. */
async function tellChanges(
  keys: readonly Uint8Array[],
  first: readonly (KvRecord | undefined)[],
  watching: ReturnType<KvBackend['watch']>,
  answer: Answer,
): Promise<void> {
  let before: readonly number[] | undefined;
  for (let records: typeof first | undefined = first; records !== undefined; records = await watching.next()) {
    const versions = records.map((record) => record?.version ?? 0);
    const isNews = before === undefined || versions.some((version, i) => version !== before?.[i]);
    if (isNews && !(await answer.write(framed(watchOutput(keys, records))))) return;
    before = versions;
  }
}

/** Says now and then that the watch is alive. What is being said is as good a sign. */
function ping(answer: Answer, clock: Clock): CancelTimer {
  let cancel: CancelTimer = () => {};
  const again = (): void => {
    if (!answer.isWriting) void answer.write(PING);
    cancel = clock.timer(PING_MS, again);
  };
  cancel = clock.timer(PING_MS, again);
  return () => cancel();
}

function framed(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + message.length);
  new DataView(frame.buffer).setUint32(0, message.length, true);
  frame.set(message, 4);
  return frame;
}

function sendMessage(answer: Answer, message: Uint8Array): Promise<void> {
  return answer.send(200, { 'content-type': 'application/x-protobuf' }, message);
}
