/** Schedules: made and changed, paused and removed, shown. What they produce is in `ticks.ts`. */
import { BlockReader } from '../model/block.ts';
import { bytesOf, textOf } from '../model/bytes.ts';
import type { Reply } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import { messageIdText } from '../model/message-id.ts';
import { checkCron } from '../model/recurrence.ts';
import {
  type InspectSchedule,
  type ManageSchedule,
  MAX_SCHEDULE_LIST,
  MAX_SCHEDULES,
  MISSED,
  OVERLAP,
  type SchedulePage,
  type ScheduleSettings,
  type ScheduleView,
  tickId,
  type UpsertSchedule,
} from '../model/schedule.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import type { ColdView, Need } from './cold.ts';
import { KIND } from './layout.ts';
import type { ChannelRef, Session } from './memory.ts';
import { refusalOnSchedule, refusalToProduce } from './rights.ts';
import type { Schedule } from './schedule.ts';
import type { StoredSchedule } from './schedule-record.ts';
import { keepSchedule, place, setNext, timeAfter, timeOf, unplace } from './schedule-times.ts';
import { erase, type MachineState, put } from './state.ts';
import { runNow } from './ticks.ts';

const DONE: Reply = { kind: 'done' };

/** How many schedules one list passes over at most, because the session may not read them, or because they are of other channels. */
const MAX_PASSED = 1_000;

/** Takes in a schedule that was read; the messages have been read before. */
export function addSchedule(state: MachineState, stored: StoredSchedule): void {
  const channel = state.channelNumbers.get(stored.channel);
  const policy = state.policyNumbers.get(stored.policy);
  if (channel === undefined || policy === undefined) {
    throw new HoldfastError('STORE_CORRUPT', 'Cannot find the channel or the rules that a schedule names');
  }
  add(state, { ...stored, channel, policy });
}

export function applyUpsertSchedule(
  state: MachineState,
  session: Session,
  command: UpsertSchedule,
  random: () => number,
): Reply {
  const target = session.refs.get(command.ref) as ChannelRef;
  const found = state.schedules.byKey.get(command.key);
  const refusal = refusalToUpsert(state, session, target, command, found);
  if (refusal !== undefined) return refusal;
  const schedule = found ?? create(state, target, command);
  const isNew = found === undefined || !isSameSeries(found.settings, command.settings) || found.failure !== '';
  unplace(state, schedule);
  schedule.channel = target.channel;
  schedule.policy = target.policy;
  schedule.settings = compact(command.settings);
  schedule.templateBytes = command.template.length;
  if (command.settings.overlap === 'allow') forgetRunning(state, schedule);
  if (isNew) begin(state, schedule, command.immediately, random);
  else goOn(state, schedule, random);
  put(state, templateKey(state, schedule), command.template.slice());
  keepSchedule(state, schedule);
  return { kind: 'value', value: schedule.isPaused ? 0 : schedule.nextAt };
}

export function planManageSchedule(state: MachineState, command: ManageSchedule, view: ColdView): Need | undefined {
  return command.action === 'run' ? lackingTemplate(state, command.key, view) : undefined;
}

export function applyManageSchedule(
  state: MachineState,
  session: Session,
  command: ManageSchedule,
  random: () => number,
  view: ColdView,
): Reply {
  const { action, key } = command;
  const schedule = state.schedules.byKey.get(key);
  if (schedule === undefined || rightsOn(session.grant, schedule.channel.name) === 0) {
    return { kind: 'refused', code: 'NOT_FOUND', message: `Cannot ${action} schedule "${key}": there is none` };
  }
  const refusal = refusalOnSchedule(session, schedule.channel.name, action === 'run' ? 'produce' : 'admin');
  if (refusal !== undefined) return refusal;
  switch (action) {
    case 'pause':
      schedule.isPaused = true;
      unplace(state, schedule);
      break;
    case 'resume':
      if (!schedule.isPaused) return DONE;
      schedule.isPaused = false;
      // What has passed meanwhile was not missed: nobody wanted it.
      setNext(state, schedule, timeAfter(schedule, Math.max(timeOf(state, schedule), schedule.lastAt)), random);
      break;
    case 'remove':
      remove(state, schedule);
      return DONE;
    case 'run':
      return run(state, schedule, command, view);
  }
  keepSchedule(state, schedule);
  return DONE;
}

export function planInspectSchedule(state: MachineState, command: InspectSchedule, view: ColdView): Need | undefined {
  return command.what === 'schedule' ? lackingTemplate(state, command.key, view) : undefined;
}

export function applyInspectSchedule(
  state: MachineState,
  session: Session,
  command: InspectSchedule,
  view: ColdView,
): Reply {
  if (command.what === 'schedules') return { kind: 'value', value: viewPage(state, session, command) };
  const schedule = state.schedules.byKey.get(command.key);
  if (schedule === undefined || rightsOn(session.grant, schedule.channel.name) === 0) {
    return { kind: 'value', value: null };
  }
  const refusal = refusalOnSchedule(session, schedule.channel.name, 'read');
  if (refusal !== undefined) return refusal;
  const template = view.get(templateKey(state, schedule))?.value;
  return { kind: 'value', value: viewSchedule(schedule, template) };
}

function refusalToUpsert(
  state: MachineState,
  session: Session,
  target: ChannelRef,
  { key, settings, template }: UpsertSchedule,
  found: Schedule | undefined,
): Reply | undefined {
  const { channel } = target;
  const refusal =
    refusalToProduce(session, target, [template]) ??
    refusalOnSchedule(session, channel.name, 'admin') ??
    (found === undefined ? undefined : refusalOnSchedule(session, found.channel.name, 'admin'));
  if (refusal !== undefined) return refusal;
  if (found === undefined && state.schedules.byKey.size >= MAX_SCHEDULES) {
    const message = `Cannot make schedule "${key}": a space has at most ${MAX_SCHEDULES}`;
    return { kind: 'refused', code: 'TOO_MANY', message };
  }
  try {
    if ('cron' in settings.rule) checkCron(settings.rule.cron, settings.rule.timeZone);
    return undefined;
  } catch (error) {
    // The client has checked it too, and knows patterns or time zones that this engine does not.
    return { kind: 'refused', code: 'PROTOCOL', message: (error as Error).message };
  }
}

function create(state: MachineState, { channel, policy }: ChannelRef, command: UpsertSchedule): Schedule {
  const schedule: Schedule = {
    number: state.schedules.nextNumber,
    key: command.key,
    seed: textOf(command.seed),
    createdAt: Math.floor(state.now),
    channel,
    policy,
    settings: compact(command.settings),
    anchorAt: 0,
    templateBytes: 0,
    isPaused: false,
    failure: '',
    nextAt: 0,
    dueAt: 0,
    isPlaced: false,
    ticks: 0,
    lastAt: 0,
    lastSeq: 0,
    skippedAt: 0,
    late: 0,
    queuedUpTo: 0,
  };
  add(state, schedule);
  return schedule;
}

function add(state: MachineState, schedule: Schedule): void {
  const { byKey, order, running } = state.schedules;
  byKey.set(schedule.key, schedule);
  order.add(schedule);
  if (schedule.lastSeq !== 0) running.set(schedule.lastSeq, schedule);
  state.schedules.nextNumber = Math.max(state.schedules.nextNumber, schedule.number + 1);
  place(state, schedule);
}

/** The first tick of a rule that is new; never one that the schedule has had. */
function begin(state: MachineState, schedule: Schedule, immediately: boolean, random: () => number): void {
  const now = Math.floor(timeOf(state, schedule));
  Object.assign(schedule, {
    failure: '',
    ticks: 0,
    late: 0,
    queuedUpTo: 0,
    anchorAt: schedule.settings.startAt ?? now,
  });
  const { endAt = Infinity } = schedule.settings;
  const isAtOnce = immediately && now > schedule.lastAt && now <= endAt;
  setNext(state, schedule, isAtOnce ? now : timeAfter(schedule, Math.max(now, schedule.lastAt)), random);
}

/** The next tick of a rule that is the same as before, though the end or the limit may be others. */
function goOn(state: MachineState, schedule: Schedule, random: () => number): void {
  const { nextAt, settings } = schedule;
  const isAllowed =
    nextAt !== 0 && nextAt <= (settings.endAt ?? Infinity) && schedule.ticks < (settings.limit ?? Infinity);
  if (isAllowed) place(state, schedule);
  else setNext(state, schedule, timeAfter(schedule, Math.max(timeOf(state, schedule), schedule.lastAt)), random);
}

/** The same settings in one shape, whatever made them, and with texts that all schedules share. */
function compact({ rule, startAt, endAt, limit, jitterMs, missed, overlap }: ScheduleSettings): ScheduleSettings {
  return {
    rule,
    startAt,
    endAt,
    limit,
    jitterMs,
    missed: MISSED.find((one) => one === missed) ?? missed,
    overlap: OVERLAP.find((one) => one === overlap) ?? overlap,
  };
}

function isSameSeries(a: ScheduleSettings, b: ScheduleSettings): boolean {
  if (a.startAt !== b.startAt) return false;
  if ('cron' in a.rule) return 'cron' in b.rule && a.rule.cron === b.rule.cron && a.rule.timeZone === b.rule.timeZone;
  return 'everyMs' in b.rule && a.rule.everyMs === b.rule.everyMs;
}

function forgetRunning(state: MachineState, schedule: Schedule): void {
  state.schedules.running.delete(schedule.lastSeq);
  schedule.lastSeq = 0;
}

function remove(state: MachineState, schedule: Schedule): void {
  unplace(state, schedule);
  forgetRunning(state, schedule);
  state.schedules.byKey.delete(schedule.key);
  state.schedules.order.remove(schedule);
  erase(state, state.layout.key(KIND.schedule, schedule.number));
  erase(state, templateKey(state, schedule));
}

function run(state: MachineState, schedule: Schedule, { key, id }: ManageSchedule, view: ColdView): Reply {
  if (schedule.lastSeq !== 0) {
    const message = `Cannot run schedule "${key}" now: its last message has not ended, and "overlap" is "${schedule.settings.overlap}"`;
    return { kind: 'refused', code: 'WRONG_STATE', message };
  }
  const template = view.get(templateKey(state, schedule))?.value;
  if (template === undefined || id === undefined) {
    return {
      kind: 'refused',
      code: 'PROTOCOL',
      message: `Cannot run schedule "${key}": its message, or the id, is missing`,
    };
  }
  runNow(state, schedule, template, id);
  return DONE;
}

function lackingTemplate(state: MachineState, key: string, view: ColdView): Need | undefined {
  const schedule = state.schedules.byKey.get(key);
  if (schedule === undefined) return undefined;
  const template = templateKey(state, schedule);
  return view.get(template) === undefined ? { keys: [template], ranges: [] } : undefined;
}

function templateKey(state: MachineState, { number }: Schedule): Uint8Array {
  return state.layout.key(KIND.template, number);
}

function viewPage(
  { schedules: { order } }: MachineState,
  { grant }: Session,
  { after, limit, channel }: Extract<InspectSchedule, { what: 'schedules' }>,
): SchedulePage {
  const schedules: ScheduleView[] = [];
  const wanted = Math.min(limit, MAX_SCHEDULE_LIST);
  const from = after === '' ? 0 : order.rank({ key: `${after}\0` } as Schedule);
  for (let rank = from; ; rank++) {
    const schedule = order.at(rank);
    if (schedule === undefined) return { schedules, next: undefined };
    const isOther = channel !== undefined && schedule.channel.name !== channel;
    if (!isOther && hasRight(rightsOn(grant, schedule.channel.name), 'read')) {
      schedules.push(viewSchedule(schedule, undefined));
    }
    if (schedules.length === wanted || rank - from === MAX_PASSED) {
      return { schedules, next: order.at(rank + 1) === undefined ? undefined : schedule.key };
    }
  }
}

function viewSchedule(schedule: Schedule, template: Uint8Array | undefined): ScheduleView {
  const { key, channel, settings, lastAt, skippedAt, ticks, createdAt, failure } = schedule;
  const { rule, startAt, endAt, limit, jitterMs, missed, overlap } = settings;
  const state = stateOf(schedule);
  const reader = template === undefined ? undefined : new BlockReader(template);
  reader?.next();
  return {
    key,
    channel: channel.name,
    rule,
    startAt,
    endAt,
    limit,
    jitterMs,
    missed,
    overlap,
    state,
    nextAt: state === 'live' ? schedule.nextAt : undefined,
    lastAt: lastAt === 0 ? undefined : lastAt,
    lastId: lastAt === 0 ? undefined : messageIdText(tickId(bytesOf(schedule.seed), lastAt)),
    skippedAt: skippedAt === 0 ? undefined : skippedAt,
    ticks,
    createdAt,
    failure: failure === '' ? undefined : failure,
    codec: reader?.codec,
    payload: reader?.payload,
  };
}

function stateOf({ failure, isPaused, nextAt }: Schedule): ScheduleView['state'] {
  if (failure !== '') return 'failed';
  if (isPaused) return 'paused';
  return nextAt === 0 ? 'ended' : 'live';
}
