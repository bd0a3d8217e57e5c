/** The backend that BullMQ's classes talk to: each method is a command to the broker, and what BullMQ expects of the answer. */
import { EventEmitter } from 'node:events';
import type {
  BackendFactory,
  DependenciesOpts,
  IQueueBackend,
  JobJson,
  JobsOptions,
  JobState,
  JobType,
  KeepJobs,
  MinimalJob,
  MoveToDelayedOpts,
  MoveToWaitingChildrenOpts,
  ParentKeyOpts,
  QueueBaseOptions,
  RepeatableOptions,
  RetryJobOpts,
  RetryOptions,
  WorkerOptions,
} from 'bullmq';
import {
  type BullAdd,
  type BullAnswer,
  type BullArgs,
  type BullFinishedState,
  type BullJobState,
  type BullMethod,
  BULL_STATES,
  MAX_BULL_REASON_CHARACTERS,
} from '../../model/bull.ts';
import { callersNow } from '../../model/clock.ts';
import { askQueue } from './asking.ts';
import { allChildren, dependenciesOf, pageOf } from './children.ts';
import { connect, type Connection, type ConnectionOptions } from './connections.ts';
import { errorOf } from './errors.ts';
import { addOf, fieldsOf, jobOf, keepOf, nextOf, takeOf } from './jobs.ts';
import { clientNameOf, keysOf, parseKey, qualify } from './queue-names.ts';
import { schedulerFieldsOf } from './schedulers.ts';
import { Waiting } from './waiting.ts';

/** What BullMQ gives its backends: the options of the object that has it. */
type Given = QueueBaseOptions<ConnectionOptions> & { readonly prefix?: string };

type Finished = { readonly result: unknown[]; readonly finishedOn: number };

/** A command takes so many characters of jobs, roughly; more go in several. */
const CHUNK_CHARACTERS: number = 256 * 1024;

const MAX_COUNT = 100_000;

let nextClientNumber = 1;

export class HoldfastQueueBackend extends EventEmitter implements IQueueBackend {
  readonly minimumBlockTimeout = 0.001;
  readonly qualifiedName: string;
  readonly keys: Record<string, string>;
  closing: Promise<void> | undefined;
  readonly #name: string;
  readonly #opts: Given;
  readonly #connection: Connection;
  readonly #isOwner: boolean;
  readonly #number = nextClientNumber++;
  readonly #jobWaiting = new Waiting();
  readonly #eventWaiting = new Waiting();
  #isInterrupted = false;
  #unname: () => void = () => {};
  /** Where the events of one who listens begin, and how it calls itself: known before it says that it is ready. */
  #listensFrom: string | undefined;
  readonly #ready: Promise<unknown>;

  constructor(name: string, opts: Given, kind: { blocking?: boolean; worker?: boolean } = {}, of?: Connection) {
    super();
    this.#name = name;
    this.#opts = opts;
    this.#isOwner = of === undefined;
    this.#connection = of ?? connect(opts.connection);
    this.qualifiedName = qualify(name, opts.prefix);
    this.keys = keysOf(this.qualifiedName);
    this.#ready = this.#begin(kind);
    this.#ready.then(
      () => this.emit('ready'),
      (error: unknown) => this.listenerCount('error') > 0 && this.emit('error', error),
    );
  }

  async #begin({ blocking = false, worker = false }: { blocking?: boolean; worker?: boolean }): Promise<void> {
    const client = await this.#connection.opened;
    client.onFailure(() => {
      if (this.closing === undefined && this.listenerCount('error') > 0) this.emit('error', client.failure);
    });
    if (blocking) this.#listensFrom = (await this.#ask('events', { after: '$', waiter: 0 })).last;
    const { name } = this.#opts as Partial<WorkerOptions>;
    if (worker) await this.setName(this.clientName(name === undefined ? '' : `:w:${name}`));
  }

  async waitUntilReady(): Promise<void> {
    await this.#ready;
  }

  close(_force?: boolean): Promise<void> {
    this.closing ??= this.#close();
    return this.closing;
  }

  async #close(): Promise<void> {
    this.#interrupt();
    this.#unname();
    if (!this.#isOwner) return;
    // Whether it is heard does not matter: without a link there is nobody to forget the name.
    if (this.#connection.client !== undefined) {
      this.#ask('nameClient', { number: this.#number, name: null }).catch(() => {});
    }
    await this.#connection.release();
    this.emit('close');
  }

  async disconnect(): Promise<void> {
    this.#interrupt();
  }

  #interrupt(): void {
    this.#isInterrupted = true;
    this.#jobWaiting.end();
    this.#eventWaiting.end();
  }

  async setName(name: string): Promise<void> {
    const client = await this.#connection.opened;
    const say = (): Promise<number> => this.#ask('nameClient', { number: this.#number, name });
    this.#unname();
    // Names go with the link, and are said again over the next one.
    const { stop } = client.waits.bullWaiter(() => {
      if (client.failure === undefined) say().catch(() => {});
    });
    this.#unname = stop;
    await say();
  }

  forQueue(queueName: string, prefix?: string): HoldfastQueueBackend {
    const opts = prefix === undefined ? this.#opts : { ...this.#opts, prefix };
    return new HoldfastQueueBackend(queueName, opts, {}, this.#connection);
  }

  toKey(type: string): string {
    return `${this.qualifiedName}:${type}`;
  }

  parseNodeKey(key: string): { prefix: string; queueName: string; id: string } {
    return parseKey(key);
  }

  clientName(suffix: string = ''): string {
    return `${clientNameOf(this.#name, this.#opts.prefix)}${suffix}`;
  }

  // Adding

  async addJob(job: JobJson, jobId: string, parentOpts: ParentKeyOpts = {}): Promise<string> {
    const [outcome] = await this.#ask('add', { jobs: [addOf(job, jobId, parentOpts)] });
    return idIn(outcome, parentOpts);
  }

  async addJobs(entries: { job: JobJson; jobId: string; parentKeyOpts?: ParentKeyOpts }[]): Promise<string[]> {
    const adds = entries.map(({ job, jobId, parentKeyOpts }) => addOf(job, jobId, parentKeyOpts));
    const answers = await Promise.all(chunksOf(adds).map((jobs) => this.#ask('add', { jobs })));
    return answers.flat().map((outcome, i) => idIn(outcome, entries[i]?.parentKeyOpts));
  }

  async addFlow(
    entries: {
      jobData: JobJson;
      jobId: string;
      parentKeyOpts: ParentKeyOpts;
      prefix: string;
      queueName: string;
    }[],
  ): Promise<[Error | null, string | number][]> {
    if (entries.length === 0) return [];
    const jobs = entries.map(({ jobData, jobId, parentKeyOpts, prefix, queueName }) =>
      addOf(jobData, jobId, parentKeyOpts, qualify(queueName, prefix)),
    );
    const queue = jobs[0]?.queue ?? this.qualifiedName;
    const outcomes = await askQueue(this.#connection, queue, 'add', { jobs });
    return outcomes.map((outcome) => [null, outcome]);
  }

  async addJobScheduler(
    id: string,
    nextMillis: number,
    templateData: string,
    templateOpts: JobsOptions,
    opts: RepeatableOptions,
    jobOpts: JobsOptions,
    _producerId?: string,
  ): Promise<[string, number]> {
    const answer = await this.#ask('addScheduler', {
      id,
      now: callersNow(),
      nextAt: nextMillis ?? null,
      fields: schedulerFieldsOf(opts),
      data: templateData,
      templateOpts: JSON.stringify(templateOpts),
      jobOpts: JSON.stringify(jobOpts),
    });
    if (typeof answer === 'number') throw errorOf(answer, { command: 'addJobScheduler' });
    return [answer.id, answer.delay];
  }

  // Moving

  async moveToActive(token: string, name?: string): Promise<unknown[]> {
    // A worker whose wait was ended asks once more, although it takes nothing more: it may be closing since there is no link.
    if (this.#isInterrupted) return nextOf({ job: null, ttlMs: 0, untilAt: 0 });
    const next = await this.#ask('claim', { now: callersNow(), take: takeOf(token, this.#worker, name) });
    // Where the same frame answers whoever has added the job, that goes first: it may be about to listen to the worker.
    if (next.job !== null) await new Promise<void>((resolve) => this.#connection.client?.clock.afterInput(resolve));
    return nextOf(next);
  }

  async moveToCompleted<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    returnValue: R,
    keep: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
  ): Promise<Finished> {
    const value = JSON.stringify(returnValue) ?? 'null';
    return this.#finish(job, 'completed', value, keep, token, fetchNext, undefined);
  }

  async moveToFailed<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    failedReason: string,
    keep: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
    fields?: Record<string, unknown>,
  ): Promise<Finished> {
    return this.#finish(
      job,
      'failed',
      String(failedReason).slice(0, MAX_BULL_REASON_CHARACTERS),
      keep,
      token,
      fetchNext,
      fields,
    );
  }

  async #finish(
    { id = '', opts }: MinimalJob,
    state: BullFinishedState,
    value: string,
    keep: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
    fields: Record<string, unknown> | undefined,
  ): Promise<Finished> {
    const now = callersNow();
    const worker = this.#worker;
    const ofWorker = state === 'completed' ? worker.removeOnComplete : worker.removeOnFail;
    const answer = await this.#ask('finish', {
      id,
      token,
      now,
      state,
      value,
      keep: keepOf(keep, ofWorker),
      attempts: opts.attempts ?? 0,
      metricsSize: worker.metrics?.maxDataPoints ?? 0,
      ...fieldsOf(fields),
      ...this.#takeNext(fetchNext, token),
    });
    if (typeof answer === 'number' && answer < 0) {
      throw errorOf(answer, { jobId: id, command: 'moveToFinished', state: 'active' });
    }
    return { result: nextOf(answer), finishedOn: now };
  }

  #takeNext(isWanted: boolean, token: string): { take?: BullArgs<'claim'>['take'] } {
    if (!isWanted || this.closing !== undefined) return {};
    return { take: takeOf(token, this.#worker, this.#worker.name) };
  }

  async moveToDelayed(
    id: string,
    timestamp: number,
    delay: number,
    token: string = '0',
    { skipAttempt = false, fieldsToUpdate, fetchNext = false }: MoveToDelayedOpts = {},
  ): Promise<unknown[]> {
    const answer = await this.#ask('moveToDelayed', {
      id,
      token,
      now: timestamp,
      delay,
      skipsAttempt: skipAttempt,
      ...fieldsOf(fieldsToUpdate),
      ...this.#takeNext(fetchNext, token),
    });
    check(answer, { jobId: id, command: 'moveToDelayed', state: 'active' });
    return nextOf(answer);
  }

  async moveToWaitingChildren(id: string, token: string, { child }: MoveToWaitingChildrenOpts = {}): Promise<boolean> {
    const childKey = child === undefined ? {} : { childKey: `${child.queue}:${child.id}` };
    const answer = await this.#ask('moveToWaitingChildren', { id, token, now: callersNow(), ...childKey });
    check(answer, { jobId: id, command: 'moveToWaitingChildren', state: 'active' });
    return answer === 0;
  }

  async moveJobFromActiveToWait(id: string, token: string = '0'): Promise<number> {
    const answer = await this.#ask('moveToWait', { id, token });
    return check(answer, { jobId: id, command: 'moveJobFromActiveToWait', state: 'active' });
  }

  async retryJob(id: string, lifo: boolean, token: string = '0', { fieldsToUpdate }: RetryJobOpts = {}): Promise<void> {
    const args = { id, token, now: callersNow(), lifo: lifo === true, ...fieldsOf(fieldsToUpdate) };
    check(await this.#ask('retry', args), { jobId: id, command: 'retryJob', state: 'active' });
  }

  async retryFinishedJob<T, R, N extends string>(
    { id = '', opts }: MinimalJob<T, R, N>,
    state: BullFinishedState,
    { resetAttemptsMade = false, resetAttemptsStarted = false }: RetryOptions = {},
  ): Promise<void> {
    const resets = { resetsMade: resetAttemptsMade, resetsStarted: resetAttemptsStarted };
    const answer = await this.#ask('reprocess', { id, state, lifo: opts.lifo === true, ...resets });
    check(answer, { jobId: id, command: 'reprocessJob', state });
  }

  async promote(id: string): Promise<void> {
    check(await this.#ask('promote', { id }), { jobId: id, command: 'promote', state: 'delayed' });
  }

  async moveStalledJobsToWait(): Promise<string[]> {
    const { maxStalledCount = 1, stalledInterval = 30_000 } = this.#worker;
    const args = { maxStalled: Math.max(0, Math.floor(maxStalledCount)), intervalMs: stalledInterval };
    return [...(await this.#ask('moveStalled', args))];
  }

  retryFinishedJobs(
    state: BullFinishedState = 'failed',
    count: number = 1_000,
    timestamp: number = callersNow(),
  ): Promise<number> {
    return this.#ask('moveJobsToWait', { state, count, until: Number.isFinite(timestamp) ? timestamp : null });
  }

  promoteJobs(count: number = 1_000): Promise<number> {
    return this.#ask('moveJobsToWait', { state: 'delayed', count, until: null });
  }

  async pause(paused: boolean): Promise<void> {
    await this.#ask('pause', { paused });
  }

  async drain(delayed: boolean): Promise<void> {
    while ((await this.#ask('drain', { delayed })) === 1);
  }

  async cleanJobsByState(state: string, timestamp: number, limit: number = 0): Promise<string[]> {
    if (!isState(state)) return [];
    return [...(await this.#ask('clean', { state, until: timestamp, limit: finite(limit) }))];
  }

  async obliterate({ force, count }: { force: boolean; count: number }): Promise<number> {
    const answer = await this.#ask('obliterate', { count, force: force === true });
    if (answer === -1) throw new Error('Cannot obliterate non-paused queue');
    if (answer === -2) throw new Error('Cannot obliterate queue with active jobs');
    return answer;
  }

  /** No job is ever without a state. */
  async removeOrphanedJobs(): Promise<number> {
    return 0;
  }

  // Locks

  async extendLock(id: string, token: string, duration: number): Promise<number> {
    return (await this.extendLocks([id], [token], duration)).length === 0 ? 1 : 0;
  }

  async extendLocks(ids: string[], tokens: string[], duration: number): Promise<string[]> {
    return [...(await this.#ask('extendLocks', { ids, tokens, lockMs: duration }))];
  }

  // Changing jobs

  async updateData<T, R, N extends string>({ id = '' }: MinimalJob<T, R, N>, data: T): Promise<void> {
    const answer = await this.#ask('updateData', { id, data: JSON.stringify(data) ?? '{}' });
    check(answer, { jobId: id, command: 'updateData' });
  }

  async updateProgress(id: string, progress: unknown): Promise<void> {
    const answer = await this.#ask('updateProgress', { id, progress: JSON.stringify(progress) ?? '0' });
    check(answer, { jobId: id, command: 'updateProgress' });
  }

  async addLog(id: string, line: string, keepLogs: number = 0): Promise<number> {
    const answer = await this.#ask('addLog', { id, line: String(line), keep: keepLogs });
    return check(answer, { jobId: id, command: 'addLog' });
  }

  async clearLogs(id: string, keepLogs: number = 0): Promise<void> {
    await this.#ask('clearLogs', { id, keep: keepLogs });
  }

  async changeDelay(id: string, delay: number): Promise<void> {
    const answer = await this.#ask('changeDelay', { id, delay, now: callersNow() });
    check(answer, { jobId: id, command: 'changeDelay', state: 'delayed' });
  }

  async changePriority(id: string, priority: number = 0, lifo: boolean = false): Promise<void> {
    check(await this.#ask('changePriority', { id, priority, lifo }), { jobId: id, command: 'changePriority' });
  }

  async remove(id: string, removeChildren: boolean): Promise<number> {
    const answer = await this.#ask('remove', { id, children: removeChildren === true });
    return check(answer, { jobId: id, command: 'removeJob' });
  }

  async removeUnprocessedChildren(id: string): Promise<void> {
    await this.#ask('removeUnprocessedChildren', { id });
  }

  async removeChildDependency(id: string, parentKey: string): Promise<boolean> {
    const answer = await this.#ask('removeChildDependency', { id, parentKey });
    return check(answer, { jobId: id, parentKey, command: 'removeChildDependency' }) === 0;
  }

  removeDeduplicationKey(dedupeId: string, jobId: string): Promise<number> {
    return this.#ask('removeDedupe', { dedupeId, jobId });
  }

  deleteDeduplicationKey(dedupeId: string): Promise<number> {
    return this.#ask('removeDedupe', { dedupeId });
  }

  // Schedulers

  async updateJobSchedulerNextMillis(
    id: string,
    nextMillis: number,
    _templateData: string,
    jobOpts: JobsOptions,
    producerId: string = '',
  ): Promise<string | null> {
    const args = { id, now: callersNow(), nextAt: nextMillis ?? null, jobOpts: JSON.stringify(jobOpts), producerId };
    return this.#ask('updateScheduler', args);
  }

  removeJobScheduler(id: string): Promise<number> {
    return this.#ask('removeScheduler', { id });
  }

  async getJobScheduler(id: string): Promise<[unknown, string | null]> {
    const scheduler = await this.#ask('scheduler', { id });
    return scheduler === null ? [null, null] : [Object.entries(scheduler.fields).flat(), String(scheduler.nextAt)];
  }

  async isJobScheduler(id: string): Promise<boolean> {
    return (await this.#ask('scheduler', { id })) !== null;
  }

  async getJobSchedulerData(id: string): Promise<Record<string, string>> {
    return { ...(await this.#ask('scheduler', { id }))?.fields };
  }

  async getJobSchedulersRange(start: number, end: number, asc: boolean): Promise<string[]> {
    const schedulers = await this.#ask('schedulers', { start, end, asc });
    return schedulers.flatMap(({ id, nextAt }) => [id, String(nextAt)]);
  }

  getJobSchedulersCount(): Promise<number> {
    return this.#ask('schedulerCount', {});
  }

  // Looking

  async getState(id: string): Promise<JobState | 'unknown'> {
    const state = await this.#ask('state', { id });
    return state === null ? 'unknown' : state === 'wait' ? 'waiting' : state;
  }

  async isFinished(id: string, returnValue: boolean = false): Promise<number | [number, string]> {
    const { status, value } = await this.#ask('finished', { id });
    return returnValue ? [status, value as string] : status;
  }

  isMaxed(): Promise<boolean> {
    return this.#ask('maxed', {});
  }

  async isJobInState(name: string, id: string): Promise<boolean> {
    const state = name === 'waiting' ? 'wait' : name;
    if (state !== 'paused' && !isState(state)) throw new Error(`Unknown job state: ${name}`);
    return (await this.#ask('state', { id })) === state;
  }

  async getJobData(id: string): Promise<JobJson | undefined> {
    const job = await this.#ask('job', { id });
    return job === null ? undefined : jobOf(job);
  }

  getDeduplicationJobId(dedupeId: string): Promise<string | null> {
    return this.#ask('dedupeJob', { dedupeId });
  }

  async getJobLogs(id: string, start: number, end: number, asc: boolean): Promise<{ logs: string[]; count: number }> {
    const { lines, count } = await this.#ask('logs', { id, start, end, asc });
    return { logs: [...lines], count };
  }

  getRateLimitTtl(maxJobs: number = 0): Promise<number> {
    return this.#ask('rateLimitTtl', { max: maxJobs });
  }

  async getCounts(types: JobType[], delayedUntil?: number): Promise<number[]> {
    const until = delayedUntil === undefined ? {} : { until: delayedUntil };
    return [...(await this.#ask('counts', { states: types.map(stateOf), ...until }))];
  }

  async getCountsPerPriority(priorities: number[]): Promise<number[]> {
    return [...(await this.#ask('countsPerPriority', { priorities }))];
  }

  async getRanges(types: JobType[], start: number = 0, end: number = 1, asc: boolean = false): Promise<[string][]> {
    const states = types.map(stateOf);
    const ranges = await this.#ask('ranges', { states, start: finite(start), end: finite(end, -1), asc });
    // BullMQ turns ascending ranges of what are lists in Redis around.
    return ranges.map((ids, i) =>
      asc && (states[i] === 'wait' || states[i] === 'active') ? [...ids].reverse() : [...ids],
    ) as [string][];
  }

  async getDependencyCounts(id: string, types: string[]): Promise<number[]> {
    const counts: Readonly<Record<string, number>> = await this.#ask('childCounts', { id });
    return types.map((type) => counts[type] ?? 0);
  }

  getDependencies(id: string, opts: DependenciesOpts = {}): ReturnType<typeof dependenciesOf> {
    return dependenciesOf((args) => this.#ask('children', { id, ...args }), opts);
  }

  getProcessedChildrenValues(id: string): Promise<Record<string, string>> {
    return this.#childrenOf(id, 'processed');
  }

  getIgnoredChildrenFailures(id: string): Promise<Record<string, string>> {
    return this.#childrenOf(id, 'ignored');
  }

  async #childrenOf(id: string, of: 'processed' | 'ignored'): Promise<Record<string, string>> {
    return Object.fromEntries(await allChildren((args) => this.#ask('children', { id, ...args }), of));
  }

  async paginate(
    key: string,
    { start, end, fetchJobs = false }: { start: number; end: number; fetchJobs?: boolean },
  ): ReturnType<IQueueBackend['paginate']> {
    const kind = key.slice(key.lastIndexOf(':') + 1);
    const id = key.slice(this.qualifiedName.length + 1, -kind.length - 1);
    const of = kind === 'processed' ? 'processed' : 'unprocessed';
    const limit = end < 0 ? MAX_COUNT : Math.max(0, end - start + 1);
    return pageOf(await this.#ask('children', { id, of, start, limit, jobs: fetchJobs }), of);
  }

  async getMetrics(of: BullFinishedState, start: number = 0, end: number = -1): Promise<[string[], string[], number]> {
    const { count, prevAt, prevCount, points, length } = await this.#ask('metrics', { of, start, end });
    return [[count, prevAt, prevCount].map(String), points.map(String), length];
  }

  async getClientList(): Promise<string[]> {
    const clients = await this.#ask('clients', {});
    // As Redis has it: companions leave out what has no address, and that of a session is its number.
    const lines = clients.map(({ session, number, name, ageMs }) => {
      const ageS = Math.floor(ageMs / 1_000);
      return `id=${session}.${number} addr=session:${session} age=${ageS} name=${name}`;
    });
    return [lines.join('\n')];
  }

  // Fields of the queue

  setQueueMeta(values: Record<string, string | number>): Promise<number> {
    const texts = Object.entries(values).map(([field, value]) => [field, String(value)] as const);
    return this.#ask('setMeta', { values: Object.fromEntries(texts) });
  }

  async getQueueMetaField(field: string): Promise<string | null> {
    return (await this.#ask('meta', {}))[field] ?? null;
  }

  async getQueueMetaFields(fields: string[]): Promise<(string | null)[]> {
    const meta = await this.#ask('meta', {});
    return fields.map((field) => meta[field] ?? null);
  }

  async getQueueMeta(): Promise<Record<string, string>> {
    return { ...(await this.#ask('meta', {})) };
  }

  removeQueueMetaFields(fields: string[]): Promise<number> {
    return this.#ask('removeMeta', { fields });
  }

  async hasQueueMetaField(field: string): Promise<boolean> {
    return field in (await this.#ask('meta', {}));
  }

  async setRateLimit(expireTimeMs: number): Promise<void> {
    await this.#ask('setRateLimit', { ms: expireTimeMs });
  }

  removeRateLimitKey(): Promise<number> {
    return this.#ask('removeRateLimit', {});
  }

  /** There never was one. */
  async removeDeprecatedPriorityKey(): Promise<number> {
    return 0;
  }

  trimEvents(maxLength: number): Promise<number> {
    return this.#ask('trimEvents', { length: maxLength });
  }

  // Events, and waiting

  publishEvent(fields: Record<string, string | number>, maxEvents: number): Promise<string> {
    const texts = Object.entries(fields).flatMap(([name, value]) => [name, String(value)]);
    return this.#ask('publish', { fields: texts, maxLength: maxEvents });
  }

  async readEvents(id: string, blockTimeout: number): Promise<[string, [string, string[]][]][] | null> {
    await this.#ready;
    const after = id === '$' ? (this.#listensFrom ??= (await this.#ask('events', { after: '$', waiter: 0 })).last) : id;
    let events = await this.#eventsBehind(after, 0);
    if (events.length === 0 && !this.#isInterrupted) {
      const client = await this.#connection.opened;
      await this.#eventWaiting.wait(client, blockTimeout > 0 ? blockTimeout : Infinity, {
        ask: async (waiter) => {
          events = await this.#eventsBehind(after, waiter);
          return events.length > 0 ? 0 : undefined;
        },
        takeBack: async () => {},
      });
      if (events.length === 0 && this.closing === undefined) events = await this.#eventsBehind(after, 0);
    }
    return events.length === 0 ? null : [[this.toKey('events'), events]];
  }

  async #eventsBehind(after: string, waiter: number): Promise<[string, string[]][]> {
    const { events } = await this.#ask('events', { after, waiter });
    return events.map(([id, fields]) => [id, [...fields]]);
  }

  async waitForJob(blockTimeout: number): Promise<{ member: string; score: number } | null> {
    if (this.#isInterrupted) return null;
    const client = await this.#connection.opened;
    if (this.#isInterrupted) return null;
    const at = await this.#jobWaiting.wait(client, blockTimeout * 1_000, {
      ask: async (waiter) => (await this.#ask('wait', { waiter, stop: false })) ?? undefined,
      takeBack: (waiter) => this.#ask('wait', { waiter, stop: true }),
    });
    return at === undefined ? null : { member: at === 0 ? '0' : '1', score: at };
  }

  async disconnectBlocking(_wait?: boolean): Promise<void> {
    this.#isInterrupted = true;
    this.#jobWaiting.end();
  }

  async reconnectBlocking(): Promise<void> {
    this.#isInterrupted = false;
  }

  #ask<M extends BullMethod>(method: M, args: BullArgs<M>): Promise<BullAnswer<M>> {
    return askQueue(this.#connection, this.qualifiedName, method, args);
  }

  get #worker(): Partial<WorkerOptions> {
    return this.#opts as Partial<WorkerOptions>;
  }
}

/** The factory for BullMQ's constructors, `withBackend` and `setDefaultBackendFactory`. */
export const createHoldfastBackend: BackendFactory<HoldfastQueueBackend, ConnectionOptions> = (
  name,
  opts,
  options = {},
) =>
  new HoldfastQueueBackend(name, opts, {
    blocking: options.blocking === true,
    worker: options.withBlockingConnection === true,
  });

/** @throws what a negative answer means */
function check<T>(answer: T, subject: Parameters<typeof errorOf>[1]): T {
  if (typeof answer === 'number' && answer < 0) throw errorOf(answer, subject);
  return answer;
}

function idIn(outcome: string | number | undefined, { parentKey }: ParentKeyOpts = {}): string {
  if (typeof outcome === 'string') return outcome;
  throw errorOf(outcome ?? 0, { parentKey, command: 'addJob' });
}

function chunksOf(adds: readonly BullAdd[]): BullAdd[][] {
  const chunks: BullAdd[][] = [];
  let left = 0;
  for (const add of adds) {
    if (left <= 0) {
      chunks.push([]);
      left = CHUNK_CHARACTERS;
    }
    left -= add.data.length + add.opts.length + 100;
    chunks[chunks.length - 1]?.push(add);
  }
  return chunks;
}

function stateOf(type: string): string {
  return type === 'waiting' ? 'wait' : type;
}

function isState(name: string): name is BullJobState {
  return BULL_STATES.some((state) => state === name);
}

function finite(value: number, otherwise: number = 0): number {
  return Number.isFinite(value) ? value : otherwise;
}
