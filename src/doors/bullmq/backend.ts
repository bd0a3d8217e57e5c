/** The backend that BullMQ's classes talk to: each method is a command to the broker, and what BullMQ expects of the answer. */
import type {
  BackendFactory,
  IQueueBackend,
  JobJson,
  JobsOptions,
  KeepJobs,
  MinimalJob,
  MoveToDelayedOpts,
  MoveToWaitingChildrenOpts,
  ParentKeyOpts,
  RepeatableOptions,
  RetryJobOpts,
  RetryOptions,
} from 'bullmq';
import { type BullAdd, type BullArgs, type BullFinishedState, MAX_BULL_REASON_CHARACTERS } from '../../model/bull.ts';
import { callersNow } from '../../model/clock.ts';
import { askQueue } from './asking.ts';
import type { ConnectionOptions } from './connections.ts';
import { errorOf } from './errors.ts';
import { addOf, fieldsOf, keepOf, nextOf, takeOf } from './jobs.ts';
import { qualify } from './queue-names.ts';
import { finite, isState, QueueView } from './queue-view.ts';
import { schedulerFieldsOf } from './schedulers.ts';

type Finished = { readonly result: unknown[]; readonly finishedOn: number };

/** A command takes so many characters of jobs, roughly; more go in several. */
const CHUNK_CHARACTERS: number = 256 * 1024;

export class HoldfastQueueBackend extends QueueView implements IQueueBackend {
  forQueue(queueName: string, prefix?: string): HoldfastQueueBackend {
    const opts = prefix === undefined ? this.opts : { ...this.opts, prefix };
    return new HoldfastQueueBackend(queueName, opts, {}, this.connection);
  }

  // Adding

  async addJob(job: JobJson, jobId: string, parentOpts: ParentKeyOpts = {}): Promise<string> {
    const [outcome] = await this.ask('add', { jobs: [addOf(job, jobId, parentOpts)] });
    return idIn(outcome, parentOpts);
  }

  async addJobs(entries: { job: JobJson; jobId: string; parentKeyOpts?: ParentKeyOpts }[]): Promise<string[]> {
    const adds = entries.map(({ job, jobId, parentKeyOpts }) => addOf(job, jobId, parentKeyOpts));
    const answers = await Promise.all(chunksOf(adds).map((jobs) => this.ask('add', { jobs })));
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
    const outcomes = await askQueue(this.connection, queue, 'add', { jobs });
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
    const answer = await this.ask('addScheduler', {
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
    if (this.isInterrupted) return nextOf({ job: null, ttlMs: 0, untilAt: 0 });
    const next = await this.ask('claim', { now: callersNow(), take: takeOf(token, this.worker, name) });
    // Where the same frame answers whoever has added the job, that goes first: it may be about to listen to the worker.
    if (next.job !== null) await new Promise<void>((resolve) => this.connection.client?.clock.afterInput(resolve));
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
    const worker = this.worker;
    const ofWorker = state === 'completed' ? worker.removeOnComplete : worker.removeOnFail;
    const answer = await this.ask('finish', {
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
    return { take: takeOf(token, this.worker, this.worker.name) };
  }

  async moveToDelayed(
    id: string,
    timestamp: number,
    delay: number,
    token: string = '0',
    { skipAttempt = false, fieldsToUpdate, fetchNext = false }: MoveToDelayedOpts = {},
  ): Promise<unknown[]> {
    const answer = await this.ask('moveToDelayed', {
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
    const answer = await this.ask('moveToWaitingChildren', { id, token, now: callersNow(), ...childKey });
    check(answer, { jobId: id, command: 'moveToWaitingChildren', state: 'active' });
    return answer === 0;
  }

  async moveJobFromActiveToWait(id: string, token: string = '0'): Promise<number> {
    const answer = await this.ask('moveToWait', { id, token });
    return check(answer, { jobId: id, command: 'moveJobFromActiveToWait', state: 'active' });
  }

  async retryJob(id: string, lifo: boolean, token: string = '0', { fieldsToUpdate }: RetryJobOpts = {}): Promise<void> {
    const args = { id, token, now: callersNow(), lifo: lifo === true, ...fieldsOf(fieldsToUpdate) };
    check(await this.ask('retry', args), { jobId: id, command: 'retryJob', state: 'active' });
  }

  async retryFinishedJob<T, R, N extends string>(
    { id = '', opts }: MinimalJob<T, R, N>,
    state: BullFinishedState,
    { resetAttemptsMade = false, resetAttemptsStarted = false }: RetryOptions = {},
  ): Promise<void> {
    const resets = { resetsMade: resetAttemptsMade, resetsStarted: resetAttemptsStarted };
    const answer = await this.ask('reprocess', { id, state, lifo: opts.lifo === true, ...resets });
    check(answer, { jobId: id, command: 'reprocessJob', state });
  }

  async promote(id: string): Promise<void> {
    check(await this.ask('promote', { id }), { jobId: id, command: 'promote', state: 'delayed' });
  }

  async moveStalledJobsToWait(): Promise<string[]> {
    const { maxStalledCount = 1, stalledInterval = 30_000 } = this.worker;
    const args = { maxStalled: Math.max(0, Math.floor(maxStalledCount)), intervalMs: stalledInterval };
    return [...(await this.ask('moveStalled', args))];
  }

  retryFinishedJobs(
    state: BullFinishedState = 'failed',
    count: number = 1_000,
    timestamp: number = callersNow(),
  ): Promise<number> {
    return this.ask('moveJobsToWait', { state, count, until: Number.isFinite(timestamp) ? timestamp : null });
  }

  promoteJobs(count: number = 1_000): Promise<number> {
    return this.ask('moveJobsToWait', { state: 'delayed', count, until: null });
  }

  async pause(paused: boolean): Promise<void> {
    await this.ask('pause', { paused });
  }

  async drain(delayed: boolean): Promise<void> {
    while ((await this.ask('drain', { delayed })) === 1);
  }

  async cleanJobsByState(state: string, timestamp: number, limit: number = 0): Promise<string[]> {
    if (!isState(state)) return [];
    return [...(await this.ask('clean', { state, until: timestamp, limit: finite(limit) }))];
  }

  async obliterate({ force, count }: { force: boolean; count: number }): Promise<number> {
    const answer = await this.ask('obliterate', { count, force: force === true });
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
    return [...(await this.ask('extendLocks', { ids, tokens, lockMs: duration }))];
  }

  // Changing jobs

  async updateData<T, R, N extends string>({ id = '' }: MinimalJob<T, R, N>, data: T): Promise<void> {
    const answer = await this.ask('updateData', { id, data: JSON.stringify(data) ?? '{}' });
    check(answer, { jobId: id, command: 'updateData' });
  }

  async updateProgress(id: string, progress: unknown): Promise<void> {
    const answer = await this.ask('updateProgress', { id, progress: JSON.stringify(progress) ?? '0' });
    check(answer, { jobId: id, command: 'updateProgress' });
  }

  async addLog(id: string, line: string, keepLogs: number = 0): Promise<number> {
    const answer = await this.ask('addLog', { id, line: String(line), keep: keepLogs });
    return check(answer, { jobId: id, command: 'addLog' });
  }

  async clearLogs(id: string, keepLogs: number = 0): Promise<void> {
    await this.ask('clearLogs', { id, keep: keepLogs });
  }

  async changeDelay(id: string, delay: number): Promise<void> {
    const answer = await this.ask('changeDelay', { id, delay, now: callersNow() });
    check(answer, { jobId: id, command: 'changeDelay', state: 'delayed' });
  }

  async changePriority(id: string, priority: number = 0, lifo: boolean = false): Promise<void> {
    check(await this.ask('changePriority', { id, priority, lifo }), { jobId: id, command: 'changePriority' });
  }

  async remove(id: string, removeChildren: boolean): Promise<number> {
    const answer = await this.ask('remove', { id, children: removeChildren === true });
    return check(answer, { jobId: id, command: 'removeJob' });
  }

  async removeUnprocessedChildren(id: string): Promise<void> {
    await this.ask('removeUnprocessedChildren', { id });
  }

  async removeChildDependency(id: string, parentKey: string): Promise<boolean> {
    const answer = await this.ask('removeChildDependency', { id, parentKey });
    return check(answer, { jobId: id, parentKey, command: 'removeChildDependency' }) === 0;
  }

  removeDeduplicationKey(dedupeId: string, jobId: string): Promise<number> {
    return this.ask('removeDedupe', { dedupeId, jobId });
  }

  deleteDeduplicationKey(dedupeId: string): Promise<number> {
    return this.ask('removeDedupe', { dedupeId });
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
    return this.ask('updateScheduler', args);
  }

  removeJobScheduler(id: string): Promise<number> {
    return this.ask('removeScheduler', { id });
  }

  // Fields of the queue

  setQueueMeta(values: Record<string, string | number>): Promise<number> {
    const texts = Object.entries(values).map(([field, value]) => [field, String(value)] as const);
    return this.ask('setMeta', { values: Object.fromEntries(texts) });
  }

  removeQueueMetaFields(fields: string[]): Promise<number> {
    return this.ask('removeMeta', { fields });
  }

  async setRateLimit(expireTimeMs: number): Promise<void> {
    await this.ask('setRateLimit', { ms: expireTimeMs });
  }

  removeRateLimitKey(): Promise<number> {
    return this.ask('removeRateLimit', {});
  }

  /** There never was one. */
  async removeDeprecatedPriorityKey(): Promise<number> {
    return 0;
  }

  trimEvents(maxLength: number): Promise<number> {
    return this.ask('trimEvents', { length: maxLength });
  }

  // Events

  publishEvent(fields: Record<string, string | number>, maxEvents: number): Promise<string> {
    const texts = Object.entries(fields).flatMap(([name, value]) => [name, String(value)]);
    return this.ask('publish', { fields: texts, maxLength: maxEvents });
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
