/** A link over a MessagePort: to a broker in another thread of the process. */
import type { MessagePort } from 'node:worker_threads';
import type { Link } from '../model/link.ts';

export function portLink(port: MessagePort): Link {
  let isOpen = true;
  return {
    open({ frame, closed }) {
      port.on('message', (bytes: Uint8Array) => {
        if (isOpen) frame(bytes);
      });
      port.on('close', () => {
        isOpen = false;
        closed();
      });
      port.start();
      port.unref();
    },
    send(frame) {
      // The buffer moves to the other thread instead of being copied.
      if (isOpen) port.postMessage(frame, [frame.buffer]);
    },
    close() {
      isOpen = false;
      port.close();
    },
    hold(waiting) {
      if (waiting) port.ref();
      else port.unref();
    },
    flow() {},
    isCongested: false,
  };
}
