import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deadLetter, InvalidMessageError, open } from 'holdfast';
import { App, BrokerQueue, HoldfastBrokerAdapter, HoldfastModule, QueueMessageProcessing } from 'holdfast/deepkit';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { codeBlocksOf, readDocuments } from '../docs/markdown.ts';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { type DeepkitApp, endOf, newDeepkitApp, read, root } from './place.ts';
import { endsBehindFile } from '../network/conformance.ts';

const endBehind = endsBehindFile();

// What the page does not speak of: Deepkit's own classes on Holdfast, applications as ECMAScript modules, containers with several channels,
// draining at a signal, and the door without Deepkit.

const COMPILING_MS = 120_000;

/** The code of documents that is for Deepkit's compiler: ` ```ts deepkit FILE `, all of it one application. */
const guide = Object.fromEntries(
  readDocuments()
    .flatMap(codeBlocksOf)
    .filter(({ marks }) => marks.includes('deepkit'))
    .map(({ marks, code }) => [marks.at(-1) as string, code]),
);

let app: DeepkitApp;

beforeAll(async () => {
  app = newDeepkitApp(
    {
      'container.ts': read('programs/container.ts.txt'),
      'own-classes.ts': read('programs/own-classes.ts.txt'),
      ...guide,
    },
    { type: 'module', endBehind },
  );
  expect(await app.compile()).toEqual([]);
}, COMPILING_MS);

test('an application gets the channel of each name, be their messages alike or not', async () => {
  const container = app.start('container.js', { args: ['names'], env: { HOLDFAST_URL: `file:${newFolder()}` } });
  expect(await container.says((line) => 'names' in line)).toEqual({ names: ['users', 'orders', 'admins', 'users'] });
  expect(await endOf(container)).toEqual({ code: 0, signal: null, errors: '' });
});

test('the code of the guide from Deepkit registers a user and works on it', async () => {
  expect(Object.keys(guide)).toEqual(['channels.ts', 'worker.ts', 'app.ts']);
  const env = { HOLDFAST_URL: `file:${newFolder()}` };
  const registering = app.start('app.js', { args: ['register', '1', 'Peter'], env });
  await registering.says(({ text }) => text === 'registered');
  expect(await endOf(registering)).toEqual({ code: 0, signal: null, errors: '' });
  const worker = app.start('worker.js', { env });
  await worker.says(({ text }) => text === 'Peter, attempt 1');
});

test('deepkit-12: SIGTERM drains an application: what runs ends, what was not started goes to others', async () => {
  const folder = newFolder();
  const hf = await openUntilEnd(`file:${folder}`);
  const users = hf.channel<{ id: number }>('users');
  for (const id of [1, 2]) await users.produce({ id });
  const worker = app.start('container.js', { args: ['work'], env: { HOLDFAST_URL: `file:${folder}` } });
  await worker.says(({ handling }) => handling === 1);
  worker.kill('SIGTERM');
  await untilTrue(async () => (await users.inspect()).ready === 1);
  worker.tell('go');
  expect(await endOf(worker)).toEqual({ code: null, signal: 'SIGTERM', errors: '' });
  expect(worker.said).toEqual([{ handling: 1 }, { handled: 1 }]);
  expect(await users.inspect()).toMatchObject({ completed: 1, ready: 1, leased: 0 });
});

test("Deepkit's own classes keep their promises on the adapter", async () => {
  const own = app.start('own-classes.js', { env: { HOLDFAST_URL: `file:${newFolder()}` } });
  expect(await own.says((line) => 'own' in line)).toEqual({
    own: {
      isMessage: true,
      handled: ['basic', 'once', 'within', 'hash 1', 'hash 2', 'thrown', 'thrown', 'delayed', 'delayed'],
      tries: [0, 1],
      refused: 'Cannot accept a message for "strict": text: Min length is 3',
    },
  });
  expect(await endOf(own)).toEqual({ code: 0, signal: null, errors: '' });
});

test('without Deepkit, channels take messages of any kind, and say once that they are not validated', async () => {
  const warned: string[] = [];
  const listener = ({ name, message }: Error): void => {
    if (name === 'HoldfastWarning') warned.push(message);
  };
  process.on('warning', listener);
  onTestFinished(() => void process.removeListener('warning', listener));
  const queue = new BrokerQueue('memory:');
  onTestFinished(() => queue.adapter.disconnect());
  const got: unknown[] = [];
  await queue.channel<unknown>('things').consume((thing) => got.push(thing));
  const things = ['text', 5, [1], new Map([[1, new Set([2n])]]), { at: new Date(0), bytes: new Uint8Array([1]) }];
  for (const thing of things) await queue.channel<unknown>('things').produce(thing);
  await untilTrue(() => got.length === things.length);
  expect(got).toEqual(things);
  await untilTrue(() => warned.length > 0);
  expect(warned).toEqual(['Messages of "things" are not validated: it has no runtime type']);
  expect(() => new (App as new (options: object) => object)({})).toThrow(
    'Cannot make App: "@deepkit/app" cannot be loaded; install it',
  );
  expect(() => new HoldfastModule()).toThrow('Cannot make HoldfastModule: "@deepkit/app" cannot be loaded; install it');
});

test('what a handler returns is not kept, be it what no message can hold; what says what is to become of the message counts', async () => {
  const queue = new BrokerQueue('memory:');
  onTestFinished(() => queue.adapter.disconnect());
  const channel = queue.channel<number>('numbers', { attempts: 1 });
  await channel.consume((n) => (n === 1 ? queue : deadLetter('told so')));
  const { id } = await channel.produce(1);
  const dead = await channel.produce(2);
  const numbers = (await queue.adapter.holdfast()).channel('numbers');
  await untilTrue(async () => (await numbers.inspect()).dead === 1);
  expect(await numbers.get(id)).toMatchObject({ state: 'completed', result: undefined });
  expect(await numbers.get(dead.id)).toMatchObject({ state: 'dead', failure: { message: 'told so' } });
});

test('a schema takes the place of the runtime type', async () => {
  const queue = new BrokerQueue('memory:');
  onTestFinished(() => queue.adapter.disconnect());
  const channel = queue.channel<{ n: number }>('numbers', { schema: z.object({ n: z.number().positive() }) });
  await expect(channel.produce({ n: -1 })).rejects.toThrow(InvalidMessageError);
  await channel.produce({ n: 1 });
});

test('a queue is where it is told to be: an instance, a URL, or an adapter', async () => {
  const hf = await open('memory:');
  onTestFinished(() => hf.close());
  await new BrokerQueue(hf).channel('mail').produce('hello');
  await new BrokerQueue(new HoldfastBrokerAdapter(hf)).channel('mail').produce('hello');
  expect(await hf.channel('mail').inspect()).toMatchObject({ ready: 2 });
  const { adapter } = new BrokerQueue(hf);
  await adapter.disconnect();
  await adapter.disconnect();
  await expect(new BrokerQueue(adapter).channel('mail').produce('hello')).rejects.toMatchObject({ code: 'CLOSED' });
  // Whoever opened it closes it.
  expect(await hf.channel('mail').inspect()).toMatchObject({ ready: 2 });
  expect(() => new BrokerQueue({} as never)).toThrow(TypeError);
});

test('durations are read as Deepkit reads them', async () => {
  const queue = new BrokerQueue('memory:');
  onTestFinished(() => queue.adapter.disconnect());
  const hf = await queue.adapter.holdfast();
  const channel = queue.channel<number>('later');
  const hours = ['90 minutes', '1.5h', '1.5 hours', 5_400_000, '5400s', '5400000'];
  for (const delay of hours) await channel.produce(1, { delay });
  const delayed = await hf.channel('later').list('delayed');
  expect(delayed.map(({ dueAt, producedAt }) => Math.round((Number(dueAt) - producedAt) / 10_000))).toEqual(
    hours.map(() => 540),
  );
  for (const delay of ['soon', '', '5 parsecs', '-1s'])
    await expect(channel.produce(1, { delay })).rejects.toThrow(TypeError);
});

test('options that are not known are refused, with Holdfast’s own the queue does more', async () => {
  const queue = new BrokerQueue('memory:');
  onTestFinished(() => queue.adapter.disconnect());
  await expect(queue.channel('a', { tries: 3 } as object).produce(1)).rejects.toThrow('tries');
  await expect(queue.channel('a').produce(1, { proces: 1 } as object)).rejects.toThrow('proces');
  await expect(queue.channel('a').consume(() => {}, { parallel: 1 } as object)).rejects.toThrow('parallel');
  expect(() => queue.channel('a', { process: 2 as never })).toThrow('process');
  const channel = queue.channel<number>('b', {
    attempts: 1,
    deadLetter: 'dead',
    process: QueueMessageProcessing.atLeastOnce,
  });
  await channel.consume((_n, message) => message.failed(new Error('told so')));
  await channel.produce(1);
  const hf = await queue.adapter.holdfast();
  await untilTrue(async () => (await hf.channel('dead').inspect()).ready === 1);
});

test(
  "what the door says of Deepkit's packages is what they are",
  async () => {
    const door = join(root, 'src', 'doors', 'deepkit');
    const files = readdirSync(door).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
    const sources = files.map((name) => [name, fromPackage(readFileSync(join(door, name), 'utf8'))]);
    const checked = newDeepkitApp(Object.fromEntries(sources), {
      type: 'module',
      options: { allowImportingTsExtensions: true, noEmit: true, exactOptionalPropertyTypes: true },
      endBehind: onTestFinished,
    });
    expect(await checked.compile()).toEqual([]);
  },
  COMPILING_MS,
);

/** A file of the door whose other imports of ours are from what was built. */
function fromPackage(source: string): string {
  return source.replaceAll(/'\.\.\/\.\.\/(.*)\.ts'/g, `'./node_modules/holdfast/dist/$1.js'`);
}

test('deepkit-15: it needs few packages, no Deepkit and no compiler that is patched, and the first sample runs as printed', async () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object };
  expect(Object.keys(dependencies).length).toBeLessThanOrEqual(6);
  const folder = await mkdtemp(join(root, '.build', 'newcomer-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const [queue, consuming] = [read('samples/queue.ts.txt'), read('samples/produce-and-consume.ts.txt')];
  const preamble = `import { HoldfastBrokerAdapter, QueueMessageProcessing } from 'holdfast/deepkit';
const adapter = new HoldfastBrokerAdapter('memory:');
`;
  await writeFile(join(folder, 'main.ts'), preamble + queue.replace('@deepkit/broker', 'holdfast/deepkit') + consuming);
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: { target: 'es2023', module: 'nodenext', strict: true, types: ['node'], skipLibCheck: true },
    }),
  );
  // TypeScript 7, which Deepkit's compiler cannot patch.
  await promisify(execFile)(join(root, 'node_modules', '.bin', 'tsc'), ['-p', folder]);
  const running = execFile(process.execPath, [join(folder, 'main.js')]);
  onTestFinished(() => void running.kill());
  let output = '';
  running.stdout?.on('data', (text: string) => (output += text));
  await untilTrue(() => output.includes("User registered { id: 1, username: 'Peter' }"));
});
