/** A relay: passes frames between a client of this process and a broker elsewhere. */
import type { LinkTraits } from '../broker/connection.ts';
import { stricter } from '../model/access-token.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import { decodeGoodbye, decodeHello, encodeGoodbye, encodeHello, FRAME, type Goodbye } from '../wire/frames.ts';

/** Clients of a process whose broker is elsewhere end with it too, but they are not with the broker: nothing waits for them. */
export const NEIGHBOUR: LinkTraits = { lingerMs: 0, needsToken: 'never' };

/**
 * @param traits of the client's way in: the broker sees only the way from here
 * @param onLost hears that the broker's side has closed first, and why if that is known; the client's is closed behind it
 */
export function relay(
  client: Link,
  broker: Link,
  traits: LinkTraits,
  onLost: (reason: Error | undefined) => void,
): void {
  let isOver = false;
  let said: HoldfastError | undefined;
  broker.open({
    frame: (bytes) => {
      const goodbye = bytes[0] === FRAME.goodbye ? decodeGoodbye(bytes) : undefined;
      if (goodbye !== undefined && !concernsClient(goodbye)) said = new HoldfastError(goodbye.code, goodbye.message);
      else client.send(bytes as Uint8Array<ArrayBuffer>);
      if (client.isCongested) broker.flow(false);
    },
    drained: () => client.flow(true),
    closed: (cause) => {
      if (isOver) return;
      isOver = true;
      onLost(said ?? cause);
      client.close();
    },
  });
  client.open({
    frame: (bytes) => {
      try {
        broker.send(bytes[0] === FRAME.hello ? asCameIn(bytes, traits) : (bytes as Uint8Array<ArrayBuffer>));
      } catch (error) {
        client.send(encodeGoodbye({ code: 'PROTOCOL', message: (error as Error).message }));
        client.close();
        isOver = true;
        broker.close();
      }
      if (broker.isCongested) client.flow(false);
    },
    drained: () => broker.flow(true),
    closed: () => {
      isOver = true;
      broker.close();
    },
  });
}

/** The HELLO with the traits of its way in. @throws HoldfastError when it is none */
function asCameIn(bytes: Uint8Array, { needsToken, lingerMs }: LinkTraits): Uint8Array<ArrayBuffer> {
  const hello = decodeHello(bytes);
  return encodeHello({ ...hello, needsToken: stricter(hello.needsToken, needsToken), lingerMs });
}

/** Says why there is no broker, and closes. */
export function turnAway(client: Link, error: unknown): void {
  client.open({ frame: () => {}, closed: () => {} });
  client.send(farewell(error));
  client.close();
}

/** The GOODBYE that tells a client of an error. */
export function farewell(error: unknown): Uint8Array<ArrayBuffer> {
  const code = error instanceof HoldfastError ? error.code : 'BROKER_FAILED';
  if (!(error instanceof Error)) return encodeGoodbye({ code, message: String(error) });
  const { message, cause } = error;
  return encodeGoodbye({ code, message, cause: cause instanceof Error ? cause.message : undefined });
}

/** A broker that stops, for whatever reason, is followed by another; only what is wrong with the client is final. */
function concernsClient({ code }: Goodbye): boolean {
  return code === 'PROTOCOL' || code === 'UNAUTHORIZED';
}
