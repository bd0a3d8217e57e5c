/** The parent's book of jobs: what it was told is durable, held against what the queue holds after each fault. */
import { isRemoved, type JobState } from './jobs.ts';
import type { LoadEvent } from './load.ts';

type JobEvent = Extract<LoadEvent, { readonly kind: `job${string}` }>;
type Fault = (kind: 'missing' | 'doubled' | 'altered' | 'revived', subject: string) => void;

const ENDED: ReadonlySet<JobState> = new Set(['completed', 'failed']);

/** What was last heard of a job. */
interface Known {
  isAdded: boolean;
  /** When a handler began with it at last, and when its end was known to be durable. */
  startedAt: number | undefined;
  endedAt: number | undefined;
  /** Its end has removed it. */
  isGone: boolean;
}

export class JobLedger {
  readonly #known = new Map<string, Known>();
  readonly #fault: Fault;
  #listing: { readonly id: string; readonly state: JobState; readonly intact: boolean }[] = [];

  constructor(fault: Fault) {
    this.#fault = fault;
  }

  get added(): number {
    return [...this.#known.values()].filter(({ isAdded }) => isAdded).length;
  }

  get ended(): number {
    return [...this.#known.values()].filter(({ endedAt }) => endedAt !== undefined).length;
  }

  take(event: JobEvent): void {
    if (event.kind === 'jobStored') return void this.#listing.push(event);
    const { id } = event;
    const known = this.#known.get(id) ?? { isAdded: false, startedAt: undefined, endedAt: undefined, isGone: false };
    this.#known.set(id, known);
    if (event.kind === 'jobAdded') known.isAdded = true;
    else if (event.kind === 'jobStarted') known.startedAt = Math.max(known.startedAt ?? -Infinity, event.at);
    else {
      known.endedAt = Math.min(known.endedAt ?? Infinity, event.at);
      known.isGone ||= event.isGone;
    }
    const { startedAt = -Infinity, endedAt = Infinity } = known;
    if (startedAt > endedAt) this.#fault('revived', `job ${id}`);
  }

  /** What was listed so far is not the whole. */
  forgetListing(): void {
    this.#listing = [];
  }

  /** @param atEnd nothing may be left to do */
  check(atEnd: boolean): void {
    const stored = new Map<string, JobState>();
    for (const { id, state, intact } of this.#listing) {
      if (!intact) this.#fault('altered', `job ${id}`);
      if (stored.has(id)) this.#fault('doubled', `job ${id}`);
      if (atEnd && !ENDED.has(state)) this.#fault('missing', `end of job ${id}`);
      stored.set(id, state);
    }
    for (const [id, { isAdded, startedAt, endedAt, isGone }] of this.#known) {
      const state = stored.get(id);
      if (isGone && state !== undefined) this.#fault('revived', `job ${id}, which was removed`);
      // One that is removed when it is completed may have been, if anybody has begun with it.
      const mayBeGone = isRemoved(id) && startedAt !== undefined;
      if (state === undefined) {
        if (isAdded && !mayBeGone) this.#fault('missing', `job ${id}`);
      } else if (endedAt !== undefined && !ENDED.has(state)) this.#fault('missing', `end of job ${id}`);
    }
    this.#listing = [];
  }
}
