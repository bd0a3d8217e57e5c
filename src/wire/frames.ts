/**
 * Frames: what travels over a link, the same over every link. The first byte says what a frame is.
 *
 * ```
 * HELLO     client  version(u8) session(16) host(text) token(text) needsToken(u8) lingerMs(varint)
 * REQUESTS  client  answeredUpTo(varint) request*                      see requests.ts
 * BYE       client
 * WELCOME   broker  version(u8) resumed(u8) applied(varint) durability(text) sessionTimeoutMs(varint)
 * EVENTS    broker  (reply | delivery | notice)*                       see events.ts
 * GOODBYE   broker  code(text) message(text) [cause(text)]            without a cause it ends there
 * PING      client
 * PONG      broker
 * ```
 *
 * A link opens with HELLO and WELCOME. To change a frame, raise `WIRE_VERSION`; a broker speaks the versions that
 * it knows and answers any other HELLO with GOODBYE. `docs/protocol.md` is the specification.
 */
import { NEEDS_TOKEN, type NeedsToken } from '../model/access-token.ts';
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { type ErrorCode, HoldfastError } from '../model/errors.ts';

const WIRE_VERSION = 1;

export const FRAME = { hello: 1, requests: 2, bye: 3, welcome: 4, events: 5, goodbye: 6, ping: 7, pong: 8 } as const;

const SESSION_ID_BYTES = 16;

export interface Hello {
  /** 128 secret bits as 32 hexadecimal digits. */
  readonly session: string;
  /** The process that the client lives in. */
  readonly host: string;
  /** What the client proves its rights with; empty where the way in is proof enough. */
  readonly token: string;
  /**
   * What the way demands by which the client came in, where its frames are passed on by another process; a client itself says
   * `never`. It can only make the broker stricter.
   */
  readonly needsToken: NeedsToken;
  /**
   * How long the leases are to wait when that client's link to the other process has closed, in milliseconds. It can only make
   * the broker more patient.
   * @default 0, as a client itself says
   */
  readonly lingerMs?: number;
}

export interface Welcome {
  /** Whether the broker still knows the session. */
  readonly resumed: boolean;
  /** The highest request that it has applied. */
  readonly applied: number;
  readonly durability: 'memory' | 'disk' | 'replicated';
  /** How long the session outlives its connection, and how long either side may be silent, in milliseconds. */
  readonly sessionTimeoutMs: number;
}

export interface Goodbye {
  readonly code: ErrorCode;
  readonly message: string;
  /** What lies behind it, in the words of the system. */
  readonly cause?: string | undefined;
}

export function encodeHello({ session, host, token, needsToken, lingerMs = 0 }: Hello): Uint8Array<ArrayBuffer> {
  const frame = new ByteWriter(64);
  frame.u8(FRAME.hello);
  frame.u8(WIRE_VERSION);
  for (let i = 0; i < SESSION_ID_BYTES; i++) frame.u8(Number.parseInt(session.slice(i * 2, i * 2 + 2), 16));
  frame.text(host);
  frame.text(token);
  frame.u8(NEEDS_TOKEN.indexOf(needsToken));
  frame.varint(lingerMs);
  return frame.take();
}

/** @throws HoldfastError `PROTOCOL` for another version, or what is no HELLO */
export function decodeHello(bytes: Uint8Array): Required<Hello> {
  const frame = new ByteReader(bytes, 1);
  const version = frame.u8();
  if (version !== WIRE_VERSION) {
    throw new HoldfastError(
      'PROTOCOL',
      `Cannot speak version ${version} of the protocol: this broker speaks ${WIRE_VERSION}`,
    );
  }
  const session = Array.from(frame.raw(SESSION_ID_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const host = frame.text();
  const token = frame.text();
  const needsToken = NEEDS_TOKEN[frame.u8()];
  if (needsToken === undefined) throw new HoldfastError('PROTOCOL', 'Cannot read what a way in demands');
  return { session, host, token, needsToken, lingerMs: frame.varint() };
}

export function encodeWelcome({ resumed, applied, durability, sessionTimeoutMs }: Welcome): Uint8Array<ArrayBuffer> {
  const frame = new ByteWriter(32);
  frame.u8(FRAME.welcome);
  frame.u8(WIRE_VERSION);
  frame.u8(resumed ? 1 : 0);
  frame.varint(applied);
  frame.text(durability);
  frame.varint(sessionTimeoutMs);
  return frame.take();
}

export function decodeWelcome(bytes: Uint8Array): Welcome {
  const frame = new ByteReader(bytes, 2);
  const resumed = frame.u8() === 1;
  const applied = frame.varint();
  const durability = frame.text() as Welcome['durability'];
  return { resumed, applied, durability, sessionTimeoutMs: frame.varint() };
}

export function encodeBye(): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(FRAME.bye);
}

export function encodeGoodbye({ code, message, cause }: Goodbye): Uint8Array<ArrayBuffer> {
  const frame = new ByteWriter(64);
  frame.u8(FRAME.goodbye);
  frame.text(code);
  frame.text(message);
  if (cause !== undefined) frame.text(cause);
  return frame.take();
}

export function decodeGoodbye(bytes: Uint8Array): Goodbye {
  const frame = new ByteReader(bytes, 1);
  const code = frame.text() as ErrorCode;
  const message = frame.text();
  return { code, message, cause: frame.left > 0 ? frame.text() : undefined };
}
