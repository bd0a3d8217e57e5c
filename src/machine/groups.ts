/**
 * Groups: messages of a channel with the same key. A group is served in its own order, as many at a time and as fast as its
 * rules say, and the groups of a channel take turns: none waits for another that is slow, paused or full.
 *
 * Turns go by start-time fair queueing (Goyal, Vin, Cheng 1996): what a group was handed puts off its next turn, by its
 * cost divided by its weight, and the group whose turn is due first comes next. With equal weights and costs they go round.
 * A group that comes up begins where a group served all along, and evenly, would stand by now: where the turns alone
 * decided, ever new groups with a message each would all go before the second message of one that is there already.
 * Messages without a group make up one more that takes turns, and has no rules.
 */
import type { GroupRules } from '../model/policy.ts';
import { createGate } from './channel.ts';
import { opensAt, pass, restsAt, sleepGate, wakeGate } from './gates.ts';
import { tellRoom } from './group-room.ts';
import type { Channel, Group, Message } from './memory.ts';
import { compareClaimOrder, costOf, rulesOf } from './message.ts';
import { OrderedIndex } from './ordered-index.ts';
import type { MachineState } from './state.ts';

/** The group of this key, which is made when it is new. */
export function groupOf(channel: Channel, key: string): Group {
  let group = channel.groups.get(key);
  if (group === undefined) {
    group = {
      number: channel.nextGroup++,
      channel,
      key,
      own: undefined,
      paused: false,
      ready: new OrderedIndex(compareClaimOrder),
      backlog: 0,
      running: 0,
      begun: undefined,
      turn: 0,
      isInTurn: false,
      share: 0,
      gate: undefined,
      isStored: false,
      roomWanted: undefined,
    };
    channel.groups.set(key, group);
    channel.groupList.add(group);
  }
  return group;
}

/** The group of a message that has come. */
export function joinGroup(channel: Channel, key: string): Group {
  const group = groupOf(channel, key);
  if (group.backlog === 0) group.turn = Math.max(group.turn, channel.evenTurn);
  group.backlog += 1;
  return group;
}

/** A message of the group has ended, or goes on elsewhere. */
export function quitGroup(state: MachineState, message: Message): void {
  const { group } = message;
  if (group === undefined) return;
  group.backlog -= 1;
  if (group.begun === message) group.begun = undefined;
  lookAgainAt(state, group);
}

export function addReady(state: MachineState, group: Group, message: Message): void {
  group.ready.add(message);
  group.channel.grouped.add(message);
  placeGroup(state, group);
}

/** The group is placed again by whoever takes the message out. */
export function removeReady(group: Group, message: Message): void {
  group.ready.remove(message);
  group.channel.grouped.remove(message);
}

/** A message of the group was claimed. */
export function beginInGroup(state: MachineState, group: Group, message: Message): void {
  const { channel } = group;
  const rules = rulesOf(group);
  group.running += 1;
  if (rules.ordered) group.begun ??= message;
  leaveTurns(group);
  advanceTurns(channel, group.turn, costOf(message), rules.weight);
  group.turn = channel.virtualTurn + costOf(message) / rules.weight;
  if (rules.rate !== null) {
    pass(gateOf(group), rules.rate, costOf(message), state.now);
    state.changes.groups.add(group);
  }
  placeGroup(state, group);
}

/** The lease of a message of the group is over. */
export function endInGroup(state: MachineState, group: Group): void {
  group.running -= 1;
  placeGroup(state, group);
}

/** The message was never seen by a handler: it has not begun. */
export function hasNotBegun(message: Message): void {
  if (message.group?.begun === message) message.group.begun = undefined;
}

/** Whether the message goes on before all others of its group, and so keeps its place. */
export function keepsPlace(message: Message): boolean {
  return message.group?.begun === message && rulesOf(message.group).ordered;
}

/** Has the group take turns if it has a message that can go, and else not. */
export function placeGroup(state: MachineState, group: Group): void {
  const { channel } = group;
  const next = nextOf(group);
  if (next === undefined || !isGroupOpen(state, group, next)) leaveTurns(group);
  else {
    if (!group.isInTurn) {
      group.turn = Math.max(group.turn, channel.virtualTurn);
      group.isInTurn = true;
      channel.turns.add(group);
    }
    state.dispatchable.add(channel);
  }
  countShare(group);
}

/** Notes by how much the group is served beside the others: as long as it has something to do. */
function countShare(group: Group): void {
  const share = group.isInTurn || group.running > 0 ? rulesOf(group).weight : 0;
  group.channel.shares += share - group.share;
  group.share = share;
}

/** Something with this turn is handed out. */
function advanceTurns(channel: Channel, turn: number, cost: number, weight: number): void {
  const shares = channel.shares + (channel.ready.size > 0 ? 1 : 0);
  channel.virtualTurn = Math.max(channel.virtualTurn, turn);
  channel.evenTurn = Math.max(channel.evenTurn + cost / Math.max(shares, weight), channel.virtualTurn);
}

/** The ready message of the group that comes next: one that has begun before all others. */
function nextOf(group: Group): Message | undefined {
  const { begun, ready } = group;
  if (begun === undefined || !rulesOf(group).ordered) return ready.first();
  return ready.has(begun) ? begun : undefined;
}

/** Whether a message of the group may be claimed; if only time is in the way, the group is looked at again then. */
export function isGroupOpen(state: MachineState, group: Group, message: Message): boolean {
  const opens = groupOpensAt(state, group, message);
  if (opens > state.now && opens !== Infinity) wakeGate(state, gateOf(group), opens);
  return opens <= state.now;
}

/** When a message of the group may be claimed: now, at a time, or `Infinity` as long as something else must happen first. */
function groupOpensAt(state: MachineState, group: Group, message: Message): number {
  const rules = rulesOf(group);
  if (group.paused || (rules.concurrency !== 0 && group.running >= rules.concurrency)) return Infinity;
  // One that has begun is to end before the next one begins, however long it waits in between.
  if (rules.ordered && group.begun !== undefined && group.begun !== message) return Infinity;
  return group.gate === undefined ? state.now : opensAt(group.gate, rules.rate, costOf(message), state.now);
}

/** The message of a channel that comes next: of the group whose turn it is, or of none. `undefined` when none can go. */
export function nextInTurn(state: MachineState, channel: Channel): Message | undefined {
  const { ready, plainTurn, virtualTurn } = channel;
  const group = groupInTurn(state, channel);
  const plain = ready.first();
  if (group === undefined) return plain;
  if (plain === undefined) return nextOf(group);
  const { priority } = rulesOf(group);
  const isBefore = priority > 0 || (priority === 0 && Math.max(plainTurn, virtualTurn) <= group.turn);
  return isBefore ? plain : nextOf(group);
}

/** The group whose turn it is. As long as not all were looked at by new rules, each is before it has its turn. */
function groupInTurn(state: MachineState, channel: Channel): Group | undefined {
  for (;;) {
    const group = channel.turns.first();
    if (group === undefined || !state.regrouping.has(channel)) return group;
    const next = nextOf(group);
    if (next !== undefined && isGroupOpen(state, group, next)) return group;
    leaveTurns(group);
    countShare(group);
  }
}

/** A message without a group was claimed. */
export function beginWithoutGroup(channel: Channel, message: Message): void {
  if (channel.groups.size === 0) return;
  advanceTurns(channel, channel.plainTurn, costOf(message), 1);
  channel.plainTurn = channel.virtualTurn + costOf(message);
}

/** Changes what holds for a group alone, or whether it is paused. */
export function changeGroup(
  state: MachineState,
  group: Group,
  own: Partial<GroupRules> | undefined,
  paused: boolean,
): void {
  leaveTurns(group);
  group.own = own;
  group.paused = paused;
  state.changes.groups.add(group);
  lookAgainAt(state, group);
}

/** Something has changed that counts for the group. */
export function lookAgainAt(state: MachineState, group: Group): void {
  tellRoom(state, group);
  if (group.backlog > 0) placeGroup(state, group);
  else forgetIfIdle(state, group);
}

/** Nothing of the group is handed out before this time. */
export function holdGroup(state: MachineState, group: Group, until: number): void {
  const gate = gateOf(group);
  gate.heldUntil = Math.max(gate.heldUntil, until);
  state.changes.groups.add(group);
  placeGroup(state, group);
}

/** Whether there is anything to keep of a group that has no messages. */
export function isWorthKeeping(state: MachineState, group: Group): boolean {
  if (group.own !== undefined || group.paused) return true;
  return group.gate !== undefined && restsAt(group.gate, rulesOf(group).rate) > state.now;
}

/** A group without messages goes as soon as nothing of it counts any more. */
function forgetIfIdle(state: MachineState, group: Group): void {
  leaveTurns(group);
  countShare(group);
  const { channel, gate } = group;
  if (isWorthKeeping(state, group)) {
    const rests = gate === undefined ? 0 : restsAt(gate, rulesOf(group).rate);
    if (gate !== undefined && rests > state.now) wakeGate(state, gate, rests);
    return;
  }
  if (gate !== undefined) sleepGate(state, gate);
  if (group.isStored) state.changes.groups.add(group);
  channel.groups.delete(group.key);
  channel.groupList.remove(group);
  // What is counted from here on stays small enough to be exact.
  if (channel.groups.size === 0) Object.assign(channel, { virtualTurn: 0, evenTurn: 0, plainTurn: 0, shares: 0 });
}

function gateOf(group: Group): NonNullable<Group['gate']> {
  group.gate ??= createGate(group.channel, group);
  return group.gate;
}

/** What is kept of a group in the store. */
export interface StoredGroup {
  readonly key: string;
  readonly own: Partial<GroupRules> | undefined;
  readonly paused: boolean;
  readonly used: number;
  readonly usedAt: number;
  readonly heldUntil: number;
}

/** Takes in a group's record; its messages may be known already. */
export function addGroup(state: MachineState, channel: Channel, stored: StoredGroup): void {
  const group = groupOf(channel, stored.key);
  const { used, usedAt, heldUntil, own, paused } = stored;
  // A message that came while the store was being read may have brought it up already, without its rules.
  leaveTurns(group);
  Object.assign(group, { own, paused, isStored: true });
  if (own !== undefined || paused) state.ruledGroups += 1;
  if (used !== 0 || heldUntil !== 0) Object.assign(gateOf(group), { used, usedAt, heldUntil });
}

function leaveTurns(group: Group): void {
  if (!group.isInTurn) return;
  group.channel.turns.remove(group);
  group.isInTurn = false;
}
