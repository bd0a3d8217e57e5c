import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import * as deno from 'holdfast/deno';
import { compile, type Compiled } from '../helpers/compile.ts';
import { untilAcked } from '../helpers/events.ts';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { ManualClock, until } from '../helpers/manual-clock.ts';
import { type Said, talking, type Talking } from '../network/processes.ts';
import { sendTransfer, standing } from './bank.ts';
import { DISASTER, ENQUEUE, ENQUEUE_LATER, ENQUEUE_WITH_BACKUP, LISTEN, TRANSFER } from './samples.ts';

// Deno's manual on queues: each of its samples as printed. Those that go on from one another are one program, as the text
// has them. What stands before a sample is one of these, and nothing else.

/** What a program written for Deno has to import here. */
const IMPORT = `import * as Deno from 'holdfast/deno';\n`;

/** The balances that the transfer presumes. */
const BALANCES = `
const bank = await Deno.openKv();
await bank.set(["balance", "bob"], 100);
await bank.set(["balance", "liz"], 100);
bank.close();
`;

/** Makes of samples a function of Deno and a console, so that a test gives them its clock. */
const asFunction = (...samples: string[]): string => `
export default async function (Deno: typeof import('holdfast/deno'), console: { log(...words: unknown[]): void },
  disaster: () => Promise<void>): Promise<void> {
  void disaster;
  ${samples.join('')}
}`;

type Sample = (
  Deno: Pick<typeof deno, 'openKv'>,
  console: { readonly log: (...words: unknown[]) => void },
  disaster: () => Promise<void>,
) => Promise<void>;

const PROGRAMS = {
  enqueue: IMPORT + ENQUEUE + ENQUEUE_LATER + ENQUEUE_WITH_BACKUP,
  listen: IMPORT + LISTEN,
  transfer: IMPORT + BALANCES + TRANSFER,
  later: asFunction(ENQUEUE, ENQUEUE_LATER),
  undelivered: asFunction(ENQUEUE, ENQUEUE_WITH_BACKUP.replace(DISASTER, 'await disaster();')),
};

let compiled: Compiled;

beforeAll(async () => {
  compiled = await compile(PROGRAMS);
}, 120_000);

afterAll(() => compiled.delete());

test.each(['enqueue', 'listen', 'later', 'undelivered'])('the program "%s" has the types of Deno', (name) => {
  expect(compiled.complaintsOf(name)).toEqual([]);
});

test('of the transfer the compiler says that its message and a balance are unknown, as it does for Deno', () => {
  const complaints = compiled.complaintsOf('transfer').map((line) => line.replace(/^.*: error /, ''));
  expect(new Set(complaints)).toEqual(
    new Set([`TS18046: 'msg' is of type 'unknown'.`, `TS18046: 'bob.value' is of type 'unknown'.`]),
  );
});

test('messages are handled by a listener in another process, and those that it does not know are reported', async () => {
  const folder = newFolder();
  const enqueueing = start('enqueue', folder);
  // Nothing had gone wrong by then, so there is nothing under the key.
  await enqueueing.says(isText('Gönderilmeyen bildirim bulundu: undefined'));
  expect(await enqueueing.ended).toEqual({ code: 0, signal: null, errors: '' });
  const listening = start('listen', folder);
  const hf = await openUntilEnd(`file:${folder}`);
  await hf.kv.enqueue({ forWhom: 'alovelace' });
  await untilAcked(hf, 'kv/queue', 3);
  const { errors } = await listening.end();
  expect(errors).toBe("Bilinmeyen mesaj alındı: { forWhom: 'alovelace' }\n");
  expect(listening.said).toEqual(Array(2).fill({ text: 'Kullanıcıya bildirim gönderiliyor: alovelace' }));
  expect(await hf.channel('kv/queue').inspect()).toMatchObject({ delayed: 1, ready: 0, leased: 0 });
});

test('a message with a delay of 3 days arrives when they are over, and not before', async () => {
  const { Deno, kv, clock } = await openUnderClock();
  await (
    await sampleOf('later')
  )(Deno, console, nothing);
  const heard: unknown[] = [];
  void kv.listenQueue((message) => void heard.push(message));
  await until(() => heard.length === 1);
  await clock.advance(3 * DAY_MS - 1);
  expect(heard).toHaveLength(1);
  await clock.advance(1);
  expect(heard).toEqual(Array(2).fill({ forUser: 'alovelace', body: 'Size yeni bir e-posta var!' }));
});

test('a message that was not delivered is found under its key once its retries have failed', async () => {
  const { Deno, kv, clock } = await openUnderClock();
  const printed: unknown[][] = [];
  let attempts = 0;
  const disaster = async (): Promise<void> => {
    const fail = (): void => {
      attempts += 1;
      throw new Error('The mail server is gone');
    };
    void kv.listenQueue(fail, { onError: () => {} });
    await clock.advance(DEFAULT_SCHEDULE_MS);
  };
  await (
    await sampleOf('undelivered')
  )(Deno, { log: (...words) => void printed.push(words) }, disaster);
  expect(printed).toEqual([['Gönderilmeyen bildirim bulundu:', 'alovelace']]);
  // Two messages, six attempts each.
  expect(attempts).toBe(12);
});

test('with one listener the transfer moves money exactly once for each message', async () => {
  const folder = newFolder();
  start('transfer', folder);
  const hf = await openUntilEnd(`file:${folder}`);
  await untilAcked(hf, 'kv/queue', 1);
  expect(await standing(hf)).toEqual({ bob: 90, liz: 110, processed: 1n, enqueued: 1n, nonces: 0 });

  // What the printed handler does not hold is a conflict: it looks at no result. So one message follows the other.
  for (let n = 2; n <= 20; n++) {
    const nonce = await sendTransfer(hf, 10);
    await untilAcked(hf, 'kv/queue', 2 * n - 2);
    // The same message once more is known by its nonce.
    await hf.kv.enqueue({ nonce, change: 10 });
    await untilAcked(hf, 'kv/queue', 2 * n - 1);
  }
  expect(await standing(hf)).toEqual({ bob: -100, liz: 300, processed: 20n, enqueued: 20n, nonces: 0 });
});

const DAY_MS = 86_400_000;
const DEFAULT_SCHEDULE_MS = 100 + 1_000 + 5_000 + 30_000 + 60_000;

function nothing(): Promise<void> {
  return Promise.resolve();
}

/** Runs a program in a process of its own, on a folder that is its default. */
function start(name: keyof typeof PROGRAMS, folder: string): Talking {
  return talking([compiled.pathOf(name)], { DENO_KV_DEFAULT_PATH: folder });
}

const isText =
  (text: string) =>
  (line: Said): boolean =>
    line['text'] === text;

async function sampleOf(name: keyof typeof PROGRAMS): Promise<Sample> {
  return ((await import(compiled.urlOf(name))) as { default: Sample }).default;
}

/** KV in memory under a manual clock, and a `Deno` that opens it. */
async function openUnderClock(): Promise<{
  readonly Deno: Pick<typeof deno, 'openKv'>;
  readonly kv: deno.Kv;
  readonly clock: ManualClock;
}> {
  const clock = new ManualClock();
  // A session of hours looks rarely whether its client is there, so that days of the clock take no time.
  const kv = await deno.openKv(':memory:', { clock, sessionTimeout: '12h' });
  onTestFinished(() => kv.close());
  return { Deno: { openKv: () => Promise.resolve(kv) }, kv, clock };
}
