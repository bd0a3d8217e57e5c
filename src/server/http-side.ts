/**
 * What a listener says over HTTP, in versions 1.1 and 2: its health, the way in for WebSockets, and what the doors that it
 * was given serve.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Session,
} from 'node:http2';
import type { Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { CancelTimer, Clock } from '../model/clock.ts';
import type { NetworkLimits } from '../wire/network-link.ts';

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

/** Serves the requests below a path. */
export interface HttpDoor {
  readonly path: string;
  /** @param admit says that the request has proven its rights: its connection may stay for longer than it takes to come in */
  serve(request: HttpRequest, response: HttpResponse, admit: () => void): void;
}

export interface HttpSideOptions {
  readonly clock: Clock;
  readonly limits: NetworkLimits;
  readonly doors: readonly HttpDoor[];
  /** Whether the server serves clients. */
  readonly isReady: () => boolean;
}

export interface HttpSide {
  /** Serves a socket that speaks version 1.1. */
  take(socket: Socket, deadlineAt: number): void;
  /** Serves one that speaks version 2. */
  takeHttp2(socket: Socket, deadlineAt: number): void;
}

/** A request's head may have this many bytes. */
const MAX_HEADER_BYTES = 8_192;

/** A connection that was admitted, and on which nothing is asked or answered, is closed after this time. */
const IDLE_MS = 60_000;

/** Requests that a connection of HTTP/2 may have under way. */
const MAX_STREAMS = 128;

/** What a connection of HTTP/2 may have in memory beside the bodies of its requests, in megabytes. */
const MAX_SESSION_MB = 10;

/**
 * Serves sockets that speak HTTP; `welcome` takes those that have become WebSockets, with the time by which they have to have
 * said HELLO. All others end by then, unless a door admits them: a check of the health takes no longer, and a request that
 * comes a byte at a time holds nothing for long.
 */
export function createHttpSide(
  { clock, limits, doors, isReady }: HttpSideOptions,
  welcome: (webSocket: WebSocket, socket: Socket, deadlineAt: number) => void,
): HttpSide {
  const bySocket = new WeakMap<Socket, HttpConnection>();
  const bySession = new WeakMap<Http2Session, HttpConnection>();
  const serve = (connection: HttpConnection | undefined, request: HttpRequest, response: HttpResponse): void => {
    const path = pathOf(request);
    const door = doors.find((one) => path === one.path || path.startsWith(`${one.path}/`));
    connection?.begin(response);
    if (door === undefined) answer(request, response, isReady());
    else door.serve(request, response, () => connection?.admit());
  };

  const http = createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: IDLE_MS },
    (request: IncomingMessage, response: ServerResponse) => serve(bySocket.get(request.socket), request, response),
  );
  http.on('clientError', (_error, socket) => socket.destroy());
  upgrade(http, limits, (webSocket, socket) => {
    const connection = bySocket.get(socket) as HttpConnection;
    connection.leave();
    welcome(webSocket, socket, connection.deadlineAt);
  });

  const http2 = createHttp2Server(
    {
      maxSessionMemory: MAX_SESSION_MB,
      settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES },
    },
    (request: Http2ServerRequest, response: Http2ServerResponse) => {
      const { session } = request.stream;
      serve(session && bySession.get(session), request, response);
    },
  );
  http2.on('sessionError', () => {});

  const connect = (socket: Socket, deadlineAt: number): HttpConnection => {
    const connection = new HttpConnection(socket, clock, deadlineAt);
    bySocket.set(socket, connection);
    return connection;
  };
  return {
    take(socket, deadlineAt) {
      connect(socket, deadlineAt);
      http.emit('connection', socket);
      socket.resume();
    },
    takeHttp2(socket, deadlineAt) {
      const connection = connect(socket, deadlineAt);
      // Of a session nothing tells but this event which socket it is for; it comes before the next line.
      http2.once('session', (session) => bySession.set(session, connection));
      http2.emit('connection', socket);
    },
  };
}

/** Ends a connection at its deadline, or, when it was admitted, when nothing has been asked for a while. */
class HttpConnection {
  readonly deadlineAt: number;
  readonly #socket: Socket;
  readonly #clock: Clock;
  #cancel: CancelTimer;
  #isAdmitted = false;
  /** Requests that are under way. */
  #requests = 0;

  constructor(socket: Socket, clock: Clock, deadlineAt: number) {
    this.deadlineAt = deadlineAt;
    this.#socket = socket;
    this.#clock = clock;
    this.#cancel = clock.timer(deadlineAt - clock.monotonicMs(), () => socket.destroy());
    socket.once('close', () => this.#cancel());
  }

  begin(response: HttpResponse): void {
    this.#requests += 1;
    if (this.#isAdmitted) this.#cancel();
    response.once('close', () => {
      this.#requests -= 1;
      if (this.#isAdmitted && this.#requests === 0) this.#awaitNext();
    });
  }

  admit(): void {
    if (this.#isAdmitted) return;
    this.#isAdmitted = true;
    this.#cancel();
  }

  /** The connection is somebody else's now. */
  leave(): void {
    this.#cancel();
  }

  #awaitNext(): void {
    if (this.#socket.destroyed) return;
    this.#cancel = this.#clock.timer(IDLE_MS, () => this.#socket.destroy());
  }
}

function upgrade(
  http: ReturnType<typeof createServer>,
  limits: NetworkLimits,
  welcome: (webSocket: WebSocket, socket: Socket) => void,
): void {
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
    webSockets.handleUpgrade(request, socket, head, (webSocket) => welcome(webSocket, socket));
  });
}

function answer(request: HttpRequest, response: HttpResponse, isReady: boolean): void {
  const isQuestion = request.method === 'GET' || request.method === 'HEAD';
  const path = pathOf(request);
  if (path !== '/health/live' && path !== '/health/ready') return say(response, 404, 'not found');
  if (!isQuestion) return say(response, 405, 'only GET and HEAD');
  if (path === '/health/live') return say(response, 200, 'live');
  say(response, isReady ? 200 : 503, isReady ? 'ready' : 'not ready');
}

function pathOf({ url }: HttpRequest): string {
  return url?.split('?', 1)[0] ?? '';
}

function say(response: HttpResponse, status: number, text: string): void {
  const headers = {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
  if ('stream' in response) response.writeHead(status, headers);
  else response.writeHead(status, headers);
  response.end(`${text}\n`);
}

function refuseUpgrade(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
