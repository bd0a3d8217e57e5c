import type {
  BullAdd,
  BullAnswer,
  BullArgs,
  BullCommand,
  BullMethod,
  BullNext,
  BullTake,
} from '#holdfast/model/bull.js';
import type { Notice } from '#holdfast/model/command.js';
import { type MachineClient, MachineRun } from './machine-run.ts';

export const TAKE: BullTake = { token: 'token', lockMs: 30_000, maxStalled: 1 };

/** A queue of BullMQ's in a machine without a broker, and one who uses it. */
export class BullRun {
  readonly run: MachineRun;
  readonly client: MachineClient;
  readonly queue: string;

  constructor(run: MachineRun = new MachineRun(), name: string = 'client', queue: string = 'bull:mail') {
    this.run = run;
    this.client = run.client(name);
    this.queue = queue;
  }

  /** Another session at the same queue. */
  other(name: string): BullRun {
    return new BullRun(this.run, name, this.queue);
  }

  ask<M extends BullMethod>(method: M, args: BullArgs<M>, queue: string = this.queue): BullAnswer<M> {
    const command = { kind: 'bull', queue, method, asks: [args] } as unknown as BullCommand;
    const reply = this.client.ask(command);
    if (reply.kind !== 'bull' || reply.refusals.length > 0) throw new Error(`The answer is ${JSON.stringify(reply)}`);
    // Answers travel as JSON.
    return JSON.parse(JSON.stringify(reply.values[0])) as BullAnswer<M>;
  }

  /** Adds a job and gives its id. */
  add(rest: Partial<BullAdd> = {}): string {
    const [outcome] = this.tryAdd(rest);
    if (typeof outcome !== 'string') throw new Error(`The job was not added: ${outcome}`);
    return outcome;
  }

  tryAdd(...jobs: readonly Partial<BullAdd>[]): readonly (string | number)[] {
    const full = jobs.map((rest) => ({
      id: '',
      name: 'job',
      data: '{}',
      opts: '{}',
      timestamp: this.run.now,
      ...rest,
    }));
    return this.ask('add', { jobs: full });
  }

  claim(take: Partial<BullTake> = {}): BullNext {
    return this.ask('claim', { now: this.run.now, take: { ...TAKE, ...take } });
  }

  /** Takes all that there is to take, and gives the ids. */
  claimAll(): string[] {
    const ids: string[] = [];
    for (let { job } = this.claim(); job !== null; { job } = this.claim()) ids.push(job.id);
    return ids;
  }

  finish(id: string, rest: Partial<BullArgs<'finish'>> = {}): BullNext | number {
    const how = { state: 'completed', value: '1', keep: {}, attempts: 1, metricsSize: 0, ...rest } as const;
    return this.ask('finish', { id, token: TAKE.token, now: this.run.now, ...how });
  }

  fail(id: string, rest: Partial<BullArgs<'finish'>> = {}): BullNext | number {
    return this.finish(id, { state: 'failed', value: 'boom', ...rest });
  }

  counts(): Record<string, number> {
    const states = ['wait', 'prioritized', 'delayed', 'active', 'waiting-children', 'completed', 'failed'];
    const counts = this.ask('counts', { states });
    return Object.fromEntries(states.map((state, i) => [state, counts[i] ?? 0]).filter(([, count]) => count !== 0));
  }

  ids(state: string, asc: boolean = true): readonly string[] {
    return this.ask('ranges', { states: [state], start: 0, end: -1, asc })[0] ?? [];
  }

  /** The events so far, each as `name:job`. */
  events(after: string = '0-0'): string[] {
    return this.ask('events', { after, waiter: 1 }).events.map(([, fields]) => {
      const named = Object.fromEntries(fields.flatMap((field, i) => (i % 2 === 0 ? [[field, fields[i + 1]]] : [])));
      return named['jobId'] === undefined ? String(named['event']) : `${named['event']}:${named['jobId']}`;
    });
  }

  /** What it was told while it waited. */
  told(): Extract<Notice, { kind: 'bull' }>[] {
    this.run.flush();
    const own = this.run.notices.filter(({ session }) => session === this.client.name).map(({ notice }) => notice);
    this.run.notices.length = 0;
    return own.filter((notice): notice is Extract<Notice, { kind: 'bull' }> => notice.kind === 'bull');
  }

  /** All that can be seen of a queue, to compare it before and after a restart. */
  seen(): unknown {
    const states = ['wait', 'prioritized', 'delayed', 'active', 'waiting-children', 'completed', 'failed'];
    const ranges = this.ask('ranges', { states, start: 0, end: -1, asc: true });
    const jobs = ranges
      .flat()
      .map((id) => [
        this.ask('job', { id }),
        this.ask('logs', { id, start: 0, end: -1, asc: true }),
        (['processed', 'unprocessed', 'ignored', 'failed'] as const).map((of) =>
          Object.fromEntries(this.ask('children', { id, of, start: 0, limit: 100, jobs: false }).items),
        ),
      ]);
    return {
      ranges,
      jobs,
      meta: this.ask('meta', {}),
      schedulers: this.ask('schedulers', { start: 0, end: -1, asc: true }),
      metrics: this.ask('metrics', { of: 'completed', start: 0, end: -1 }),
      events: this.ask('events', { after: '0-0', waiter: 1 }),
      dedupe: ['a', 'b'].map((dedupeId) => this.ask('dedupeJob', { dedupeId })),
      limit: this.ask('rateLimitTtl', { max: 0 }),
    };
  }
}
