/** Looking at a queue: at its jobs, their children, its schedulers, its counts and its fields. */
import type { DependenciesOpts, IQueueBackend, JobJson, JobState, JobType } from 'bullmq';
import { type BullFinishedState, type BullJobState, BULL_STATES } from '../../model/bull.ts';
import { allChildren, dependenciesOf, pageOf } from './children.ts';
import { jobOf } from './jobs.ts';
import { QueueLink } from './queue-link.ts';

const MAX_COUNT = 100_000;

export class QueueView extends QueueLink {
  async getState(id: string): Promise<JobState | 'unknown'> {
    const state = await this.ask('state', { id });
    return state === null ? 'unknown' : state === 'wait' ? 'waiting' : state;
  }

  async isFinished(id: string, returnValue: boolean = false): Promise<number | [number, string]> {
    const { status, value } = await this.ask('finished', { id });
    return returnValue ? [status, value as string] : status;
  }

  isMaxed(): Promise<boolean> {
    return this.ask('maxed', {});
  }

  async isJobInState(name: string, id: string): Promise<boolean> {
    const state = name === 'waiting' ? 'wait' : name;
    if (state !== 'paused' && !isState(state)) throw new Error(`Unknown job state: ${name}`);
    return (await this.ask('state', { id })) === state;
  }

  async getJobData(id: string): Promise<JobJson | undefined> {
    const job = await this.ask('job', { id });
    return job === null ? undefined : jobOf(job);
  }

  getDeduplicationJobId(dedupeId: string): Promise<string | null> {
    return this.ask('dedupeJob', { dedupeId });
  }

  async getJobLogs(id: string, start: number, end: number, asc: boolean): Promise<{ logs: string[]; count: number }> {
    const { lines, count } = await this.ask('logs', { id, start, end, asc });
    return { logs: [...lines], count };
  }

  getRateLimitTtl(maxJobs: number = 0): Promise<number> {
    return this.ask('rateLimitTtl', { max: maxJobs });
  }

  async getCounts(types: JobType[], delayedUntil?: number): Promise<number[]> {
    const until = delayedUntil === undefined ? {} : { until: delayedUntil };
    return [...(await this.ask('counts', { states: types.map(stateOf), ...until }))];
  }

  async getCountsPerPriority(priorities: number[]): Promise<number[]> {
    return [...(await this.ask('countsPerPriority', { priorities }))];
  }

  async getRanges(types: JobType[], start: number = 0, end: number = 1, asc: boolean = false): Promise<[string][]> {
    const states = types.map(stateOf);
    const ranges = await this.ask('ranges', { states, start: finite(start), end: finite(end, -1), asc });
    // BullMQ turns ascending ranges of what are lists in Redis around.
    return ranges.map((ids, i) =>
      asc && (states[i] === 'wait' || states[i] === 'active') ? [...ids].reverse() : [...ids],
    ) as [string][];
  }

  async getDependencyCounts(id: string, types: string[]): Promise<number[]> {
    const counts: Readonly<Record<string, number>> = await this.ask('childCounts', { id });
    return types.map((type) => counts[type] ?? 0);
  }

  getDependencies(id: string, opts: DependenciesOpts = {}): ReturnType<typeof dependenciesOf> {
    return dependenciesOf((args) => this.ask('children', { id, ...args }), opts);
  }

  getProcessedChildrenValues(id: string): Promise<Record<string, string>> {
    return this.#childrenOf(id, 'processed');
  }

  getIgnoredChildrenFailures(id: string): Promise<Record<string, string>> {
    return this.#childrenOf(id, 'ignored');
  }

  async #childrenOf(id: string, of: 'processed' | 'ignored'): Promise<Record<string, string>> {
    return Object.fromEntries(await allChildren((args) => this.ask('children', { id, ...args }), of));
  }

  async paginate(
    key: string,
    { start, end, fetchJobs = false }: { start: number; end: number; fetchJobs?: boolean },
  ): ReturnType<IQueueBackend['paginate']> {
    const kind = key.slice(key.lastIndexOf(':') + 1);
    const id = key.slice(this.qualifiedName.length + 1, -kind.length - 1);
    const of = kind === 'processed' ? 'processed' : 'unprocessed';
    const limit = end < 0 ? MAX_COUNT : Math.max(0, end - start + 1);
    return pageOf(await this.ask('children', { id, of, start, limit, jobs: fetchJobs }), of);
  }

  async getMetrics(of: BullFinishedState, start: number = 0, end: number = -1): Promise<[string[], string[], number]> {
    const { count, prevAt, prevCount, points, length } = await this.ask('metrics', { of, start, end });
    return [[count, prevAt, prevCount].map(String), points.map(String), length];
  }

  async getClientList(): Promise<string[]> {
    const clients = await this.ask('clients', {});
    // As Redis has it: companions leave out what has no address, and that of a session is its number.
    const lines = clients.map(({ session, number, name, ageMs }) => {
      const ageS = Math.floor(ageMs / 1_000);
      return `id=${session}.${number} addr=session:${session} age=${ageS} name=${name}`;
    });
    return [lines.join('\n')];
  }

  // Schedulers

  async getJobScheduler(id: string): Promise<[unknown, string | null]> {
    const scheduler = await this.ask('scheduler', { id });
    return scheduler === null ? [null, null] : [Object.entries(scheduler.fields).flat(), String(scheduler.nextAt)];
  }

  async isJobScheduler(id: string): Promise<boolean> {
    return (await this.ask('scheduler', { id })) !== null;
  }

  async getJobSchedulerData(id: string): Promise<Record<string, string>> {
    return { ...(await this.ask('scheduler', { id }))?.fields };
  }

  async getJobSchedulersRange(start: number, end: number, asc: boolean): Promise<string[]> {
    const schedulers = await this.ask('schedulers', { start, end, asc });
    return schedulers.flatMap(({ id, nextAt }) => [id, String(nextAt)]);
  }

  getJobSchedulersCount(): Promise<number> {
    return this.ask('schedulerCount', {});
  }

  // Fields of the queue

  async getQueueMetaField(field: string): Promise<string | null> {
    return (await this.ask('meta', {}))[field] ?? null;
  }

  async getQueueMetaFields(fields: string[]): Promise<(string | null)[]> {
    const meta = await this.ask('meta', {});
    return fields.map((field) => meta[field] ?? null);
  }

  async getQueueMeta(): Promise<Record<string, string>> {
    return { ...(await this.ask('meta', {})) };
  }

  async hasQueueMetaField(field: string): Promise<boolean> {
    return field in (await this.ask('meta', {}));
  }
}

function stateOf(type: string): string {
  return type === 'waiting' ? 'wait' : type;
}

export function isState(name: string): name is BullJobState {
  return BULL_STATES.some((state) => state === name);
}

export function finite(value: number, otherwise: number = 0): number {
  return Number.isFinite(value) ? value : otherwise;
}
