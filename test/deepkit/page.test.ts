import type { Receipt } from 'holdfast';
import { QueueMessageProcessing } from 'holdfast/deepkit';
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { untilTrue } from '../helpers/until-true.ts';
import type { Said, Talking } from '../network/processes.ts';
import { type DeepkitApp, endOf, killAndRestart, newDeepkitApp, type Place, read, startPlace } from './place.ts';
import { endsBehindFile } from '../network/conformance.ts';

const endBehind = endsBehindFile();

// Deepkit's page on its broker queue: each of its samples as printed, compiled by Deepkit's toolchain, and each of its promises on real
// processes. What stands before a sample is what the page leaves out: imports, and the adapter. Where the page imports from
// "@deepkit/broker" it imports from "holdfast/deepkit", and where it says in a comment that something is done, it is done.
//
// On Deepkit 1.0.19 the samples do not compile, as `app.run` takes no text; with `['consumer']` a worker that runs already and is idle
// gets its message, as `message.data`. Nothing is kept on the server, and what no worker is idle for is dropped.

/** What the first sample leaves out. */
const ADAPTER = `
import { HoldfastBrokerAdapter, QueueMessageProcessing } from 'holdfast/deepkit';
const adapter = new HoldfastBrokerAdapter();
`;

/** What the file of channels leaves out. */
const CHANNELS_IMPORTS = `
import { BrokerQueue, BrokerQueueChannel, QueueMessageProcessing } from 'holdfast/deepkit';
import { provide } from '@deepkit/injector';
import { User } from './shared.module';
`;

/** What both applications leave out. */
const APP_IMPORTS = `
import { App, FrameworkModule } from 'holdfast/deepkit';
import { Database, Mailer, SharedModule, User } from './shared.module';
`;

/** What the page names, and has the applications share. */
const SHARED = `
import { createModuleClass } from '@deepkit/app';

export type User = { id: number, username: string };

export class Mailer {
  readonly sent: string[] = [];
  welcome({ username }: User) {
    this.sent.push('Welcome, ' + username);
    return this.sent.length;
  }
}

export class Database {
  async save(user: User) {
    console.log(JSON.stringify({ saving: user }));
    if (process.env.HOLD !== undefined) await new Promise(() => {});
    console.log(JSON.stringify({ saved: user }));
  }
}

export class SharedModule extends createModuleClass({ providers: [Database, Mailer], exports: [Database, Mailer] }) {
}
`;

/** How the service of the page comes to be called. */
const REGISTER = `
app.command('register', async (service: Service, id: number, username: string) => {
  await service.registerUser({ id, username });
  console.log(JSON.stringify({ registered: id }));
});
`;

const PRINTED_RUN = 'void app.run();';
const PRINTED_COMMENT = '// 例如存储信息、发送邮件等。';

const QUEUE = sample('queue').replace("'@deepkit/broker'", "'holdfast/deepkit'");
const WORKER = APP_IMPORTS + sample('worker');
const APP = APP_IMPORTS + sample('app');

const FILES = {
  'main.mts': ADAPTER + QUEUE + sample('produce-and-consume'),
  'channels.ts': CHANNELS_IMPORTS + sample('channels'),
  'shared.module.ts': SHARED,
  'worker.ts': WORKER,
  'app.ts': APP.replace(PRINTED_RUN, REGISTER + PRINTED_RUN),
  'worker-with-work.ts': WORKER.replace(PRINTED_COMMENT, `${PRINTED_COMMENT}\n    await database.save(user);`),
  'worker-with-shared.ts': shared(WORKER)
    .replace('database: Database', 'database: Database, mailer: Mailer')
    .replace(
      PRINTED_COMMENT,
      'await database.save(user);\n console.log(JSON.stringify({ mails: mailer.welcome(user) }));',
    ),
  'app-with-shared.ts': shared(APP)
    .replace('private channel', 'private mailer: Mailer, private channel')
    .replace(PRINTED_RUN, REGISTER + PRINTED_RUN)
    .replace('produce(user);', 'produce(user);\n console.log(JSON.stringify({ mails: this.mailer.welcome(user) }));'),
  'container.ts': `
    import { App, BrokerQueue, FrameworkModule } from 'holdfast/deepkit';
    const app = new App({ imports: [new FrameworkModule({})] });
    app.command('produce', async (queue: BrokerQueue) => {
      const { deduplicated } = await queue.channel<string>('greetings').produce('hello');
      console.log(JSON.stringify({ deduplicated }));
    });
    void app.run();
  `,
  'misuse.ts': read('programs/misuse.ts.txt'),
  'typed.mts': read('programs/typed.ts.txt'),
};

const CHANNEL = 'user/registered';
const COMPILING_MS = 120_000;

let app: DeepkitApp;
let complaints: string[];
let place: Place;
/** How many messages had been completed before the test. */
let completedBefore: number;
/** What the ids of a test begin behind, so that none is taken for that of another test. */
let firstId = 100;

beforeAll(async () => {
  app = newDeepkitApp(FILES, { type: 'commonjs', endBehind });
  complaints = await app.compile();
  place = await startPlace(endBehind);
}, COMPILING_MS);

beforeEach(async () => {
  const channel = place.hf.channel(CHANNEL);
  // Workers of the test before were killed behind it, and what they worked on comes back.
  await untilTrue(async () => {
    await channel.purge();
    const { consumers, leased, ready, totals } = await channel.inspect();
    completedBefore = totals.completed;
    return consumers + leased + ready === 0;
  });
  firstId += 100;
});

test('page-01: the samples compile as they are printed', () => {
  expect(complaints).toEqual([]);
});

test('page-02: a channel takes messages of its type only, and a handler gets the user', () => {
  // Each line of `misuse.ts` that must not compile says so; one that did would be a complaint.
  expect(complaints.filter((line) => line.startsWith('misuse.ts'))).toEqual([]);
  expect(FILES['misuse.ts'].match(/@ts-expect-error/g)).toHaveLength(6);
});

test('page-03: messages are serialised by their type, and come back by it', async () => {
  const typed = start('typed.mts');
  expect(await typed.says((line) => 'came' in line)).toEqual({
    came: {
      isUser: true,
      greeting: 'Hello, Peter',
      createdAt: '2026-01-02T03:04:05.006Z',
      big: '123456789012345678901234567890',
      bytes: [1, 2, 255],
      tags: ['a', 'b'],
      friends: [['Maria', 'Hello, Maria']],
      extra: false,
    },
  });
  expect(await typed.says((line) => 'given' in line)).toEqual({ given: [1, 2] });
});

test('page-04: what was produced survives a crash of the server', async () => {
  await register(1, 'Peter');
  await killAndRestart(place, endBehind);
  const worker = start('worker-with-work.ts');
  await worker.says(saved(1));
});

test('page-05: when a worker crashes in its handler, the message goes to another one', async () => {
  const first = start('worker-with-work.ts', [], { HOLD: '1' });
  await register(1, 'Peter');
  await first.says(saving(1));
  const second = start('worker-with-work.ts');
  await first.end('SIGKILL');
  await second.says(saved(1));
});

test('page-06: when the callback returns, the message is processed, and is removed in the end', async () => {
  start('worker.ts');
  const { id } = await register(1, 'Peter');
  const channel = place.hf.channel(CHANNEL);
  await untilTrue(async () => (await completed()) === 1);
  expect(await channel.get(id)).toMatchObject({ state: 'completed', attempts: 1 });
  await channel.retain({ completed: { count: 0 } });
  await untilTrue(async () => (await channel.get(id)) === undefined);
});

test('page-07: exactlyOnce: the same message within a second is one message, and afterwards another', async () => {
  const worker = start('worker-with-work.ts');
  await register(1, 'Peter');
  await register(2, 'Maria');
  await worker.says(saved(2));
  // Both are in one frame, so that no time passes between them.
  const [first, second] = await Promise.all([register(3, 'Anna'), register(3, 'Anna')]);
  expect(second).toEqual({ ...first, deduplicated: true });
  await untilTrue(async () => !(await register(3, 'Anna')).deduplicated);
  await untilTrue(() => worker.said.filter(saved(3)).length === 2);
});

test('page-08: an application produces and a worker consumes, in processes of their own', async () => {
  const registering = start('app.ts', ['register', String(firstId + 1), 'Peter']);
  const worker = start('worker-with-work.ts');
  expect(await worker.says(saved(1))).toEqual({ saved: { id: firstId + 1, username: 'Peter' } });
  expect(await endOf(registering)).toEqual({ code: 0, signal: null, errors: '' });
});

test('page-09: one process may do both', async () => {
  const main = start('main.mts');
  await main.says(({ text }) => text === "User registered { id: 1, username: 'Peter' }");
  await untilTrue(async () => (await completed()) === 1);
});

test('page-10: who imports FrameworkModule has BrokerQueue in the container', async () => {
  const container = start('container.ts', ['produce']);
  await container.says(({ deduplicated }) => deduplicated === false);
  expect(await endOf(container)).toEqual({ code: 0, signal: null, errors: '' });
  expect(await place.hf.channel('greetings').list('ready')).toMatchObject([{ message: 'hello' }]);
});

test('page-11: of several workers each message goes to one, and all of them get some', async () => {
  const workers = [start('worker-with-work.ts'), start('worker-with-work.ts')];
  const channel = place.hf.channel(CHANNEL);
  await untilTrue(async () => (await channel.inspect()).consumers === 2);
  let produced = 0;
  await untilTrue(async () => {
    await register((produced += 1), 'Peter');
    return workers.every(({ said }) => said.length > 0);
  });
  await untilTrue(async () => (await completed()) === produced);
  await untilTrue(() => workers.flatMap(({ said }) => said.filter((line) => 'saved' in line)).length === produced);
});

test('page-12: both applications have the services of a shared module', async () => {
  const worker = start('worker-with-shared.ts');
  const registering = start('app-with-shared.ts', ['register', String(firstId + 1), 'Peter']);
  await registering.says(({ mails }) => mails === 1);
  await worker.says(saved(1));
  await worker.says(({ mails }) => mails === 1);
});

test('page-13: app.run starts the command that it names, and the connection keeps the process alive, until it is told to end', async () => {
  const worker = start('worker-with-work.ts', ['server:start']);
  await register(1, 'Peter');
  await worker.says(saved(1));
  await register(2, 'Maria');
  await worker.says(saved(2));
  expect(await endOf(worker, 'SIGTERM')).toEqual({ code: null, signal: 'SIGTERM', errors: '' });
});

function sample(name: string): string {
  return read(`samples/${name}.ts.txt`);
}

/** An application whose services come from the shared module. */
function shared(application: string): string {
  return application.replace(/^ {4}Database,\n/m, '').replace('imports: [', 'imports: [\n    new SharedModule(),');
}

function start(
  file: keyof typeof FILES,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Talking {
  const compiled = file.replace('.mts', '.mjs').replace('.ts', '.js');
  return app.start(compiled, { args, env: { HOLDFAST_URL: place.url, ...env }, endBehind: onTestFinished });
}

/** Produces as the application does, which is slow to start. */
function register(n: number, username: string): Promise<Receipt> {
  const process = QueueMessageProcessing.exactlyOnce;
  const channel = place.queue.channel<object>(CHANNEL, { process, deduplicationInterval: '1s' });
  return channel.produce({ id: firstId + n, username });
}

/** How many messages have been completed in this test. */
async function completed(): Promise<number> {
  return (await place.hf.channel(CHANNEL).inspect()).totals.completed - completedBefore;
}

const saving = (n: number) => has('saving', n);
const saved = (n: number) => has('saved', n);

function has(what: string, n: number): (line: Said) => boolean {
  return (line) => (line[what] as { id?: number } | undefined)?.id === firstId + n;
}
