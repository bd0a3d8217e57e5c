/** Where queues are: one instance for all objects of a process that give the same connection, closed with the last of them. */
import { clientOf } from '../../api/client-of.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import type { Client } from '../../client/client.ts';
import { open, type OpenOptions } from '../../open.ts';

/** What `open` of Holdfast takes, with the URL among the options. */
export interface HoldfastConnection extends Omit<OpenOptions, 'channels'> {
  /** @default as for `open` */
  readonly url?: string;
}

/** A server, in the words in which Redis is named; the password is the access token. */
export interface ServerConnection {
  readonly host: string;
  readonly port?: number;
  readonly password?: string;
  /** With TLS, if it is given; `{}` for a certificate that is trusted anyway. */
  readonly tls?: NonNullable<OpenOptions['tls']>;
}

/** Where queues are: a URL or the path of a folder, or an instance, which whoever opened it closes. */
export type ConnectionOptions = string | HoldfastConnection | ServerConnection | Holdfast;

/** A share in an instance. */
export interface Connection {
  /** The client, once there is one. */
  readonly client: Client | undefined;
  readonly opened: Promise<Client>;
  /** Lets go of it; when nobody else has it, it is closed. */
  release(): Promise<void>;
}

interface Shared {
  readonly opening: Promise<Holdfast>;
  readonly opened: Promise<Client>;
  client: Client | undefined;
  users: number;
}

const shared = new Map<string, Shared>();

/** Objects that are no plain data are told apart by numbers. */
const numbers = new WeakMap<object, number>();
let nextNumber = 1;

const DEFAULT_PORT = 7420;

/** @throws TypeError for what is no connection */
export function connect(connection: unknown): Connection {
  const given = clientOf(connection);
  if (given !== undefined) return { client: given, opened: Promise.resolve(given), release: async () => {} };
  const { url, options } = targetOf(connection);
  const key = JSON.stringify([url, options], (_, value: unknown) =>
    typeof value === 'function' ? numberOf(value) : value,
  );
  const found = shared.get(key) ?? share(key, url, options);
  found.users += 1;
  let released: Promise<void> | undefined;
  return {
    get client() {
      return found.client;
    },
    opened: found.opened,
    release: () => (released ??= release(key, found)),
  };
}

function share(key: string, url: string | undefined, options: OpenOptions): Shared {
  const opening = open(url, options);
  const opened = opening.then((holdfast) => {
    const client = clientOf(holdfast) as Client;
    entry.client = client;
    return client;
  });
  const entry: Shared = { opening, opened, client: undefined, users: 0 };
  // Each command of a queue fails with the reason.
  opened.catch(() => shared.delete(key));
  shared.set(key, entry);
  return entry;
}

async function release(key: string, entry: Shared): Promise<void> {
  entry.users -= 1;
  if (entry.users > 0) return;
  if (shared.get(key) === entry) shared.delete(key);
  const holdfast = await entry.opening.catch(() => undefined);
  await holdfast?.close();
}

function targetOf(connection: unknown): { readonly url: string | undefined; readonly options: OpenOptions } {
  if (connection === undefined || isOfRedis(connection)) return { url: undefined, options: {} };
  if (typeof connection === 'string') return { url: urlOf(connection), options: {} };
  if (typeof connection !== 'object' || connection === null) {
    throw new TypeError(
      'Cannot use this connection: give a URL, a path, { url, token }, { host, port, password } or an instance',
    );
  }
  const {
    host,
    port = DEFAULT_PORT,
    password,
    url: given,
    ...options
  } = connection as Partial<ServerConnection & HoldfastConnection>;
  if (host === undefined) return { url: given === undefined ? undefined : urlOf(given), options };
  const { tls } = options;
  const url = `${tls === undefined ? 'holdfast' : 'holdfasts'}://${host}:${port}`;
  return { url, options: { ...(tls !== undefined && { tls }), ...(password !== undefined && { token: password }) } };
}

/** A client of Redis, as companions make one: it is not needed, and the store is where the environment says. */
function isOfRedis(connection: unknown): boolean {
  if (typeof connection !== 'object' || connection === null) return false;
  return ['connect', 'disconnect', 'duplicate'].every(
    (name) => typeof (connection as Record<string, unknown>)[name] === 'function',
  );
}

function urlOf(text: string): string {
  return text === ':memory:' || /^[a-z][a-z+.-]*:/i.test(text) ? text : `file:${text}`;
}

function numberOf(value: object): number {
  let number = numbers.get(value);
  if (number === undefined) {
    number = nextNumber++;
    numbers.set(value, number);
  }
  return number;
}
