/** What a listener says over HTTP: its health, and the way in for WebSockets. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../model/clock.ts';
import type { NetworkLimits } from '../wire/network-link.ts';

export interface HttpSideOptions {
  readonly clock: Clock;
  readonly limits: NetworkLimits;
  /** Whether the server serves clients. */
  readonly isReady: () => boolean;
}

/** A request's head may have this many bytes. */
const MAX_HEADER_BYTES = 8_192;

/**
 * Serves sockets that speak HTTP; `welcome` takes those that have become WebSockets, with the time by which they have to have
 * said HELLO. All others end by then: a check of the health takes no longer, and a request that comes a byte at a time holds nothing for long.
 */
export function createHttpSide(
  { clock, limits, isReady }: HttpSideOptions,
  welcome: (webSocket: WebSocket, socket: Socket, deadlineAt: number) => void,
): { take(socket: Socket, deadlineAt: number): void } {
  const deadlines = new WeakMap<Socket, { readonly at: number; readonly cancel: () => void }>();
  const http = createServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    answer(request, response, isReady());
  });
  const webSockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    clientTracking: false,
    autoPong: false,
    maxPayload: limits.requestBytes,
  });
  http.on('upgrade', (request: IncomingMessage, stream, head: Buffer) => {
    const socket = stream as Socket;
    // Only browsers send an origin, and no page has any business here: not even on this machine.
    if (request.headers.origin !== undefined) return refuseUpgrade(socket, '403 Forbidden');
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') return refuseUpgrade(socket, '400 Bad Request');
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const { at, cancel } = deadlines.get(socket) as { at: number; cancel: () => void };
      cancel();
      welcome(webSocket, socket, at);
    });
  });
  http.on('clientError', (_error, socket) => socket.destroy());
  return {
    take(socket, at) {
      const cancel = clock.timer(at - clock.monotonicMs(), () => socket.destroy());
      deadlines.set(socket, { at, cancel });
      socket.once('close', cancel);
      http.emit('connection', socket);
      socket.resume();
    },
  };
}

function answer({ method, url }: IncomingMessage, response: ServerResponse, isReady: boolean): void {
  const isQuestion = method === 'GET' || method === 'HEAD';
  const path = url?.split('?', 1)[0];
  if (path !== '/health/live' && path !== '/health/ready') return say(response, 404, 'not found');
  if (!isQuestion) return say(response, 405, 'only GET and HEAD');
  if (path === '/health/live') return say(response, 200, 'live');
  say(response, isReady ? 200 : 503, isReady ? 'ready' : 'not ready');
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(`${text}\n`);
}

function refuseUpgrade(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
