import { connect as connectHttp2 } from 'node:http2';
import { onTestFinished } from 'vitest';
import type { Holdfast } from 'holdfast';
import { openKvConnect } from '#holdfast/doors/kv-connect/door.js';
import {
  ATOMIC_WRITE,
  ATOMIC_WRITE_OUTPUT,
  type AtomicWrite,
  type AtomicWriteOutput,
  type Entry,
  type Mutation,
  type ReadRange,
  SNAPSHOT_READ,
  SNAPSHOT_READ_OUTPUT,
  type SnapshotReadOutput,
  WATCH,
} from '#holdfast/doors/kv-connect/messages.js';
import { startServer } from '#holdfast/host/server.js';
import { type Clock, systemClock } from '#holdfast/model/clock.js';
import type { Connect } from '#holdfast/model/link.js';
import { systemRandom } from '#holdfast/model/random.js';
import { parseAddress } from '#holdfast/wire/address.js';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import type { CertificateFiles } from '../network/certificates.ts';

/** A server on a folder, which is open besides in an instance; the server's process leads it, or follows that instance. */
export interface KvServer {
  readonly hf: Holdfast;
  readonly origin: string;
  /** What is given to clients. */
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  /** What it has logged. */
  readonly logged: readonly string[];
  /** How many sessions its door has with the broker. */
  readonly sessions: () => number;
  readonly close: () => Promise<void>;
}

export interface Answered<T> {
  readonly status: number;
  /** Of a refusal. */
  readonly text: string;
  readonly output: T;
}

export async function startKvServer(role: 'leads' | 'follows' = 'leads'): Promise<KvServer> {
  const folder = newFolder();
  const openInstance = (): Promise<Holdfast> => openUntilEnd(`file:${folder}`, { thread: false });
  const leader = role === 'follows' ? await openInstance() : undefined;
  const server = await listen(systemClock, { folder });
  return { ...server, hf: leader ?? (await openInstance()) };
}

/** A server under a clock of the test's own, which no instance has open besides. */
export async function startTimedServer(): Promise<Omit<KvServer, 'hf'> & { readonly clock: ManualClock }> {
  const clock = new ManualClock();
  return { ...(await listen(clock)), clock };
}

/** A server under TLS, which tells its clients so. */
export function startSecureServer(cert: CertificateFiles): Promise<Omit<KvServer, 'hf'>> {
  return listen(systemClock, { tls: cert });
}

async function listen(
  clock: Clock,
  { folder = newFolder(), tls }: { readonly folder?: string; readonly tls?: CertificateFiles } = {},
): Promise<Omit<KvServer, 'hf'>> {
  const target = { kind: 'folder', folder } as const;
  const logged: string[] = [];
  let sessions = 0;
  const counted =
    (dial: Connect): Connect =>
    async () => {
      const link = await dial();
      sessions += 1;
      let isOpen = true;
      const close = (): void => {
        if (isOpen) sessions -= 1;
        isOpen = false;
        link.close();
      };
      return { ...link, close };
    };
  const log = ({ message }: { readonly message: string }): void => void logged.push(message);
  const server = await startServer(
    {
      host: { target, space: 'default', reserveBytes: 0, sessionTimeoutMs: 30_000 },
      addresses: [parseAddress(`holdfast${tls === undefined ? '' : 's'}://127.0.0.1:0`)],
      tls,
      connectionsPerAddress: 100,
    },
    { clock, random: systemRandom, log },
    [(tools) => openKvConnect({ ...tools, connect: counted(tools.connect) })],
  );
  onTestFinished(() => server.close());
  const [address] = server.addresses;
  if (address?.kind !== 'tcp') throw new Error('The server does not listen on TCP');
  const origin = `http${tls === undefined ? '' : 's'}://127.0.0.1:${address.port}`;
  const { port } = address;
  return {
    origin,
    url: `${origin}/kv`,
    port,
    folder,
    logged,
    sessions: () => sessions,
    close: () => server.close(),
  };
}

/** What a client learns in the metadata exchange. */
export interface Metadata {
  readonly version: number;
  readonly databaseId: string;
  readonly endpoints: readonly { readonly url: string; readonly consistency: string }[];
  readonly token: string;
  readonly expiresAt: string;
}

export function exchange(
  url: string,
  token: string,
  body: string = '{"supportedVersions":[1,2,3]}',
): Promise<Response> {
  return fetch(url, { method: 'POST', headers: { authorization: `Bearer ${token}` }, body });
}

/** A client of the protocol that says what it is told, and no more. */
export class RawKv {
  readonly metadata: Metadata;
  readonly endpoint: string;
  headers: Record<string, string>;

  private constructor(metadata: Metadata, url: string) {
    this.metadata = metadata;
    this.endpoint = new URL(metadata.endpoints[0]?.url ?? '', url).href;
    this.headers = {
      authorization: `Bearer ${metadata.token}`,
      'x-denokv-version': '3',
      'x-denokv-database-id': metadata.databaseId,
    };
  }

  static async open({ url }: Pick<KvServer, 'url'>, token: string = 'any'): Promise<RawKv> {
    const answer = await exchange(url, token);
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    return new RawKv((await answer.json()) as Metadata, url);
  }

  async read(ranges: readonly Partial<ReadRange>[]): Promise<Answered<SnapshotReadOutput>> {
    const all = ranges.map((range) => ({
      start: NONE,
      end: Uint8Array.of(0xff),
      limit: 100,
      reverse: false,
      ...range,
    }));
    return this.#answered(
      await this.post('snapshot_read', SNAPSHOT_READ.encode({ ranges: all })),
      SNAPSHOT_READ_OUTPUT,
    );
  }

  /** The values that a range has, as texts. */
  async list(range: Partial<ReadRange>): Promise<string[]> {
    const { status, text, output } = await this.read([range]);
    if (status !== 200) throw new Error(text);
    return output.ranges[0]?.values.map(({ value }) => Buffer.from(value).toString()) ?? [];
  }

  async get(key: string): Promise<Entry | undefined> {
    const { output } = await this.read([
      { start: keyOf(key), end: Buffer.concat([keyOf(key), Uint8Array.of(0)]), limit: 1 },
    ]);
    return output.ranges[0]?.values[0];
  }

  async write(write: Partial<AtomicWrite>): Promise<Answered<AtomicWriteOutput>> {
    const body = ATOMIC_WRITE.encode({ checks: [], mutations: [], enqueues: [], ...write });
    return this.#answered(await this.post('atomic_write', body), ATOMIC_WRITE_OUTPUT);
  }

  /** A watch, whose body is read by the test. */
  watch(keys: readonly string[], signal?: AbortSignal): Promise<Response> {
    return this.post('watch', WATCH.encode({ keys: keys.map((key) => ({ key: keyOf(key) })) }), signal);
  }

  post(method: string, body: Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<Response> {
    return fetch(`${this.endpoint}/${method}`, { method: 'POST', headers: this.headers, body, signal: signal ?? null });
  }

  async #answered<T>(response: Response, type: { decode(bytes: Uint8Array): T }): Promise<Answered<T>> {
    const { status } = response;
    if (status !== 200) return { status, text: await response.text(), output: undefined as T };
    return { status, text: '', output: type.decode(new Uint8Array(await response.arrayBuffer())) };
  }
}

const NONE = new Uint8Array();

/** The key with one text as its only part. */
export function keyOf(text: string): Uint8Array {
  return Buffer.from(`\u0002${text}\0`);
}

const MUTATION: Mutation = {
  key: NONE,
  value: undefined,
  mutationType: 1,
  expireAtMs: 0,
  sumMin: NONE,
  sumMax: NONE,
  sumClamp: false,
};

/** A mutation of a key, of type SET to a text unless told otherwise. */
export function mutation(key: string, value: string | Uint8Array, more: Partial<Mutation> = {}): Mutation {
  return { ...MUTATION, key: keyOf(key), value: { data: Buffer.from(value), encoding: 3 }, ...more };
}

/** Asks over HTTP/2, as Deno does with prior knowledge and under TLS, and gives status and body. */
export async function askHttp2(
  origin: string,
  path: string,
  headers: Record<string, string>,
  body: Uint8Array | string,
  ca?: string,
): Promise<{ readonly status: number; readonly body: Buffer }> {
  const session = connectHttp2(origin, ca === undefined ? {} : { ca });
  try {
    const stream = session.request({ ':method': 'POST', ':path': path, ...headers });
    stream.end(body);
    const status = new Promise<number>((resolve, reject) => {
      session.once('error', reject);
      stream.once('error', reject);
      stream.once('response', (response) => resolve(Number(response[':status'])));
    });
    const pieces: Buffer[] = [];
    for await (const piece of stream) pieces.push(piece as Buffer);
    return { status: await status, body: Buffer.concat(pieces) };
  } finally {
    session.close();
  }
}
