/** Chores: work without a bound, done in steps of which each has cold records of its own. One has its turn at a time. */
import { applyBulkStep, nextBulk, planBulk } from './bulks.ts';
import { type ColdView, lacking, type Need } from './cold.ts';
import { applyCompaction, planCompaction } from './compact.ts';
import { applySweep, planSweep } from './kv.ts';
import { applyRedrive, planRedrive } from './manage.ts';
import type { Channel } from './memory.ts';
import type { MachineState } from './state.ts';
import { applyTicks, hasTicks, planTicks } from './ticks.ts';
import { applyUndelivered, planUndelivered } from './undelivered.ts';

interface Chore {
  readonly plan: (view: ColdView) => Need | undefined;
  readonly apply: (view: ColdView, random: () => number) => void;
}

/** The work whose turn it is; `undefined` when there is none. Ticks of schedules and everything else take turns. */
export function nextChore(state: MachineState): Chore | undefined {
  const { schedules } = state;
  const ticks = hasTicks(state) ? tickChore(state) : undefined;
  const other = ticks === undefined || schedules.hadTurn ? otherChore(state) : undefined;
  if (other === undefined) return ticks;
  const apply = (view: ColdView): void => {
    schedules.hadTurn = false;
    other.apply(view, NO_CHANCE);
  };
  return { plan: other.plan, apply };
}

/** All work but that of schedules leaves nothing to chance. */
const NO_CHANCE = (): number => 0;

function tickChore(state: MachineState): Chore {
  const apply = (view: ColdView, random: () => number): void => {
    state.schedules.hadTurn = true;
    applyTicks(state, view, random);
  };
  return { plan: (view) => planTicks(state, view), apply };
}

function otherChore(state: MachineState): Chore | undefined {
  const channel = redriving(state);
  if (channel !== undefined) {
    const plan = (view: ColdView): Need | undefined => lacking(planRedrive(state, channel), view);
    return { plan, apply: (view) => applyRedrive(state, channel, view) };
  }
  if (state.givenUp.size > 0) {
    return { plan: (view) => planUndelivered(state, view), apply: (view) => applyUndelivered(state, view) };
  }
  const compaction = planCompaction(state);
  if (compaction !== undefined) {
    return { plan: (view) => lacking(compaction, view), apply: (view) => applyCompaction(state, view) };
  }
  if (state.kvExpiresAt > state.now) return bulkStep(state);
  return { plan: (view) => planSweep(state, view), apply: (view) => applySweep(state, view) };
}

function bulkStep(state: MachineState): Chore | undefined {
  const bulk = nextBulk(state);
  return bulk && { plan: (view) => planBulk(state, bulk, view), apply: (view) => applyBulkStep(state, bulk, view) };
}

function redriving(state: MachineState): Channel | undefined {
  for (const channel of state.busyChannels) if (channel.redriveLeft !== 0) return channel;
  return undefined;
}
