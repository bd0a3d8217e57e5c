/** Acts on channels and groups: pause, purge, redrive, configure. */
import type { Control, ControlGroup, Reply } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import { type GroupRules, patched } from '../model/policy.ts';
import { compareKeys, type Entry } from '../model/records.ts';
import type { Channel, EndedList, EndedMessage } from './memory.ts';
import { readyCount } from './channel.ts';
import { encodeChannelHead } from './channel-record.ts';
import { type ColdView, lastEnd, type Need } from './cold.ts';
import { changeGroup, groupOf } from './groups.ts';
import { KIND } from './layout.ts';
import { admitAgain, scheduleRemoval } from './lifecycle.ts';
import { type EndedRecord, journalChannel, type MachineState } from './state.ts';

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
      if (channel.paused !== (command.action === 'pause')) {
        journalChannel(state, command.action === 'pause' ? 'paused' : 'resumed', channel);
      }
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
      if (command.settings !== undefined) {
        const before = encodeChannelHead(channel);
        channel.settings = patched(channel.settings, command.settings);
        // A process that starts says again what holds.
        if (compareKeys(before, encodeChannelHead(channel)) !== 0) {
          state.changes.channelHeads.add(channel);
          journalChannel(state, 'configured', channel);
        }
      }
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
    bringBack(state, channel.ended.dead, message, newestEnd(state, message, ends), 'redriven');
    channel.redriveLeft -= 1;
  }
  if (dead.length > 0 && channel.redriveLeft > 0) return;
  channel.redriveLeft = 0;
  state.changes.channels.add(channel);
  state.changes.dirty = true;
  if (channel.purgeBelow === 0) state.busyChannels.delete(channel);
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

function nextDead(channel: Channel): EndedMessage[] {
  return channel.ended.dead.messages.slice(0, Math.min(REDRIVE_STEP, channel.redriveLeft));
}

/** Brings an ended message back, whose record is that of its end. */
export function bringBack(
  state: MachineState,
  list: EndedList,
  message: EndedMessage,
  record: EndedRecord | undefined,
  happening: 'redriven' | 'retried',
  keepsAttempts: boolean = false,
): void {
  const policy = record === undefined ? undefined : state.policyNumbers.get(record.policy);
  if (record === undefined || policy === undefined) {
    throw new HoldfastError(
      'BROKER_FAILED',
      `Cannot bring message ${message.seq} back: the record of its end is missing`,
    );
  }
  list.messages.remove(message);
  const channel = state.channelNumbers.get(list.channel) as Channel;
  admitAgain(state, channel, policy, record, happening, keepsAttempts);
}
