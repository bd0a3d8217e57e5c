/** A relay: passes frames between a client of this process and a broker elsewhere. */
import { type NeedsToken, stricter } from '../model/access-token.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import { decodeGoodbye, decodeHello, encodeGoodbye, encodeHello, FRAME } from '../wire/frames.ts';

/**
 * @param needsToken what the client's way in demands: the broker sees only the way from here
 * @param onLost hears that the broker's side has closed first
 */
export function relay(client: Link, broker: Link, needsToken: NeedsToken, onLost: () => void): void {
  let isOver = false;
  broker.open({
    frame: (bytes) => {
      if (bytes[0] !== FRAME.goodbye || concernsClient(bytes)) client.send(bytes as Uint8Array<ArrayBuffer>);
      if (client.isCongested) broker.flow(false);
    },
    drained: () => client.flow(true),
    closed: () => {
      if (isOver) return;
      isOver = true;
      client.close();
      onLost();
    },
  });
  client.open({
    frame: (bytes) => {
      try {
        broker.send(bytes[0] === FRAME.hello ? demanding(bytes, needsToken) : (bytes as Uint8Array<ArrayBuffer>));
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

/** The HELLO with what its way in demands. @throws HoldfastError when it is none */
function demanding(bytes: Uint8Array, needsToken: NeedsToken): Uint8Array<ArrayBuffer> {
  const hello = decodeHello(bytes);
  return encodeHello({ ...hello, needsToken: stricter(hello.needsToken, needsToken) });
}

/** Says why there is no broker, and closes. */
export function turnAway(client: Link, error: unknown): void {
  client.open({ frame: () => {}, closed: () => {} });
  const code = error instanceof HoldfastError ? error.code : 'BROKER_FAILED';
  client.send(encodeGoodbye({ code, message: error instanceof Error ? error.message : String(error) }));
  client.close();
}

/** A broker that stops, for whatever reason, is followed by another; only what is wrong with the client is final. */
function concernsClient(goodbye: Uint8Array): boolean {
  const { code } = decodeGoodbye(goodbye);
  return code === 'PROTOCOL' || code === 'UNAUTHORIZED';
}
