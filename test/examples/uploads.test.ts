import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { type App, newApp } from '../helpers/app.ts';
import { newFolder } from '../helpers/instances.ts';
import { endsBehindFile } from '../network/conformance.ts';
import { talking, type Talking } from '../network/processes.ts';

const PLACE = new URL('../../examples/uploads/', import.meta.url);

/** As much of `sharp` as makes and looks at images here. */
interface Image {
  png(): Image;
  jpeg(): Image;
  metadata(): Promise<{ width: number; height: number; format: string }>;
  stats(): Promise<{ dominant: { r: number; g: number; b: number } }>;
  toBuffer(): Promise<Buffer>;
}
type Sharp = (input: Buffer | { create: { width: number; height: number; channels: 3; background: string } }) => Image;

let app: App;
let complaints: readonly string[];
let sharp: Sharp;

const endBehind = endsBehindFile();
beforeAll(async () => {
  app = newApp(PLACE, endBehind);
  complaints = await app.compile();
  sharp = createRequire(app.pathOf('package.json'))('sharp') as Sharp;
});

test('the uploads example compiles under strict options', () => {
  expect(complaints).toEqual([]);
});

interface Running {
  readonly web: Talking;
  readonly worker: Talking;
  readonly url: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Starts a line of the Procfile, as a platform does. */
function startLine(name: string, env: Readonly<Record<string, string>>): Talking {
  const line = readFileSync(app.pathOf('Procfile'), 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${name}: `));
  if (line === undefined) throw new Error(`There is no "${name}" in the Procfile`);
  const command = `cd '${app.folder}' && exec ${line.slice(name.length + 2)}`;
  return talking(['-c', command], env, onTestFinished, '/bin/sh');
}

async function startWorker(env: Readonly<Record<string, string>>): Promise<Talking> {
  const worker = startLine('worker', env);
  await worker.says(({ text }) => text === 'Waiting for uploads');
  return worker;
}

/** Both lines of the Procfile, on a queue and with files of their own. */
async function start(): Promise<Running> {
  const env = { HOLDFAST_URL: `file:${newFolder()}`, FILES: newFolder(), PORT: '0' };
  const web = startLine('web', env);
  const { text } = await web.says((line) => String(line['text']).startsWith('Listening at '));
  const worker = await startWorker(env);
  return { web, worker, env, url: String(text).slice('Listening at '.length) };
}

async function upload({ url }: Running, bytes: Uint8Array): Promise<string> {
  const response = await fetch(`${url}/uploads`, { method: 'POST', body: bytes });
  expect(response.status).toBe(202);
  return ((await response.json()) as { id: string }).id;
}

async function progressOf({ url }: Running, id: string): Promise<Record<string, unknown>> {
  return (await (await fetch(`${url}/uploads/${id}`)).json()) as Record<string, unknown>;
}

/** Resolves when the job has come to an end. */
async function ended(running: Running, id: string): Promise<Record<string, unknown>> {
  for (;;) {
    const progress = await progressOf(running, id);
    if (progress['state'] === 'completed' || progress['state'] === 'failed') return progress;
  }
}

function image(width: number, height: number, background: string): Image {
  return sharp({ create: { width, height, channels: 3, background } });
}

test('the uploads example makes thumbnails of images, started by its Procfile', async () => {
  const running = await start();
  const photos = await Promise.all([
    image(600, 400, 'red').png().toBuffer(),
    image(90, 1_200, 'blue').jpeg().toBuffer(),
  ]);
  const ids = await Promise.all(photos.map((photo) => upload(running, photo)));
  expect(await ended(running, ids[0] as string)).toEqual({ state: 'completed', width: 200, height: 133 });
  expect(await ended(running, ids[1] as string)).toEqual({ state: 'completed', width: 15, height: 200 });
  const response = await fetch(`${running.url}/thumbnails/${ids[0]}`);
  expect(response.headers.get('content-type')).toBe('image/webp');
  const thumbnail = sharp(Buffer.from(await response.arrayBuffer()));
  expect(await thumbnail.metadata()).toMatchObject({ format: 'webp', width: 200, height: 133 });
  const { dominant } = await thumbnail.stats();
  expect([dominant.r > 200, dominant.g < 50, dominant.b < 50]).toEqual([true, true, true]);
  for (const id of ids) await running.worker.says(({ text }) => text === `Made the thumbnail of ${id}`);

  for (const one of [running.web, running.worker]) {
    expect(await one.end('SIGTERM')).toEqual({ code: 0, signal: null, errors: '' });
  }
});

test('the uploads example fails what is no image at once, and refuses what is too large or not there', async () => {
  const running = await start();
  const id = await upload(running, Buffer.from('no image'));
  expect(await ended(running, id)).toEqual({
    state: 'failed',
    error: expect.stringMatching(/^Cannot read the image: /),
  });
  expect((await fetch(`${running.url}/thumbnails/${id}`)).status).toBe(404);
  for (const path of [`/uploads/${crypto.randomUUID()}`, '/uploads/..%2Fcontainer.js', '/thumbnails/', '/elsewhere']) {
    expect((await fetch(running.url + path)).status).toBe(404);
  }
  const large = await fetch(`${running.url}/uploads`, { method: 'POST', body: Buffer.alloc(20 * 1024 * 1024 + 1) });
  expect(large.status).toBe(413);
});

test('the uploads example works on what was accepted while its worker was dead', async () => {
  const running = await start();
  await running.worker.end('SIGKILL');
  const id = await upload(running, await image(300, 300, 'green').png().toBuffer());
  expect(await progressOf(running, id)).toEqual({ state: 'waiting' });
  await startWorker(running.env);
  expect(await ended(running, id)).toEqual({ state: 'completed', width: 200, height: 200 });
});
