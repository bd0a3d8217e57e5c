import { once } from 'node:events';
import { join } from 'node:path';
import { connect } from 'node:net';
import { crc32 } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { decodeGoodbye, FRAME } from '#holdfast/wire/frames.js';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { type RunningServer, startServer } from './processes.ts';
import { helloOf, newSession, UPGRADE } from './raw-client.ts';

/** Sends a text as it is, and gives all that comes until the server closes. */
async function answerTo(to: number | string, text: string): Promise<string> {
  const socket = typeof to === 'number' ? connect(to, '127.0.0.1') : connect(to);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {});
  let answer = '';
  socket.setEncoding('utf8').on('data', (piece: string) => (answer += piece));
  socket.write(text, 'latin1');
  await once(socket, 'close');
  return answer;
}

const CLOSE = 'Host: x\r\nConnection: close\r\n';

test('a server answers questions for its health over HTTP, and nothing else', async () => {
  const { port } = await startServer();
  const ask = (line: string, more = ''): Promise<string> => answerTo(port, `${line} HTTP/1.1\r\n${CLOSE}${more}\r\n`);
  expect(await ask('GET /health/live')).toMatch(/^HTTP\/1.1 200 [^]*\r\n\r\n[^]*live\n/);
  expect(await ask('GET /health/ready?verbose')).toMatch(/^HTTP\/1.1 200 [^]*\r\n\r\n[^]*ready\n/);
  expect(await ask('HEAD /health/ready')).toMatch(/^HTTP\/1.1 200 [^]*\r\n\r\n$/);
  expect(await ask('POST /health/live')).toMatch(/^HTTP\/1.1 405 /);
  expect(await ask('GET /')).toMatch(/^HTTP\/1.1 404 /);
  expect(await ask('GET /health/live/../../etc/passwd')).toMatch(/^HTTP\/1.1 404 /);
  expect(await ask('CONNECT example.com:80')).toBe('');
  expect(await ask('GET /health/live', `X-Long: ${'x'.repeat(9_000)}\r\n`)).not.toContain('200');
  expect(await answerTo(port, 'hello, is anybody there?\r\n\r\n')).not.toContain('200');
  expect(await answerTo(port, '\0\0\0\0')).not.toContain('200');
});

test('a Unix socket answers neither HTTP nor text, and serves clients', async () => {
  const path = join(newFolder(), 'holdfast.sock');
  const server = await startServer({ listen: [`unix:${path}`] });
  expect(await answerTo(path, `GET /health/live HTTP/1.1\r\n${CLOSE}\r\n`)).toBe('');
  expect(await answerTo(path, 'hello\n')).toBe('');
  const hf = await openUntilEnd(server.url);
  await hf.channel<number>('mail').produce(1);
  await server.says(({ msg }) => String(msg).endsWith('it does not speak the protocol'));
});

describe('over a WebSocket', () => {
  interface Spoken {
    readonly webSocket: WebSocket;
    /** The frame of the next message. */
    readonly next: () => Promise<Uint8Array>;
  }

  async function speak({ port }: RunningServer, options: object = {}): Promise<Spoken> {
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}/any/path`, options);
    onTestFinished(() => webSocket.terminate());
    await once(webSocket, 'open');
    return {
      webSocket,
      async next() {
        const [message] = (await once(webSocket, 'message')) as [Buffer];
        return message.subarray(4);
      },
    };
  }

  function messageOf(frame: Uint8Array): Buffer {
    const message = Buffer.alloc(4 + frame.length);
    message.writeUInt32LE(crc32(frame, frame.length), 0);
    message.set(frame, 4);
    return message;
  }

  test('compression that a client offers is not taken', async () => {
    const { webSocket, next } = await speak(await startServer(), { perMessageDeflate: true });
    expect(webSocket.extensions).toBe('');
    webSocket.send(messageOf(helloOf(newSession())));
    expect((await next())[0]).toBe(FRAME.welcome);
  });

  test('a client with an origin, which only pages in browsers have, is refused', async () => {
    const { port } = await startServer();
    for (const origin of ['https://example.com', 'null', `http://127.0.0.1:${port}`]) {
      const webSocket = new WebSocket(`ws://127.0.0.1:${port}`, { origin });
      onTestFinished(() => webSocket.terminate());
      const [error] = (await once(webSocket, 'error')) as [Error];
      expect(error.message, origin).toContain('403');
    }
  });

  test('what is no frame ends the connection with the reason', async () => {
    const server = await startServer();
    const hello = messageOf(helloOf(newSession()));
    const spoiled = Buffer.from(hello);
    spoiled[9] = (spoiled[9] as number) ^ 1;
    const long = messageOf(helloOf(newSession(), 'x'.repeat(5_000)));
    const messages: readonly (readonly [sent: Buffer | string, reason: string])[] = [
      ['{"hello":1}', 'A message is not a frame'],
      [Buffer.alloc(4), 'A message is not a frame'],
      [Buffer.alloc(0), 'A message is not a frame'],
      [spoiled, 'A frame does not match its checksum'],
      [long, 'A frame is above the limit of 4096 bytes'],
    ];
    for (const [sent, reason] of messages) {
      const { webSocket, next } = await speak(server);
      const goodbye = next();
      const closed = once(webSocket, 'close');
      webSocket.send(sent);
      expect(decodeGoodbye(await goodbye)).toEqual({ code: 'PROTOCOL', message: reason });
      await closed;
    }
    // The WebSocket itself refuses these: one of 1 TB, one that is said to be compressed, and one without a mask.
    const forged = [
      [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4],
      [0xc2, 0x81, 1, 2, 3, 4, 0],
      [0x82, 0x01, 0],
    ];
    for (const bytes of forged) {
      const closed = answerTo(server.port, UPGRADE + Buffer.from(bytes).toString('latin1'));
      expect(await closed).toContain('101 Switching Protocols');
    }
    const hf = await openUntilEnd(`ws://127.0.0.1:${server.port}`);
    await hf.channel<number>('mail').produce(1);
  });
});
