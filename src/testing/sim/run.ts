/** Runs one seed: chaos, healing, rest, and a look at what is left. */
import type { Violation } from './checker.ts';
import { isAlive } from './ledger.ts';
import { REST_WITHIN_MS } from './invariants/rest.ts';
import { summarizeMetrics } from '../../model/metrics.ts';
import { KIND, Layout } from '../../machine/layout.ts';
import { canonical } from './commit-content.ts';
import type { Mark } from './marks.ts';
import type { KeptMessage, SimRecord } from './records.ts';
import { Simulation, type SimulationOptions, SPACE } from './simulation.ts';
import type { Worker } from './worker.ts';

export interface SimResult {
  readonly seed: number;
  /** The same for the same seed and the same code. */
  readonly hash: string;
  readonly violations: readonly Violation[];
  readonly marks: ReadonlyMap<Mark, number>;
  readonly events: number;
  readonly faults: number;
  readonly messages: number;
  /** Simulated time with work and faults in it, and all of it. */
  readonly busyMs: number;
  readonly totalMs: number;
  /** The last lines of the trace. */
  readonly tail: readonly string[];
  readonly history: readonly SimRecord[];
}

/** The journal is kept for a day. */
const AFTERMATH_MS: number = 26 * 3_600_000;

const TAIL_LINES = 60;

export async function simulate(options: SimulationOptions): Promise<SimResult> {
  const sim = new Simulation(options);
  let busyMs = 0;
  try {
    busyMs = await live(sim);
  } catch (error) {
    sim.broken('the simulation', error);
  }
  return {
    seed: options.seed,
    hash: sim.trace.hash,
    violations: sim.violations,
    marks: sim.marks,
    events: sim.time.events,
    faults: sim.faults.injected,
    messages: sim.checker.ledger.messages.size,
    busyMs,
    totalMs: sim.time.nowMs,
    tail: sim.trace.tail(TAIL_LINES),
    history: sim.history,
  };
}

async function live(sim: Simulation): Promise<number> {
  for (let i = 1; i <= sim.scenario.processes; i++) sim.startProcess(`member ${i}`);
  sim.faults.start();
  watchIdle(sim);
  await sim.pass(sim.scenario.chaosMs);
  const healedAt = heal(sim);
  const restAt = await rest(sim);
  sim.isAtRest = true;
  const busyMs = sim.time.nowMs;
  if (sim.violations.length > 0) return busyMs;
  if (restAt !== undefined) {
    await inspect(sim, 'at rest');
    if (sim.scenario.reopens) await reopen(sim);
    await sweep(sim);
  }
  if (sim.violations.length > 0) return busyMs;
  const left = recordsLeft(sim);
  if (restAt === undefined) for (const op of sim.pendingOps.slice(0, 3)) sim.note(`#${op} was never answered`);
  sim.record({
    kind: 'ended',
    at: sim.time.nowMs,
    healedAt,
    restAt,
    left,
    sessions: sim.workers.size,
  });
  return busyMs;
}

function watchIdle(sim: Simulation): void {
  sim.time.after(1_000, () => {
    if (sim.isAtRest) return;
    sim.lookForIdle();
    sim.lookForUnserved();
    watchIdle(sim);
  });
}

function heal(sim: Simulation): number {
  sim.note('all faults are over');
  sim.isHealed = true;
  sim.faults.heal();
  sim.disturb();
  for (const worker of sim.workers) void worker.care();
  return sim.time.nowMs;
}

/** Lets time pass until everything has ended and every call is answered; `undefined` when that does not come. */
async function rest(sim: Simulation): Promise<number | undefined> {
  const { messages } = sim.checker.ledger;
  let restAt: number | undefined;
  let lookedAt = -1;
  await sim.pass(REST_WITHIN_MS, () => {
    const { nowMs } = sim.time;
    if (nowMs < lookedAt + 500) return false;
    lookedAt = nowMs;
    const isDone = sim.pendingCalls === 0 && sim.schedules.length === 0 && ![...messages.values()].some(isAlive);
    // Somebody may still believe to lead.
    const atRest = isDone && sim.isQuiet && carer(sim) !== undefined;
    if (atRest) restAt = nowMs;
    return atRest;
  });
  return restAt;
}

/** A worker that can ask the broker. */
function carer(sim: Simulation): Worker | undefined {
  return [...sim.workers].find(
    ({ client, process }) => client !== undefined && client.failure === undefined && sim.isConnected(process),
  );
}

const STATES = ['ready', 'delayed', 'leased', 'waiting', 'completed', 'dead', 'cancelled'] as const;

async function inspect(sim: Simulation, moment: 'at rest' | 'opened anew'): Promise<void> {
  await ask(sim, async (worker) => {
    const views = [];
    const kept: KeptMessage[] = [];
    const counted = [];
    for (const { channel } of worker.channels.values()) {
      views.push(await channel.inspect());
      counted.push({ channel: channel.name, counts: summarizeMetrics(await channel.metrics({ from: 0 })).counts });
      for (const state of STATES) {
        for (let offset = 0; ; offset += 100) {
          const messages = await channel.list(state, { offset, limit: 100 });
          for (const { id, message, failure, result } of messages) {
            kept.push({
              id,
              channel: channel.name,
              state,
              content: canonical(message),
              failure: failure?.message,
              result: result === undefined ? undefined : canonical(result),
            });
          }
          if (messages.length < 100) break;
        }
      }
    }
    const shown = views.filter((view) => view !== null);
    sim.record({ kind: 'inspected', at: sim.time.nowMs, moment, views: shown, counted, kept });
  });
}

/** Runs calls of a worker to their end, in simulated time. */
async function ask(sim: Simulation, calls: (worker: Worker) => Promise<void>): Promise<void> {
  const worker = carer(sim);
  if (worker === undefined) return;
  let done = false;
  calls(worker).then(
    () => {
      done = true;
    },
    (error: unknown) => {
      sim.broken('a look at the end', error);
    },
  );
  await sim.pass(60_000, () => done);
  if (!done) sim.broken('a look at the end', 'it was not answered');
}

/** Crashes the leader once more; what the next one shows afterwards must be the same. */
async function reopen(sim: Simulation): Promise<void> {
  if (sim.leader !== undefined) sim.kill(sim.leader);
  await sim.pass(60_000, () => carer(sim) !== undefined);
  await inspect(sim, 'opened anew');
}

/** Has everything that ended taken away, and lets a day pass so that the journal goes too. */
async function sweep(sim: Simulation): Promise<void> {
  // Whoever has just connected declares its channels first, which sets their retention.
  await sim.pass(20_000);
  await keepNothing(sim);
  await sim.pass(1_000);
  // Nobody is there for that day, so that no signs of life have to be simulated.
  sim.isOver = true;
  for (const process of sim.processes) sim.kill(process);
  await sim.pass(AFTERMATH_MS);
  sim.startProcess('late');
  await sim.pass(60_000);
  await keepNothing(sim);
  await ask(sim, async (worker) => {
    const open = worker.channels.get('follow/ups');
    if (open !== undefined) await worker.produce(open, [sim.newContent(undefined)], undefined, false);
  });
  await sim.pass(120_000);
}

async function keepNothing(sim: Simulation): Promise<void> {
  await ask(sim, async (worker) => {
    for (const { channel } of worker.channels.values()) {
      await channel.retain({ completed: { count: 0 }, dead: { count: 0 } });
    }
  });
}

const KIND_NAMES = Object.entries(KIND);

/** How many records of each kind the store holds. */
function recordsLeft(sim: Simulation): Record<string, number> {
  const layout = new Layout(SPACE);
  const left: Record<string, number> = {};
  for (const [name, kind] of KIND_NAMES) {
    const { from, to } = layout.range(kind);
    let count = 0;
    for (const _entry of sim.disk.data.entries.items({ from, to })) count += 1;
    left[name] = count;
  }
  return left;
}
