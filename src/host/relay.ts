/** A relay: passes frames between a client of this process and a broker elsewhere. */
import { HoldfastError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import { decodeGoodbye, encodeGoodbye, FRAME } from '../wire/frames.ts';

/** @param onLost hears that the broker's side has closed first */
export function relay(client: Link, broker: Link, onLost: () => void): void {
  let isOver = false;
  broker.open({
    frame: (bytes) => {
      if (bytes[0] !== FRAME.goodbye || concernsClient(bytes)) client.send(bytes as Uint8Array<ArrayBuffer>);
    },
    closed: () => {
      if (isOver) return;
      isOver = true;
      client.close();
      onLost();
    },
  });
  client.open({
    frame: (bytes) => broker.send(bytes as Uint8Array<ArrayBuffer>),
    closed: () => {
      isOver = true;
      broker.close();
    },
  });
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
