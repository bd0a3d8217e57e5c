/**
 * Packs: all that a commit has changed of the jobs of a queue stands in one record, however many jobs these are, since a store
 * pays by the record. Of the entries of a job the last one counts; a pack of which nothing counts any more is deleted.
 *
 * Whatever takes back what an older pack says must outlive it: the entry that says that a job is gone, and a body that was
 * written anew. So the older pack knows its followers, and none of them is deleted before it.
 *
 * Jobs that stay for long would keep packs of which hardly anything counts. When that makes up more than three quarters of all
 * packs of the queue, what counts of the oldest is written anew, a little with each commit; being the oldest, it follows none.
 */
import { ByteWriter } from '../../model/bytes.ts';
import type { Write } from '../../model/records.ts';
import type { MachineState } from '../state.ts';
import type { BullJob, BullPack, BullQueue } from './memory.ts';
import { PART, queuePartKey, startPack, writeBodyEntry, writeGoneEntry, writeStateEntry } from './records.ts';

/** A pack is closed before it grows beyond this many bytes; a job with more has one of its own. */
const PACK_BYTES: number = 256 * 1024;

/** Packs are written anew when they are longer than so many times what counts of them, and by these bytes besides. */
const MOST_SPREAD = 4;
const SLACK_BYTES: number = 64 * 1024;

/** One commit writes so much anew, or one job. */
const CLEANED_BYTES: number = 64 * 1024;

const scratch = new ByteWriter(8_192);

/** Makes a pack of which nothing counts yet. */
export function createPack(number: number): BullPack {
  return { number, bytes: 0, jobs: new Set(), followers: [], follows: 0 };
}

/** Lets a pack outlive an older one. What is called in the order of the newer packs is noted once. */
export function follow(newer: BullPack, older: BullPack): void {
  if (older.followers.at(-1) === newer) return;
  older.followers.push(newer);
  newer.follows += 1;
}

/** Notes that what counts of a job stands in this pack now: its body with its state, or its state alone. */
export function settleBody(job: BullJob, pack: BullPack, bytes: number): void {
  job.bodyPack = pack;
  job.bodyBytes = bytes;
  pack.jobs.add(job);
  job.queue.liveBytes += bytes;
}

export function settleState(job: BullJob, pack: BullPack, bytes: number): void {
  job.statePack = pack;
  job.stateBytes = bytes;
  pack.jobs.add(job);
  job.queue.liveBytes += bytes;
}

/** Writes what has changed of the jobs of a queue. */
export function flushPacks(state: MachineState, queue: BullQueue, writes: Write[]): void {
  const { changes } = queue;
  if (changes === undefined || changes.jobs.size + changes.erased.length === 0) return;
  new Packing(state, queue, writes).run(changes.jobs, changes.erased);
}

class Packing {
  readonly #state: MachineState;
  readonly #queue: BullQueue;
  readonly #writes: Write[];
  /** The pack that is being filled; what it says is in `scratch`. */
  #open: BullPack | undefined;

  constructor(state: MachineState, queue: BullQueue, writes: Write[]) {
    this.#state = state;
    this.#queue = queue;
    this.#writes = writes;
  }

  run(changed: ReadonlyMap<BullJob, { readonly body: boolean }>, erased: readonly BullJob[]): void {
    const bodies = erased.map((job) => job.bodyPack as BullPack);
    for (const job of erased) {
      this.#leaveState(job);
      this.#leaveBody(job);
    }
    for (const [job, { body }] of changed) {
      if (body || job.bodyPack === undefined) this.#putBody(job);
      else this.#putState(job);
    }
    erased.forEach(({ seq }, i) => {
      const pack = bodies[i] as BullPack;
      if (!this.#isThere(pack)) return;
      follow(this.#begin(0), pack);
      writeGoneEntry(scratch, seq);
    });
    this.#clean();
    this.#close();
  }

  #putBody(job: BullJob): void {
    const into = this.#begin(job.data.length + job.opts.length);
    const before = job.bodyPack;
    this.#leaveState(job);
    this.#leaveBody(job);
    if (before !== undefined && this.#isThere(before)) follow(into, before);
    const start = scratch.length;
    writeBodyEntry(scratch, job);
    settleBody(job, into, scratch.length - start);
  }

  #putState(job: BullJob): void {
    const into = this.#begin(0);
    this.#leaveState(job);
    const start = scratch.length;
    writeStateEntry(scratch, job);
    settleState(job, into, scratch.length - start);
  }

  /** Writes anew what counts of the oldest packs, where too much of them does not. */
  #clean(): void {
    const queue = this.#queue;
    let left = CLEANED_BYTES;
    for (const oldest of queue.packs) {
      if (queue.packBytes <= MOST_SPREAD * queue.liveBytes + SLACK_BYTES) return;
      for (const job of oldest.jobs) {
        if (left <= 0) return;
        left -= job.bodyPack === oldest ? job.bodyBytes : job.stateBytes;
        if (job.bodyPack === oldest) this.#putBody(job);
        else this.#putState(job);
      }
    }
  }

  /** The pack for what comes next, which is about so long. */
  #begin(bytes: number): BullPack {
    if (this.#open !== undefined && scratch.length + bytes > PACK_BYTES) this.#close();
    if (this.#open === undefined) {
      this.#open = createPack(this.#queue.nextPack++);
      startPack(scratch);
    }
    return this.#open;
  }

  /** Whether the store has this pack, or will have it. */
  #isThere(pack: BullPack): boolean {
    return pack === this.#open || this.#queue.packs.has(pack);
  }

  #close(): void {
    const pack = this.#open;
    this.#open = undefined;
    if (pack === undefined) return;
    const value = scratch.finish();
    pack.bytes = value.length;
    this.#queue.packs.add(pack);
    this.#queue.packBytes += pack.bytes;
    this.#writes.push({ kind: 'put', key: this.#keyOf(pack), value });
  }

  #leaveBody(job: BullJob): void {
    const { bodyPack } = job;
    job.bodyPack = undefined;
    this.#queue.liveBytes -= job.bodyBytes;
    job.bodyBytes = 0;
    if (bodyPack !== undefined) this.#leave(job, bodyPack);
  }

  #leaveState(job: BullJob): void {
    const { statePack } = job;
    job.statePack = undefined;
    this.#queue.liveBytes -= job.stateBytes;
    job.stateBytes = 0;
    if (statePack !== undefined) this.#leave(job, statePack);
  }

  #leave(job: BullJob, pack: BullPack): void {
    pack.jobs.delete(job);
    this.#dropUnneeded(pack);
  }

  /** Deletes a pack that is not needed, and those that were there for its sake alone. */
  #dropUnneeded(first: BullPack): void {
    const doubtful = [first];
    for (let pack = doubtful.pop(); pack !== undefined; pack = doubtful.pop()) {
      // One that is being filled is not among them yet.
      if (isNeeded(pack) || !this.#queue.packs.delete(pack)) continue;
      this.#queue.packBytes -= pack.bytes;
      this.#writes.push({ kind: 'delete', key: this.#keyOf(pack) });
      for (const follower of pack.followers) {
        follower.follows -= 1;
        doubtful.push(follower);
      }
      pack.followers = [];
    }
  }

  #keyOf({ number }: BullPack): Uint8Array {
    return queuePartKey(this.#state, this.#queue, PART.pack, number);
  }
}

function isNeeded({ jobs, follows }: BullPack): boolean {
  return jobs.size + follows > 0;
}
