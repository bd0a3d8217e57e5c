/**
 * Bulks: something that is done to all messages of a channel that a filter holds for, a step at a time. How far one is stands in its
 * record, which is written in the commit of each of its steps, so that none is lost and none is done twice.
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { Reply } from '../model/command.ts';
import { BULK_STATES } from '../model/filter.ts';
import type { Bulk, BulkView, InspectBulk, StopBulk } from '../model/life.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import type { ColdView, Need } from './cold.ts';
import { KIND } from './layout.ts';
import { bringBack } from './manage.ts';
import type { BulkRun, Channel, Session } from './memory.ts';
import { refusalFor } from './rights.ts';
import type { Candidate } from './evidence.ts';
import { type Bounds, type Look, look, type Query } from './scan.ts';
import { cancel, change, mayUpdate, promote, reasonOf, removeEnded, removeLive } from './single.ts';
import { erase, type MachineState, put } from './state.ts';

/** How many bulks run at a time, and how many that have ended are kept, the newest. */
export const MAX_BULKS = 100;
const MAX_ENDED = 100;

/**
 * How far one step goes: few enough messages are changed that everybody else's commits stay short, and few enough are passed that their
 * commands do not wait.
 */
const STEP: Bounds = { found: 200, passed: 2_000, packs: 8, bytes: 256 * 1024 };

const RECORD_VERSION = 1;

export function applyBulk(state: MachineState, session: Session, command: Bulk): Reply {
  const channel = state.channels.get(command.channel);
  if (channel === undefined) return refused('NOT_FOUND', `No channel is named "${command.channel}"`);
  if (state.runningBulks.size >= MAX_BULKS) {
    return refused('TOO_MANY', `Cannot begin a bulk: ${MAX_BULKS} of them run already`);
  }
  const bulk: BulkRun = {
    // What is produced from now on has a higher number, and is not concerned.
    number: state.nextSeq++,
    channel,
    command: { ...command, reason: reasonOf(state, session, command.reason) },
    startedAt: Math.floor(state.now),
    state: 'running',
    position: undefined,
    looked: 0,
    changed: 0,
    endedAt: 0,
    watchers: new Set(),
  };
  state.bulks.set(bulk.number, bulk);
  state.runningBulks.add(bulk);
  store(state, bulk);
  return { kind: 'value', value: bulk.number };
}

export function applyStopBulk(state: MachineState, session: Session, { bulk: number }: StopBulk): Reply {
  const bulk = state.bulks.get(number);
  if (bulk === undefined) return refused('NOT_FOUND', `No bulk has the number ${number} any more`);
  const refusal = refusalFor(session, bulk.channel.name, 'stop a bulk with', 'admin');
  if (refusal !== undefined) return refusal;
  if (bulk.state === 'running') finish(state, bulk, 'stopped');
  return { kind: 'done' };
}

export function inspectBulks(state: MachineState, session: Session, command: InspectBulk): Reply {
  const { bulk: number, channel, tell } = command;
  const views: BulkView[] = [];
  for (const bulk of number === undefined ? state.bulks.values() : [state.bulks.get(number)]) {
    if (bulk === undefined || (channel !== undefined && bulk.channel.name !== channel)) continue;
    if (!hasRight(rightsOn(session.grant, bulk.channel.name), 'read', 'admin')) continue;
    if (tell && bulk.state === 'running') bulk.watchers.add(session);
    views.push(viewOf(bulk));
  }
  return { kind: 'value', value: views };
}

/** The bulk whose turn it is. */
export function nextBulk({ runningBulks }: MachineState): BulkRun | undefined {
  for (const bulk of runningBulks) return bulk;
  return undefined;
}

/** What the next step of a bulk needs. */
export function planBulk(state: MachineState, bulk: BulkRun, view: ColdView): Need | undefined {
  return step(state, bulk, view).need;
}

export function applyBulkStep(state: MachineState, bulk: BulkRun, view: ColdView): void {
  const { found, next, passed, evidence } = step(state, bulk, view);
  for (const candidate of found) act(state, bulk, candidate, evidence);
  bulk.position = next;
  bulk.looked += passed;
  bulk.changed += found.length;
  if (next === undefined || bulk.changed === bulk.command.limit) finish(state, bulk, 'done');
  else store(state, bulk);
  // The others have their turns.
  if (state.runningBulks.delete(bulk)) state.runningBulks.add(bulk);
}

/** Takes a stored bulk in. */
export function addBulk(state: MachineState, number: number, value: Uint8Array): void {
  const stored = readBulk(number, value);
  const bulk = { ...stored, channel: state.channels.get(stored.channel) as Channel, watchers: new Set<Session>() };
  state.bulks.set(number, bulk);
  if (bulk.state === 'running') state.runningBulks.add(bulk);
}

/** A bulk as it is stored, its channel still by its name. */
export function readBulk(
  number: number,
  value: Uint8Array,
): Omit<BulkRun, 'channel' | 'watchers'> & { readonly channel: string } {
  const reader = new ByteReader(value, 1);
  const command = JSON.parse(reader.text()) as Bulk;
  const { channel } = command;
  const startedAt = reader.f64();
  const endedAt = reader.f64();
  const isStopped = reader.u8() === 1;
  const [looked, changed] = [reader.varint(), reader.varint()];
  const position = reader.u8() === 1 ? { stage: reader.varint(), a: reader.f64(), b: reader.f64() } : undefined;
  const state = endedAt === 0 ? 'running' : isStopped ? 'stopped' : 'done';
  return { number, channel, command, startedAt, state, position, looked, changed, endedAt };
}

function step(state: MachineState, bulk: BulkRun, view: ColdView): Look {
  const { channel, command, position: after, startedAt, number } = bulk;
  const { action, filter, limit = Infinity } = command;
  const query: Query = {
    channel,
    filter: { ...filter, states: filter.states.filter((one) => BULK_STATES[action].includes(one)) },
    backwards: false,
    after,
    until: { seq: number, endedAt: startedAt },
    needsEnd: action === 'retry',
    // With a message that is removed its dedupe key comes free, which stands in its item.
    needsItem: action === 'remove' && channel.dedupe.size > 0,
  };
  return look(state, query, { ...STEP, found: Math.min(STEP.found, limit - bulk.changed) }, view);
}

function act(
  state: MachineState,
  { command, startedAt }: BulkRun,
  candidate: Candidate,
  evidence: Look['evidence'],
): void {
  const { live, ended, list } = candidate;
  if (ended !== undefined && list !== undefined) {
    if (command.action === 'remove') return removeEnded(state, list, ended, evidence.readItemOf(candidate));
    const record = evidence.endOf(candidate);
    const keeps = command.attempts === 'keep';
    return bringBack(state, list, ended, record === 'unread' ? undefined : record, 'retried', keeps);
  }
  if (live === undefined) return;
  switch (command.action) {
    case 'cancel':
      return cancel(state, live, command);
    case 'promote':
      return promote(state, live);
    case 'remove':
      if (mayUpdate(live)) removeLive(state, live, evidence.readItemOf(candidate));
      return undefined;
    case 'update': {
      const { delayMs } = command;
      // It counts from the same moment for all of them.
      const left = delayMs === undefined ? undefined : Math.max(0, delayMs - (state.now - startedAt));
      if (mayUpdate(live)) change(state, live, { ...command, delayMs: left }, false);
      return undefined;
    }
    case 'retry':
      return undefined;
  }
}

function finish(state: MachineState, bulk: BulkRun, how: 'done' | 'stopped'): void {
  bulk.state = how;
  bulk.endedAt = Math.max(1, Math.floor(state.now));
  state.runningBulks.delete(bulk);
  store(state, bulk);
  for (const session of bulk.watchers) {
    state.changes.notices.push({ session, notice: { kind: 'bulkEnded', bulk: bulk.number } });
  }
  bulk.watchers.clear();
  let over = state.bulks.size - state.runningBulks.size - MAX_ENDED;
  for (const { number, endedAt } of state.bulks.values()) {
    if (over <= 0) break;
    if (endedAt === 0) continue;
    state.bulks.delete(number);
    erase(state, state.layout.key(KIND.bulk, number));
    over -= 1;
  }
}

function viewOf({ number, channel, command, state, looked, changed, startedAt, endedAt }: BulkRun): BulkView {
  const { action, filter } = command;
  return {
    id: number,
    channel: channel.name,
    action,
    filter,
    state,
    looked,
    changed,
    startedAt,
    endedAt: endedAt === 0 ? undefined : endedAt,
  };
}

function store(state: MachineState, { number, command, startedAt, endedAt, state: how, ...bulk }: BulkRun): void {
  const { position, looked, changed } = bulk;
  const record = new ByteWriter(256);
  record.u8(RECORD_VERSION);
  record.text(JSON.stringify(command));
  record.f64(startedAt);
  record.f64(endedAt);
  record.u8(how === 'stopped' ? 1 : 0);
  record.varint(looked);
  record.varint(changed);
  record.u8(position === undefined ? 0 : 1);
  if (position !== undefined) {
    record.varint(position.stage);
    record.f64(position.a);
    record.f64(position.b);
  }
  put(state, state.layout.key(KIND.bulk, number), record.take());
}

function refused(code: 'NOT_FOUND' | 'TOO_MANY', message: string): Reply {
  return { kind: 'refused', code, message };
}
