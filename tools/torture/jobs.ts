/** Jobs of BullMQ's classes under torture, beside the messages; everything about one follows from its id. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Holdfast } from 'holdfast';
import { type Job, Queue, Worker } from 'holdfast/bullmq';
import type { LoadEvent } from './load.ts';

/** Where a job stands, in BullMQ's words. */
export const JOB_STATES = ['waiting', 'prioritized', 'delayed', 'active', 'completed', 'failed'] as const;

export type JobState = (typeof JOB_STATES)[number];

interface JobData {
  readonly number: number;
  /** Whether the handler has written it anew. */
  readonly isNew: boolean;
  readonly text: string;
}

const QUEUE = 'torture';
const LANES = 4;
const HANDLERS = 8;
const ATTEMPTS = 2;
const LONGEST_PAUSE_MS = 25;
const LONGEST_WORK_MS = 4;
const LOOK_MS = 10;

export class Jobs {
  readonly #connection: Holdfast;
  readonly #tell: (event: LoadEvent) => void;
  readonly #now: () => number;
  readonly #queue: Queue<JobData, number>;
  /** No other process adds jobs of these ids, and this one adds each once. */
  readonly #prefix = randomUUID();
  #next = 0;

  constructor(connection: Holdfast, tell: (event: LoadEvent) => void, now: () => number) {
    this.#connection = connection;
    this.#tell = tell;
    this.#now = now;
    this.#queue = new Queue(QUEUE, { connection });
  }

  /** Tells of every job. Nothing works on them meanwhile. */
  async list(): Promise<void> {
    for (const state of JOB_STATES) {
      for (const job of await this.#queue.getJobs(state)) {
        const { id = '', data, returnvalue } = job;
        const isRight = isIntact(id, data) && (state !== 'completed' || returnvalue === resultOf(data.number));
        this.#tell({ kind: 'jobStored', id, state, intact: isRight });
      }
    }
  }

  addForEver(): void {
    for (let lane = 0; lane < LANES; lane++) void this.#addInLane();
  }

  async #addInLane(): Promise<never> {
    for (;;) {
      await sleep(Math.random() * LONGEST_PAUSE_MS);
      const number = this.#next++;
      const jobId = `${this.#prefix}-${number}`;
      try {
        await this.#queue.add('work', dataOf(number, false), { ...optionsOf(number), jobId });
        this.#tell({ kind: 'jobAdded', id: jobId });
      } catch (error) {
        // Of a process that was stopped for too long: it may have been added.
        if ((error as { code?: unknown }).code !== 'UNKNOWN_OUTCOME') throw error;
      }
    }
  }

  /** Works on jobs until the worker is closed. */
  work(): Worker<JobData, number> {
    const worker = new Worker<JobData, number>(QUEUE, (job) => this.#handle(job), {
      connection: this.#connection,
      concurrency: HANDLERS,
    });
    const ended = (id: string, isGone: boolean): void => {
      this.#tell({ kind: 'jobEnded', id, isGone, at: this.#now() });
    };
    worker.on('completed', ({ id = '' }) => ended(id, isRemoved(id)));
    worker.on('failed', (job) => {
      if (job !== undefined && job.attemptsMade >= ATTEMPTS) ended(job.id ?? '', false);
    });
    // What a process loses that was stopped is said here.
    worker.on('error', () => {});
    return worker;
  }

  async #handle(job: Job<JobData, number>): Promise<number> {
    const { id = '', data } = job;
    this.#tell({ kind: 'jobStarted', id, at: this.#now() });
    if (data.number % 10 === 4 && !data.isNew) await job.updateData(dataOf(data.number, true));
    await sleep(Math.random() * LONGEST_WORK_MS);
    if (data.number % 11 === 5 && job.attemptsMade === 0) throw new Error('The first attempt fails');
    if (data.number % 37 === 6) throw new Error('Every attempt fails');
    return resultOf(data.number);
  }

  /** Works on what is there until nothing is left. */
  async finish(): Promise<void> {
    const worker = this.work();
    while ((await this.#queue.getJobCountByTypes('waiting', 'prioritized', 'delayed', 'active')) > 0) {
      await sleep(LOOK_MS);
    }
    await worker.close();
  }

  close(): Promise<void> {
    return this.#queue.close();
  }
}

/** Whether a job is removed when it is completed. */
export function isRemoved(id: string): boolean {
  return numberOf(id) % 3 === 0;
}

function numberOf(id: string): number {
  return Number(id.slice(id.lastIndexOf('-') + 1));
}

function dataOf(number: number, isNew: boolean): JobData {
  return { number, isNew, text: 'x'.repeat((number * 37 + (isNew ? 11 : 0)) % 3_000) };
}

function isIntact(id: string, { number, isNew, text }: JobData): boolean {
  return number === numberOf(id) && text === dataOf(number, isNew).text;
}

function resultOf(number: number): number {
  return number * 2 + 1;
}

function optionsOf(number: number): object {
  const always = { attempts: ATTEMPTS, backoff: 5, removeOnComplete: number % 3 === 0, removeOnFail: false };
  switch (number % 5) {
    case 1:
      return { ...always, delay: 1 + (number % 100) };
    case 2:
      return { ...always, priority: 1 + (number % 7) };
    case 3:
      return { ...always, lifo: true };
    default:
      return always;
  }
}
