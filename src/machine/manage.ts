/** Acts on channels and on single messages: pause, purge, redrive, retain; cancel, promote. */
import type { Control, ControlGroup, Manage, Reply } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import { type GroupRules, patched } from '../model/policy.ts';
import type { Entry } from '../model/records.ts';
import type { Channel, EndedMessage, Message, Session } from './memory.ts';
import { readyCount } from './channel.ts';
import { type ColdView, lastEnd, locate, type Need } from './cold.ts';
import { changeGroup, groupOf } from './groups.ts';
import { KIND } from './layout.ts';
import { admitAgain, end, move, scheduleRemoval } from './lifecycle.ts';
import { refusalFor } from './rights.ts';
import type { EndedRecord, MachineState } from './state.ts';

const DONE: Reply = { kind: 'done' };

/** How many dead messages one step of a redrive brings back; each may need a record from the store. */
const REDRIVE_STEP = 100;

export function applyControl(state: MachineState, command: Control): Reply {
  const channel = state.channels.get(command.channel);
  if (channel === undefined) {
    return { kind: 'refused', code: 'NOT_FOUND', message: `No channel is named "${command.channel}"` };
  }
  state.changes.channels.add(channel);
  state.changes.dirty = true;
  switch (command.action) {
    case 'pause':
    case 'resume':
      channel.paused = command.action === 'pause';
      state.dispatchable.add(channel);
      return DONE;
    case 'purge':
      channel.purgeBelow = state.nextSeq;
      state.busyChannels.add(channel);
      return { kind: 'value', value: readyCount(channel) + channel.delayed.size + channel.waiting.size };
    case 'redrive': {
      const dead = channel.ended.dead.messages.size;
      if (dead === 0) return { kind: 'value', value: 0 };
      channel.redriveLeft = dead;
      state.busyChannels.add(channel);
      return { kind: 'value', value: dead };
    }
    case 'configure':
      if (command.settings !== undefined) channel.settings = patched(channel.settings, command.settings);
      state.dispatchable.add(channel);
      if (channel.groups.size > 0) state.regrouping.set(channel, 0);
      for (const list of Object.values(channel.ended)) {
        if (list.removeAt !== 0) state.retention.remove(list);
        list.removeAt = 0;
        scheduleRemoval(state, list);
      }
      return DONE;
  }
}

/** How many groups a space keeps rules for, or a pause. */
const MAX_RULED_GROUPS = 100_000;

export function applyControlGroup(state: MachineState, command: ControlGroup): Reply {
  const channel = state.channels.get(command.channel);
  if (channel === undefined) {
    return { kind: 'refused', code: 'NOT_FOUND', message: `No channel is named "${command.channel}"` };
  }
  const known = channel.groups.get(command.group);
  const isRuled = known !== undefined && (known.own !== undefined || known.paused);
  const own = command.action === 'configure' ? ruleOf(command.rules) : known?.own;
  const paused = command.action === 'configure' ? known?.paused === true : command.action === 'pause';
  const willBeRuled = own !== undefined || paused;
  if (willBeRuled && !isRuled && state.ruledGroups >= MAX_RULED_GROUPS) {
    const message = `Cannot ${command.action} group "${command.group}": a space keeps at most ${MAX_RULED_GROUPS} groups with rules or a pause`;
    return { kind: 'refused', code: 'TOO_MANY', message };
  }
  const group = known ?? groupOf(channel, command.group);
  if (own?.maxBacklog !== undefined && !channel.boundsGroups) {
    channel.boundsGroups = true;
    state.changes.channels.add(channel);
  }
  state.ruledGroups += Number(willBeRuled) - Number(isRuled);
  changeGroup(state, group, own, paused);
  return DONE;
}

function ruleOf(rules: Partial<GroupRules> | undefined): Partial<GroupRules> | undefined {
  return rules === undefined || Object.keys(rules).length === 0 ? undefined : rules;
}

/** What a redrive under way needs next: the ends of the oldest dead messages. */
export function planRedrive(state: MachineState, channel: Channel): Need {
  const packs = new Set(nextDead(channel).map(({ pack }) => pack));
  return { keys: [], ranges: [...packs].map((pack) => state.layout.range(KIND.ended, pack)) };
}

/** Redrives some of the dead messages of a channel, the oldest first. */
export function applyRedrive(state: MachineState, channel: Channel, view: ColdView): void {
  const dead = nextDead(channel);
  for (const message of dead) {
    const ends = view.range(state.layout.range(KIND.ended, message.pack));
    // Others have left since the records were asked for, and this one has moved up: it is for the next step.
    if (ends === undefined) continue;
    redrive(state, channel, message, newestEnd(state, message, ends));
    channel.redriveLeft -= 1;
  }
  if (dead.length > 0 && channel.redriveLeft > 0) return;
  channel.redriveLeft = 0;
  state.changes.channels.add(channel);
  state.changes.dirty = true;
  if (channel.purgeBelow === 0) state.busyChannels.delete(channel);
}

export function planManage(state: MachineState, command: Manage, view: ColdView): Need | undefined {
  const located = locate(state.layout, command.id, view);
  if (!('found' in located)) return located;
  if (located.found === undefined || state.messages.has(located.found.seq)) return undefined;
  const ends = state.layout.range(KIND.ended, located.found.pack);
  return view.range(ends) === undefined ? { keys: [], ranges: [ends] } : undefined;
}

export function applyManage(state: MachineState, session: Session, command: Manage, view: ColdView): Reply {
  const located = locate(state.layout, command.id, view);
  const at = 'found' in located ? located.found : undefined;
  if (at === undefined) return notFound();
  const message = state.messages.get(at.seq);
  if (message !== undefined) {
    const refusal = refusalFor(session, message.channel.name, command.action, 'admin');
    return refusal ?? manageLive(state, message, command.action);
  }
  const record = lastEnd(at, view.range(state.layout.range(KIND.ended, at.pack)) ?? []);
  const kept = record === undefined ? undefined : keptMessage(state, record);
  if (kept === undefined || record?.state === undefined) return notFound();
  const channel = state.channelNumbers.get(record.channel) as Channel;
  const refusal = refusalFor(session, channel.name, command.action, 'admin');
  if (refusal !== undefined) return refusal;
  if (command.action !== 'redrive' || record.state !== 'dead') return wrongState(command.action, record.state);
  redrive(state, channel, kept, record);
  return DONE;
}

/** The newest record of a message's end: one that is not written yet, or the last of those that were. */
export function newestEnd(
  state: MachineState,
  at: Pick<EndedMessage, 'seq' | 'pack'>,
  entries: readonly Entry[],
): EndedRecord | undefined {
  return state.changes.ended.get(at.pack)?.findLast(({ seq }) => seq === at.seq) ?? lastEnd(at, entries);
}

/** The entry of an ended message in memory; a message that was removed has none, whatever the store still holds. */
export function keptMessage(state: MachineState, record: EndedRecord): EndedMessage | undefined {
  if (record.state === undefined) return undefined;
  const list = state.channelNumbers.get(record.channel)?.ended[record.state].messages;
  const candidate = list?.at(list.rank(record));
  return candidate?.seq === record.seq ? candidate : undefined;
}

function manageLive(state: MachineState, message: Message, action: Manage['action']): Reply {
  if (action === 'promote' && message.state === 'delayed') {
    move(state, message, 'promoted', { order: state.nextSeq++ });
    return DONE;
  }
  if (action !== 'cancel') return wrongState(action, message.state);
  const { lease } = message;
  if (lease !== undefined) {
    const notice = { kind: 'revoked', seq: message.seq, token: lease.token, reason: 'cancelled' } as const;
    state.changes.notices.push({ session: lease.session, notice });
  }
  end(state, message, 'cancelled', {});
  return DONE;
}

function nextDead(channel: Channel): EndedMessage[] {
  return channel.ended.dead.messages.slice(0, Math.min(REDRIVE_STEP, channel.redriveLeft));
}

function redrive(state: MachineState, channel: Channel, message: EndedMessage, record: EndedRecord | undefined): void {
  const policy = record === undefined ? undefined : state.policyNumbers.get(record.policy);
  if (record === undefined || policy === undefined) {
    throw new HoldfastError('BROKER_FAILED', `Cannot redrive message ${message.seq}: the record of its end is missing`);
  }
  channel.ended.dead.messages.remove(message);
  admitAgain(state, channel, policy, record);
}

function notFound(): Reply {
  return { kind: 'refused', code: 'NOT_FOUND', message: 'No message has this id any more' };
}

function wrongState(action: string, is: string): Reply {
  return { kind: 'refused', code: 'WRONG_STATE', message: `Cannot ${action} a message that is ${is}` };
}
