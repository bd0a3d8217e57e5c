/**
 * Ticks: what schedules produce when their time has come. The message and the time of the next tick are in one commit, so each tick
 * comes once, whoever leads.
 *
 * The messages are cold: a step reads those of the schedules that are due, and goes on with the ones that it has by then.
 */
import { bytesOf } from '../model/bytes.ts';
import { type Tick, tickBlock } from '../model/block.ts';
import { latestTime } from '../model/recurrence.ts';
import { tickId } from '../model/schedule.ts';
import type { ColdView, Need } from './cold.ts';
import { KIND } from './layout.ts';
import { produceBlocks } from './produce.ts';
import type { Schedule } from './schedule.ts';
import { keepSchedule, recurrenceOf, setNext, timeAfter, timeOf, unplace } from './schedule-times.ts';
import type { MachineState } from './state.ts';

/** How many ticks one step produces at most, about how many bytes of messages it reads for that, and about how many it writes. */
const STEP_TICKS = 250;
const STEP_READ_BYTES: number = 4 * 1024 * 1024;
const STEP_WRITE_BYTES: number = 256 * 1024;

/** A tick that is later than this has been missed, in milliseconds. */
export const LATE_MS = 60_000;

/** After so many ticks in a row that have come late, a schedule goes on with the last one that is due. */
export const MAX_LATE_TICKS = 10_000;

/** Whether a schedule has a tick that is due. */
export function hasTicks({ schedules: { due, isHeld }, now, wall }: MachineState): boolean {
  if (isHeld) return false;
  return (due[0].first()?.dueAt ?? Infinity) <= now || (due[1].first()?.dueAt ?? Infinity) <= wall;
}

/** What the next step needs; `undefined` when the view holds enough to go on. */
export function planTicks(state: MachineState, view: ColdView): Need | undefined {
  const due = dueSchedules(state);
  const keys = due.map(({ number }) => state.layout.key(KIND.template, number));
  const [first] = keys;
  return first === undefined || view.get(first) !== undefined ? undefined : { keys, ranges: [] };
}

export function applyTicks(state: MachineState, view: ColdView, random: () => number): void {
  const due = dueSchedules(state);
  // Each gets its share: one that has much to make up for does not hold up the others.
  const share = Math.max(1, Math.floor(STEP_TICKS / due.length));
  for (const schedule of due) {
    const template = view.get(state.layout.key(KIND.template, schedule.number));
    if (template === undefined) continue;
    if (state.changes.bytes >= STEP_WRITE_BYTES) return;
    if (template.value === undefined) fail(state, schedule, 'Its message is missing');
    else makeUp(state, schedule, template.value, share, random);
    keepSchedule(state, schedule);
  }
}

/** Produces the message of a schedule once more, beside those that its rule gives. */
export function runNow(state: MachineState, schedule: Schedule, template: Uint8Array, id: Uint8Array): void {
  const at = Math.floor(timeOf(state, schedule));
  produceTick(state, schedule, template, id, { key: schedule.key, at, manual: true });
  keepSchedule(state, schedule);
}

function dueSchedules({ schedules: { due }, now, wall }: MachineState): Schedule[] {
  const found: Schedule[] = [];
  let bytes = 0;
  for (const clock of [0, 1] as const) {
    const time = clock === 0 ? now : wall;
    for (let rank = 0; found.length < STEP_TICKS && bytes < STEP_READ_BYTES; rank++) {
      const schedule = due[clock].at(rank);
      if (schedule === undefined || schedule.dueAt > time) break;
      found.push(schedule);
      bytes += schedule.templateBytes;
    }
  }
  return found;
}

/** Does what is due of one schedule, up to its share of the step. */
function makeUp(
  state: MachineState,
  schedule: Schedule,
  template: Uint8Array,
  share: number,
  random: () => number,
): void {
  for (let i = 0; i < share && isDue(state, schedule) && state.changes.bytes < STEP_WRITE_BYTES; i++) {
    const { overlap, missed } = schedule.settings;
    if (schedule.lastSeq !== 0 && overlap === 'queue') return unplace(state, schedule);
    const successor = timeAfter(schedule, schedule.nextAt);
    const isOvertaken = successor !== 0 && successor <= passedUpTo(state, schedule);
    const latest = (): number => (isOvertaken ? latestPassed(state, schedule) : schedule.nextAt);
    const isRunning = schedule.lastSeq !== 0;
    const at = isRunning ? latest() : choose(state, schedule, isOvertaken, latest);
    const comes = !isRunning && !(missed === 'skip' && isTooLate(state, schedule, at));
    if (!comes || at !== schedule.nextAt) schedule.skippedAt = schedule.nextAt;
    if (comes) {
      const id = tickId(bytesOf(schedule.seed), at);
      produceTick(state, schedule, template, id, { key: schedule.key, at, manual: false });
      schedule.ticks += 1;
      schedule.lastAt = at;
    }
    setNext(state, schedule, at === schedule.nextAt ? successor : timeAfter(schedule, at), random);
  }
}

function isDue(state: MachineState, schedule: Schedule): boolean {
  return schedule.isPlaced && schedule.dueAt <= timeOf(state, schedule);
}

/** Which of the ticks that are due is the next to come, if it is not too late for it. */
function choose(state: MachineState, schedule: Schedule, isOvertaken: boolean, latest: () => number): number {
  const { nextAt, queuedUpTo, settings } = schedule;
  const isMissed = isOvertaken || isTooLate(state, schedule, nextAt);
  schedule.late = isMissed ? schedule.late + 1 : 0;
  const isMadeUpFor = settings.missed === 'all' || nextAt <= queuedUpTo;
  if (!isMissed || (isMadeUpFor && schedule.late <= MAX_LATE_TICKS)) return nextAt;
  schedule.late = 0;
  return latest();
}

function isTooLate(state: MachineState, schedule: Schedule, at: number): boolean {
  return at > schedule.queuedUpTo && passedUpTo(state, schedule) - at > LATE_MS;
}

/** Ticks up to this time should have come, however late chance would have them. */
function passedUpTo(state: MachineState, schedule: Schedule): number {
  return timeOf(state, schedule) - schedule.settings.jitterMs;
}

function latestPassed(state: MachineState, schedule: Schedule): number {
  const { endAt = Infinity } = schedule.settings;
  const upTo = Math.min(endAt, passedUpTo(state, schedule));
  return latestTime(recurrenceOf(schedule), schedule.nextAt, upTo);
}

function produceTick(state: MachineState, schedule: Schedule, template: Uint8Array, id: Uint8Array, tick: Tick): void {
  const { channel, policy, settings } = schedule;
  const seq = state.nextSeq;
  // As with messages that come along with an ack, a full backlog does not hold it up: nobody would try again.
  const exceptions = produceBlocks(state, undefined, { channel, policy }, [tickBlock(template, id, tick)], Infinity);
  if (settings.overlap === 'allow' || exceptions.length > 0) return;
  schedule.lastSeq = seq;
  state.schedules.running.set(seq, schedule);
}

function fail(state: MachineState, schedule: Schedule, why: string): void {
  schedule.failure = why;
  schedule.nextAt = 0;
  schedule.dueAt = 0;
  unplace(state, schedule);
}
