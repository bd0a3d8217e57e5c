/** The web process: takes uploads, says how far they are, and gives thumbnails. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { createServices } from './container.ts';

const services = createServices();
const { config, files, uploads } = services.cradle;

interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body: object | Uint8Array;
}

async function answer(request: IncomingMessage): Promise<Answer> {
  const [, place = '', fileId] = (request.url ?? '').split('/');
  if (request.method === 'POST' && place === 'uploads' && fileId === undefined) return upload(request);
  if (request.method !== 'GET' || !/^[0-9a-f-]{36}$/.test(fileId ?? '')) return NOT_FOUND;
  if (place === 'uploads') return progress(fileId as string);
  if (place === 'thumbnails') return thumbnail(fileId as string);
  return NOT_FOUND;
}

const NOT_FOUND: Answer = { status: 404, body: { error: 'Not found' } };

/** Answers when the file and the job are on the disk; the work comes later. */
async function upload(request: IncomingMessage): Promise<Answer> {
  const bytes = await bodyOf(request);
  if (bytes === undefined) return { status: 413, body: { error: 'Too large' } };
  const fileId = randomUUID();
  await files.write('original', fileId, bytes);
  await uploads.add('thumbnail', { fileId }, { jobId: fileId });
  return { status: 202, body: { id: fileId } };
}

async function progress(fileId: string): Promise<Answer> {
  // In this order: what is read of a job behind its state is at least as new.
  const state = await uploads.getJobState(fileId);
  const job = await uploads.getJob(fileId);
  if (job === undefined) return NOT_FOUND;
  const outcome = { completed: job.returnvalue, failed: { error: job.failedReason } }[String(state)];
  return { status: 200, body: { state, ...outcome } };
}

async function thumbnail(fileId: string): Promise<Answer> {
  const body = await files.read('thumbnail', fileId);
  return body === undefined ? NOT_FOUND : { status: 200, type: 'image/webp', body };
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > config.maxUploadBytes) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function answerSafely(request: IncomingMessage): Promise<Answer> {
  try {
    return await answer(request);
  } catch (error) {
    console.error(error);
    return { status: 503, body: { error: 'Try again' } };
  }
}

const server = createServer((request, response) => {
  void answerSafely(request).then(({ status, type = 'application/json', body }) => {
    response.writeHead(status, { 'content-type': type }).end(body instanceof Uint8Array ? body : JSON.stringify(body));
  });
});

server.listen(config.port, () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`Listening at http://127.0.0.1:${address?.port}`);
});

process.once('SIGTERM', () => {
  server.close(() => void services.dispose());
  server.closeIdleConnections();
});
