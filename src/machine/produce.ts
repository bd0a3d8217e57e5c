/** Produce: messages of a client's blocks become messages of a channel. */
import { BlockReader } from '../model/block.ts';
import { allocate, bytesOf, textOf } from '../model/bytes.ts';
import type { Produce, ProduceException, Reply } from '../model/command.ts';
import { messageIdText } from '../model/message-id.ts';
import type { DedupeRule } from '../model/policy.ts';
import type { Channel, ChannelRef, DedupeSlot, DueClock, Message, PolicyRef, Session } from './memory.ts';
import { backlogOf } from './channel.ts';
import { findSlot, rewriteSlot, takeSlot } from './dedupe.ts';
import { limitsGroups, messagesWithoutRoom, roomFor, tellWithoutRoom, wantRoom } from './group-room.ts';
import { joinGroup } from './groups.ts';
import { KIND } from './layout.ts';
import { admit, end, releasePack } from './lifecycle.ts';
import { extraOf } from './message.ts';
import { encodePack } from './pack.ts';
import { type MachineState, put } from './state.ts';

/** Adds the messages and says which of them were not stored. */
export function applyProduce(
  state: MachineState,
  session: Session,
  target: ChannelRef,
  command: Pick<Produce, 'blocks' | 'atomic' | 'versioned'>,
): Reply {
  const { channel, policy } = target;
  const { maxBacklog } = policy.policy;
  let room = maxBacklog === 0 ? Infinity : maxBacklog - backlogOf(channel);
  if (command.atomic && room < countOf(command.blocks)) room = 0;
  const without = command.atomic ? messagesWithoutRoom(channel, command.blocks) : [];
  if (without.length > 0) {
    const answer = tellWithoutRoom(channel, session, without);
    return 'kind' in answer ? answer : { kind: 'produced', exceptions: answer };
  }
  const exceptions = produceBlocks(state, session, target, command.blocks, { left: room, ofGroups: true });
  if (maxBacklog !== 0 && exceptions.some(({ what }) => what === 'backlogFull')) {
    channel.roomWanted.set(session, maxBacklog);
  }
  if (command.versioned !== true) return { kind: 'produced', exceptions };
  const version = state.nextVersion;
  state.nextVersion += countOf(command.blocks);
  state.changes.dirty = true;
  return { kind: 'produced', exceptions, version };
}

/**
 * A client that hears only now that there was no room has not heard either of what came since: the word went to a link
 * that was gone, or was not kept by the broker before.
 */
export function wantRoomAgain(state: MachineState, session: Session, { ref }: Produce, answer: Reply): void {
  const target = session.refs.get(ref);
  if (target === undefined || answer.kind !== 'produced') return;
  if (answer.exceptions.every(({ what }) => what !== 'backlogFull')) return;
  const { channel, policy } = target;
  const { maxBacklog } = policy.policy;
  // Where a group was full, the client is to try again: then it is looked for room in it.
  if (maxBacklog !== 0 && backlogOf(channel) >= maxBacklog) channel.roomWanted.set(session, maxBacklog);
  else state.changes.notices.push({ session, notice: { kind: 'room', channel: channel.name } });
}

/** How many messages the channel may still take, and whether its groups are asked too. */
interface Room {
  readonly left: number;
  readonly ofGroups: boolean;
}

/** For messages that are never refused for a full backlog, or of which it is known that there is room. */
export const UNBOUNDED: Room = { left: Infinity, ofGroups: false };

/** Adds as many messages of the blocks as there is room for. */
export function produceBlocks(
  state: MachineState,
  session: Session,
  target: ChannelRef,
  blocks: readonly Uint8Array[],
  { left: room, ofGroups }: Room,
): ProduceException[] {
  const exceptions: ProduceException[] = [];
  let index = 0;
  let left = room;
  for (const block of blocks) {
    const admitted = admitBlock(state, session, target, block, index, { left, ofGroups }, exceptions);
    left -= admitted.stored;
    index += admitted.count;
  }
  target.channel.totals.produced += index - exceptions.length;
  state.changes.channels.add(target.channel);
  return exceptions;
}

/** How many messages the blocks hold. */
export function countOf(blocks: readonly Uint8Array[]): number {
  return blocks.reduce((sum, block) => sum + new BlockReader(block).count, 0);
}

/** Stores the messages of one block under consecutive numbers; a message that is not stored leaves its number unused. */
function admitBlock(
  state: MachineState,
  session: Session,
  { channel, policy }: ChannelRef,
  block: Uint8Array,
  firstIndex: number,
  room: Room,
  exceptions: ProduceException[],
): { stored: number; count: number } {
  const reader = new BlockReader(block);
  const pack = state.nextSeq;
  const fingerprints = allocate(reader.count * FINGERPRINT_BYTES);
  const { dedupe: rule } = policy.policy;
  const boundsGroups = room.ofGroups && limitsGroups(channel);
  state.nextSeq += reader.count;
  // The pack counts as held while its messages are admitted: one may be replaced by a later one of the same block.
  state.packs.set(pack, 2);
  let stored = 0;
  for (let i = 0; reader.next(); i++) {
    const slot = rule !== undefined && reader.dedupe !== '' ? findSlot(state, channel, reader.dedupe) : undefined;
    const standing = slot === undefined ? undefined : whatStands(state, slot, rule as DedupeRule);
    if (standing === 'first') {
      channel.totals.deduplicated += 1;
      exceptions.push({ index: firstIndex + i, what: 'deduplicated', id: bytesOf((slot as DedupeSlot).id) });
      continue;
    }
    if (stored >= room.left) {
      exceptions.push({ index: firstIndex + i, what: 'backlogFull', id: undefined });
      continue;
    }
    if (boundsGroups && reader.group !== '' && roomFor(channel, reader.group) <= 0) {
      exceptions.push({ index: firstIndex + i, what: 'backlogFull', id: undefined });
      wantRoom(channel, reader.group, session);
      continue;
    }
    // One that is refused for want of room may come again under its id, and is to be found in that later pack.
    reader.copyIdEnd(fingerprints, stored * FINGERPRINT_BYTES, FINGERPRINT_BYTES);
    stored += 1;
    state.packs.set(pack, (state.packs.get(pack) as number) + 1);
    const message = createMessage(state, channel, policy, pack + i, pack, reader);
    if (reader.awaited) awaitEnd(state, session, messageIdText(reader.id), message.seq);
    if (standing === 'both') {
      waitBehind(state, slot as DedupeSlot, message, textOf(reader.id));
      admit(state, message);
      continue;
    }
    const keyed = rule !== undefined && reader.dedupe !== '' ? rule : undefined;
    // Before it is admitted, for the record of a delayed message is made there.
    if (keyed !== undefined && endsWithMessage(keyed)) extraOf(message).dedupe = reader.dedupe;
    admit(state, message);
    if (keyed !== undefined) claimKey(state, channel, message, reader.dedupe, textOf(reader.id), keyed, slot);
  }
  if (stored > 0) {
    storePack(state, channel, pack, block, reader.second, fingerprints.subarray(0, stored * FINGERPRINT_BYTES));
  }
  // Gives up the two holds of above; when nothing of the block is left, the pack goes again.
  dropHold(state, pack, reader.second, stored);
  return { stored, count: reader.count };
}

/** The bytes of an id that the index keeps for a stored message: random ones, to tell most apart without the pack. */
export const FINGERPRINT_BYTES = 4;

function dropHold(state: MachineState, pack: number, second: number, stored: number): void {
  if (stored === 0) {
    state.packs.delete(pack);
    return;
  }
  releasePack(state, pack, second);
  releasePack(state, pack, second);
}

/** Whose the key is after a second message came: the first's, the second's, or both in turn. */
function whatStands(state: MachineState, slot: DedupeSlot, rule: DedupeRule): 'first' | 'second' | 'both' {
  const standing = state.messages.get(slot.seq);
  if (rule.mode === 'reject' || standing === undefined) return 'first';
  // One that was redriven, or that goes on among the dead letters, has given up its key and would never hand it over.
  if (rule.mode === 'keepLast') return standing.extra?.dedupe === slot.hash ? 'both' : 'first';
  return standing.state === 'leased' || standing.deliveries > 0 ? 'first' : 'second';
}

/** Whether the end of the message that holds a key ends or hands over the key. */
function endsWithMessage({ windowMs, mode }: DedupeRule): boolean {
  return windowMs === 0 || mode === 'keepLast';
}

function claimKey(
  state: MachineState,
  channel: Channel,
  message: Message,
  hash: string,
  id: string,
  rule: DedupeRule,
  slot: DedupeSlot | undefined,
): void {
  if (slot === undefined) return takeSlot(state, channel, hash, message.seq, id, rule);
  const replaced = state.messages.get(slot.seq) as Message;
  slot.seq = message.seq;
  slot.id = id;
  rewriteSlot(state, slot);
  end(state, replaced, 'replaced', {
    failure: { name: 'Replaced', message: `By ${messageIdText(bytesOf(id))}`, stack: undefined },
  });
}

/** The message waits until the standing one has ended; one that waited before gives up its place. */
function waitBehind(state: MachineState, slot: DedupeSlot, message: Message, id: string): void {
  const before = state.messages.get(slot.nextSeq);
  message.state = 'waiting';
  extraOf(message).dedupe = slot.hash;
  slot.nextSeq = message.seq;
  slot.nextId = id;
  rewriteSlot(state, slot);
  if (before === undefined) return;
  end(state, before, 'replaced', {
    failure: { name: 'Replaced', message: `By ${messageIdText(bytesOf(id))}`, stack: undefined },
  });
}

function createMessage(
  state: MachineState,
  channel: Channel,
  policy: PolicyRef,
  seq: number,
  pack: number,
  item: BlockReader,
): Message {
  const dueClock: DueClock = item.dueAt === 0 ? 0 : 1;
  const dueAt = Math.ceil(item.dueAt !== 0 ? item.dueAt : item.delayMs === 0 ? 0 : state.now + item.delayMs);
  const later = dueAt > (dueClock === 0 ? state.now : state.wall);
  const message: Message = {
    seq,
    pack,
    second: item.second,
    channel,
    policy,
    group: item.group === '' ? undefined : joinGroup(channel, item.group),
    state: later ? 'delayed' : 'ready',
    priority: item.priority,
    order: item.lifo ? -seq : seq,
    dueAt: later ? dueAt : 0,
    dueClock: later ? dueClock : 0,
    attempts: 0,
    deliveries: 0,
    lease: undefined,
    extra: undefined,
  };
  if (item.undelivered) extraOf(message).undelivered = true;
  if (item.cost !== 1) extraOf(message).cost = item.cost;
  const { timeToLiveMs } = policy.policy;
  if (timeToLiveMs !== 0) extraOf(message).expiresAt = state.now + timeToLiveMs;
  return message;
}

/** Registers a session for the notice of a message's end. */
export function awaitEnd(state: MachineState, session: Session, id: string, seq: number): void {
  const waiting = state.awaited.get(id);
  if (waiting === undefined) state.awaited.set(id, new Set([session]));
  else waiting.add(session);
  state.awaitedSeqs.set(seq, id);
}

function storePack(
  state: MachineState,
  channel: Channel,
  pack: number,
  block: Uint8Array,
  second: number,
  fingerprints: Uint8Array,
): void {
  const value = encodePack(Math.floor(state.now), channel.number, block);
  put(state, state.layout.key(KIND.pack, pack), value);
  state.changes.packs.push({ number: pack, value });
  put(state, state.layout.key(KIND.ids, second, pack), fingerprints);
}
