/**
 * The other process of a flow with nothing behind it. It answers each produce and delivers it at once to whoever
 * consumes; or it invents messages, as many at a time as the client has room for. `peer.js LISTEN` listens at a
 * socket's path, or with `tcp` at a free port.
 */
import { type AddressInfo, createServer } from 'node:net';
import { encode } from '#holdfast/codec/bson.js';
import { payload } from '../workloads.ts';
import { FrameWriter, KIND, readFrames } from './frames.ts';

const NOTHING = new Uint8Array(0);
/** As bytes or as an object, it is about as long. */
const MESSAGE = encode(payload(0));
const [listen = ''] = process.argv.slice(2);

const server = createServer((socket) => {
  socket.setNoDelay(true);
  const writer = new FrameWriter(socket);
  let isConsumed = false;
  let [invented, toInvent] = [0, 0];
  let [settled, wanted] = [0, Infinity];
  const invent = (): void => {
    if (invented < toInvent) writer.write(KIND.delivery, invented++, MESSAGE);
  };
  readFrames(socket, (kind, number, payload) => {
    switch (kind) {
      case KIND.produce:
        writer.write(KIND.reply, number, NOTHING);
        if (isConsumed) writer.write(KIND.delivery, number, payload);
        break;
      case KIND.settle:
        settled += 1;
        invent();
        break;
      case KIND.consume:
        isConsumed = true;
        toInvent = number;
        for (let room = payload.readUInt32LE(0); room > 0; room--) invent();
        break;
      case KIND.end:
        wanted = number;
        break;
    }
    if (settled === wanted) {
      wanted = Infinity;
      writer.write(KIND.end, settled, NOTHING);
    }
  });
});
server.listen(listen === 'tcp' ? { port: 0, host: '127.0.0.1' } : { path: listen }, () => {
  const address = server.address() as AddressInfo | string;
  process.send?.(typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' });
});
// Without the process that measures there is nothing to do.
process.once('disconnect', () => process.exit(0));
