/**
 * A process under torture: lists what its store holds, then produces and consumes until it is killed; or it is one of
 * several on the same store, and does one of these. What it knows to be durable it tells its parent through a pipe, and
 * only when the promise that says so has resolved.
 */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, open, type Receipt, type State } from 'holdfast';
import { allEnded, listAll } from '../backlog.ts';
import { Jobs, type JobState } from './jobs.ts';
import {
  ACCOUNTS,
  bodyOf,
  type Effect,
  isCounted,
  isIntact,
  optionsOf,
  resultOf,
  transferOf,
  type Work,
} from './work.ts';

/** What the process is told. */
export interface LoadOrder {
  readonly data: string;
  readonly mode: Mode;
  /** The number of the first message to produce; those that were produced before meet their dedupe key. */
  readonly first: number;
}

/**
 * `load` lists, produces and consumes until it is killed; `finish` lists, and works on what is there until nothing is
 * left. Of several processes one at least is `lead`, which only has the store open, one is `produce`, and others `work`.
 */
export type Mode = 'load' | 'finish' | Role;
export type Role = 'lead' | 'produce' | 'work';

/** What the process says; `at` and `askedAt` are milliseconds of the machine's monotonic clock. */
export type LoadEvent =
  | { readonly kind: 'opening' }
  | { readonly kind: 'opened'; readonly ms: number }
  /** It leads the store from now on. */
  | { readonly kind: 'leads' }
  | ({ readonly kind: 'stored' } & StoredItem)
  | ({ readonly kind: 'entries' } & StoredEntries)
  /** Everything stored was told, and the load begins. */
  | { readonly kind: 'listed' }
  | {
      readonly kind: 'acknowledged';
      readonly id: string;
      readonly number: number;
      readonly askedAt: number;
      readonly at: number;
    }
  /** A transaction that produces this message, and counts it, has committed. */
  | { readonly kind: 'counted'; readonly number: number }
  | { readonly kind: 'started'; readonly id: string; readonly at: number }
  /** The message has ended, and its end is durable. */
  | { readonly kind: 'ended'; readonly id: string; readonly at: number }
  | { readonly kind: 'jobStored'; readonly id: string; readonly state: JobState; readonly intact: boolean }
  | { readonly kind: 'jobAdded'; readonly id: string }
  | { readonly kind: 'jobStarted'; readonly id: string; readonly at: number }
  /** The job has ended for good, and its end is durable; `isGone` when that has removed it. */
  | { readonly kind: 'jobEnded'; readonly id: string; readonly isGone: boolean; readonly at: number }
  | { readonly kind: 'finished' };

export interface StoredItem {
  readonly channel: 'work' | 'effect';
  readonly id: string;
  readonly state: State;
  readonly number: number;
  /** Its content, and its result if it has one, are what they should be. */
  readonly intact: boolean;
}

/** What KV holds. */
export interface StoredEntries {
  /** By account. */
  readonly balances: readonly number[];
  /** How often handlers have moved money. */
  readonly moved: number;
  /** How many messages transactions have counted. */
  readonly counted: number;
}

const LANES = 16;
const HANDLERS = 8;
/** A lane pauses up to this long between two produces, so that the store does not grow beyond what can be listed. */
const LONGEST_PAUSE_MS = 25;
const LONGEST_WORK_MS = 4;
const BATCH = 10;
const LOOK_MS = 10;

/**
 * A process that is stopped for longer than this loses its session, and what it held goes to others. One that has died
 * while nobody led is missed only then.
 */
const SESSION_TIMEOUT = '3s';

const PIPE = 3;
const order = JSON.parse(process.argv[2] as string) as LoadOrder;
const { mode } = order;
let nextNumber = order.first;

// Without its parent it has nobody to tell, and one that only leads would not notice.
process.stdin.once('end', () => process.exit(1)).resume();
process.stdin.unref();

tell({ kind: 'opening' });
const startedAt = now();
const holdfast = await open(`file:${order.data}`, {
  sessionTimeout: SESSION_TIMEOUT,
  log: ({ level, message, error }) => {
    if (message.startsWith('This process leads')) tell({ kind: 'leads' });
    else if (level !== 'info') console.error(message, error);
  },
});
const work = holdfast.channel<Work, number>('torture/work', {
  process: 'exactlyOnce',
  deduplicationInterval: '1d',
  attempts: 2,
  backoff: 5,
  maxBacklog: 500,
  onFull: 'wait',
  retain: { completed: false, dead: false },
});
const effects = holdfast.channel<Effect>('torture/effects');
const jobs = new Jobs(holdfast, tell, now);
await work.inspect();
tell({ kind: 'opened', ms: now() - startedAt });
switch (mode) {
  case 'load':
    await listEverything();
    tell({ kind: 'listed' });
    await consume();
    jobs.work();
    jobs.addForEver();
    await produceForEver();
    break;
  case 'finish': {
    await listEverything();
    tell({ kind: 'listed' });
    const consumer = await consume();
    await allEnded(work, LOOK_MS);
    await consumer.drain();
    await jobs.finish();
    await listEverything();
    await jobs.close();
    await holdfast.close();
    tell({ kind: 'finished' });
    break;
  }
  case 'lead':
    process.stdin.ref();
    break;
  case 'produce':
    jobs.addForEver();
    await produceForEver();
    break;
  case 'work':
    await consume();
    jobs.work();
    break;
}

function consume(): ReturnType<typeof work.consume> {
  return work.consume(
    async ({ number }, { id, attempt, tx }) => {
      tell({ kind: 'started', id, at: now() });
      // Read before the work, so that others come in between.
      const { from, to, amount } = transferOf(number);
      const [source, target] = await Promise.all([from, to].map((account) => tx.get<number>(['balance', account])));
      await sleep(Math.random() * LONGEST_WORK_MS);
      if (number % 11 === 4 && attempt === 1) throw new Error('The first attempt fails');
      if (number % 37 === 5) throw new Error('Every attempt fails');
      tx.produce(effects, { number });
      tx.set(['balance', from], (source?.value ?? 0) - amount);
      tx.set(['balance', to], (target?.value ?? 0) + amount);
      tx.sum(['moved'], 1n);
      return resultOf(number);
    },
    { concurrency: HANDLERS },
  );
}

async function produceForEver(): Promise<void> {
  const lane = async (): Promise<never> => {
    for (;;) {
      await sleep(Math.random() * LONGEST_PAUSE_MS);
      if (Math.random() < 1 / LANES) await produceBatch(takeNumbers(BATCH));
      else await produceOne(takeNumbers(1)[0] as number);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function produceOne(number: number): Promise<void> {
  if (isCounted(number)) return produceCounted(number);
  await produce([number], async () => [await work.produce({ number, body: bodyOf(number) }, optionsOf(number))]);
}

async function produceBatch(all: readonly number[]): Promise<void> {
  await Promise.all(all.filter(isCounted).map(produceCounted));
  const numbers = all.filter((number) => !isCounted(number));
  const messages = numbers.map((number) => ({ number, body: bodyOf(number) }));
  await produce(numbers, () => work.produceAll(messages));
}

/** Produces a message and counts it, once however often it is asked for. */
async function produceCounted(number: number): Promise<void> {
  for (;;) {
    try {
      await holdfast.transact(async (tx) => {
        if ((await tx.get(['counted', number])).value !== null) return;
        tx.set(['counted', number], true);
        tx.sum(['counted'], 1n);
        tx.produce(work, { number, body: bodyOf(number) }, optionsOf(number));
      });
      tell({ kind: 'counted', number });
      return;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (error.code === 'BACKLOG_FULL') await sleep(LOOK_MS);
      else if (error.code !== 'UNKNOWN_OUTCOME') throw error;
    }
  }
}

/** A process that was stopped for too long has to ask again; what was stored after all meets its dedupe key. */
async function produce(numbers: readonly number[], ask: () => Promise<readonly Receipt[]>): Promise<void> {
  const askedAt = now();
  for (;;) {
    try {
      const receipts = await ask();
      receipts.forEach(({ id }, i) => acknowledged(id, numbers[i] as number, askedAt));
      return;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'UNKNOWN_OUTCOME') throw error;
    }
  }
}

function acknowledged(id: string, number: number, askedAt: number): void {
  tell({ kind: 'acknowledged', id, number, askedAt, at: now() });
  if (number % 2 === 0) return;
  const ended = (): void => tell({ kind: 'ended', id, at: now() });
  work.result(id).then(ended, (error: unknown) => {
    if (!(error instanceof HoldfastError) || error.code !== 'DEAD') throw error;
    ended();
  });
}

function takeNumbers(count: number): number[] {
  const first = nextNumber;
  nextNumber += count;
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Tells of every message and job. Nothing is consumed meanwhile, but what is delayed can get ready between two pages. */
async function listEverything(): Promise<void> {
  await jobs.list();
  for (;;) {
    const found: StoredItem[] = [];
    const before = await work.inspect();
    for (const state of ['delayed', 'ready', 'leased', 'waiting', 'completed', 'dead'] as const) {
      for await (const { id, message, result } of listAll(work, state)) {
        const isRight = isIntact(message) && (state !== 'completed' || result === resultOf(message.number));
        found.push({ channel: 'work', id, state, number: message.number, intact: isRight });
      }
    }
    for await (const { id, message } of listAll(effects, 'ready')) {
      found.push({ channel: 'effect', id, state: 'ready', number: message.number, intact: true });
    }
    const after = await work.inspect();
    if (before.ready !== after.ready || before.delayed !== after.delayed) continue;
    for (const item of found) tell({ kind: 'stored', ...item });
    tell({ kind: 'entries', ...(await readEntries()) });
    return;
  }
}

function readEntries(): Promise<StoredEntries> {
  return holdfast.transact(async (tx) => {
    const count = async (name: string): Promise<number> =>
      Number((await tx.get<{ readonly value: bigint }>([name])).value?.value ?? 0n);
    const accounts = Array.from({ length: ACCOUNTS }, (_, account) => tx.get<number>(['balance', account]));
    const balances = (await Promise.all(accounts)).map(({ value }) => value ?? 0);
    return { balances, moved: await count('moved'), counted: await count('counted') };
  });
}

/** Written at once: what is told before the kill arrives, whatever the event loop had in mind. */
function tell(event: LoadEvent): void {
  writeSync(PIPE, `${JSON.stringify(event)}\n`);
}

/** The same clock in all processes of the machine. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
