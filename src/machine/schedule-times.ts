/** When a schedule has its next tick, and its place in the order of what is due. */
import { nextTime, type Recurrence } from '../model/recurrence.ts';
import { MAX_TICK_AT } from '../model/schedule.ts';
import { KIND } from './layout.ts';
import type { DueClock } from './memory.ts';
import type { Schedule } from './schedule.ts';
import { encodeSchedule } from './schedule-record.ts';
import { type MachineState, put } from './state.ts';

/** While ticks are held back for want of room in the store, it is looked again after so long, in milliseconds. */
const HELD_LOOK_MS = 1_000;

/** The clock that a schedule goes by: cron by the wall clock, intervals by machine time. */
function clockOf({ settings }: Schedule): DueClock {
  return 'cron' in settings.rule ? 1 : 0;
}

/** What that clock shows. */
export function timeOf(state: MachineState, schedule: Schedule): number {
  return clockOf(schedule) === 0 ? state.now : state.wall;
}

export function recurrenceOf({ settings: { rule }, anchorAt }: Schedule): Recurrence {
  return 'cron' in rule ? rule : { everyMs: rule.everyMs, anchorAt };
}

/** The first time behind this one that start and end allow; 0 for none. */
export function timeAfter(schedule: Schedule, after: number): number {
  const { startAt, endAt = MAX_TICK_AT } = schedule.settings;
  const from = startAt === undefined ? after : Math.max(after, startAt - 1);
  let next: number | undefined;
  try {
    next = nextTime(recurrenceOf(schedule), from);
  } catch (error) {
    // It was read before, by an engine that knows other time zones than this one.
    schedule.failure = (error as Error).message;
    return 0;
  }
  return next === undefined || next > endAt || next > MAX_TICK_AT ? 0 : next;
}

/** Gives a schedule its next tick, 0 for none, unless it has had all of them, and its place in the order. */
export function setNext(state: MachineState, schedule: Schedule, time: number, random: () => number): void {
  unplace(state, schedule);
  const { jitterMs, limit = Infinity } = schedule.settings;
  const nextAt = schedule.ticks < limit ? time : 0;
  schedule.nextAt = nextAt;
  schedule.dueAt = nextAt === 0 || jitterMs === 0 ? nextAt : nextAt + Math.floor(random() * (jitterMs + 1));
  place(state, schedule);
}

/** Puts a schedule into the order of what is due, if it is to have a next tick. */
export function place({ schedules }: MachineState, schedule: Schedule): void {
  if (schedule.isPlaced || schedule.isPaused || schedule.nextAt === 0) return;
  schedules.due[clockOf(schedule)].add(schedule);
  schedule.isPlaced = true;
}

export function unplace({ schedules }: MachineState, schedule: Schedule): void {
  if (!schedule.isPlaced) return;
  schedules.due[clockOf(schedule)].remove(schedule);
  schedule.isPlaced = false;
}

/** Writes the record of a schedule. */
export function keepSchedule(state: MachineState, schedule: Schedule): void {
  put(state, state.layout.key(KIND.schedule, schedule.number), encodeSchedule(schedule));
}

/** The message of a schedule's last tick has ended, or is on its way through another channel. */
export function tickEnded(state: MachineState, seq: number): void {
  const schedule = state.schedules.running.get(seq);
  if (schedule === undefined) return;
  state.schedules.running.delete(seq);
  schedule.lastSeq = 0;
  if (schedule.settings.overlap === 'queue') {
    schedule.queuedUpTo = Math.max(schedule.queuedUpTo, timeOf(state, schedule));
    place(state, schedule);
  }
  keepSchedule(state, schedule);
}

/** When schedules need the machine next. */
export function nextTicks({ schedules: { due, isHeld }, now }: MachineState): { machine: number; wall: number } {
  const machine = due[0].first()?.dueAt ?? Infinity;
  const wall = due[1].first()?.dueAt ?? Infinity;
  if (!isHeld || Math.min(machine, wall) === Infinity) return { machine, wall };
  return { machine: now + HELD_LOOK_MS, wall: Infinity };
}
