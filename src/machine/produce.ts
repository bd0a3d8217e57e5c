/** Produce: messages of a client's blocks become messages of a channel. */
import { BlockReader } from '../model/block.ts';
import { allocate, bytesOf, textOf } from '../model/bytes.ts';
import type { Produce, ProduceException, Reply } from '../model/command.ts';
import { messageIdText } from '../model/message-id.ts';
import type { DedupeRule } from '../model/policy.ts';
import type { Channel, ChannelRef, DedupeSlot, DueClock, Message, PolicyRef, Session } from './memory.ts';
import { backlogOf } from './channel.ts';
import { totalsOf } from './counts.ts';
import { findSlot, rewriteSlot, takeSlot } from './dedupe.ts';
import { isNode } from './flow-graph.ts';
import { limitsGroups, messagesWithoutRoom, roomFor, tellWithoutRoom, wantRoom } from './group-room.ts';
import { joinGroup } from './groups.ts';
import { KIND } from './layout.ts';
import { admit, end } from './lifecycle.ts';
import { extraOf } from './message.ts';
import { copyOfId, encodeFannedPack, encodePack } from './pack.ts';
import { releasePack } from './packs.ts';
import { type MachineState, put } from './state.ts';
import { countWrites, type Holder, usageOf } from './usage.ts';

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
  const exceptions = produceBlocks(state, session, target, command.blocks, room);
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

/** How messages come in that are not produced on their own. */
export interface Intake {
  /** There is room for them, or is to be: nobody is left to be told that there is none. */
  readonly isUnbounded?: boolean;
  /** A message of a flow never takes the place of one that stands, or waits behind it. */
  readonly asNodes?: boolean;
}

/** Adds as many messages of the blocks as there is room for; without a session, nobody can wait for their ends. */
export function produceBlocks(
  state: MachineState,
  session: Session | undefined,
  target: Pick<ChannelRef, 'channel' | 'policy'> & Holder,
  blocks: readonly Uint8Array[],
  room: number,
  intake: Intake = {},
): ProduceException[] {
  const exceptions: ProduceException[] = [];
  let index = 0;
  let left = room;
  let bytes = 0;
  for (const block of blocks) {
    const admitted = admitBlock(state, session, target, block, index, left, exceptions, intake);
    left -= admitted.stored;
    bytes += admitted.bytes;
    index += admitted.count;
  }
  countProduced(state, session, target, index - exceptions.length, bytes);
  return exceptions;
}

/** The first of the channels that have no room for all that is to be produced to them. */
export function fullChannel(
  session: Session,
  produced: readonly Pick<Produce, 'ref' | 'blocks'>[],
): string | undefined {
  const counts = new Map<ChannelRef, number>();
  for (const { ref, blocks } of produced) {
    const target = session.refs.get(ref);
    if (target !== undefined && target.policy.policy.maxBacklog !== 0) {
      counts.set(target, (counts.get(target) ?? 0) + countOf(blocks));
    }
  }
  for (const [{ channel, policy }, count] of counts) {
    if (backlogOf(channel) + count > policy.policy.maxBacklog) return channel.name;
  }
  return channelOfFullGroup(session, produced);
}

function channelOfFullGroup(
  session: Session,
  produced: readonly Pick<Produce, 'ref' | 'blocks'>[],
): string | undefined {
  const grouped = new Map<Channel, Uint8Array[]>();
  for (const { ref, blocks } of produced) {
    const channel = session.refs.get(ref)?.channel;
    if (channel !== undefined && limitsGroups(channel)) {
      grouped.set(channel, [...(grouped.get(channel) ?? []), ...blocks]);
    }
  }
  for (const [channel, blocks] of grouped) {
    if (messagesWithoutRoom(channel, blocks).length > 0) return channel.name;
  }
  return undefined;
}

/** How many messages the blocks hold. */
export function countOf(blocks: readonly Uint8Array[]): number {
  return blocks.reduce((sum, block) => sum + new BlockReader(block).count, 0);
}

/** Stores the messages of one block under consecutive numbers; a message that is not stored leaves its number unused. */
function admitBlock(
  state: MachineState,
  session: Session | undefined,
  target: Target,
  block: Uint8Array,
  firstIndex: number,
  room: number,
  exceptions: ProduceException[],
  intake: Intake,
): { stored: number; count: number; bytes: number } {
  const reader = new BlockReader(block);
  const place = beginPack(state, reader.count, 1);
  const bytes = admitItems(state, session, target, reader, place, 0, firstIndex, room, exceptions, intake);
  if (place.stored > 0) {
    storePack(state, place, encodePack(Math.floor(state.now), target.channel.number, block), reader.second);
  }
  endPack(state, place, reader.second);
  return { stored: place.stored, count: reader.count, bytes };
}

/**
 * Stores the messages of one block in each of these channels: the block once, and the messages under numbers of their own.
 *
 * @returns how many that made
 */
export function admitCopies(
  state: MachineState,
  session: Session,
  targets: readonly Target[],
  block: Uint8Array,
): number {
  const { count, second } = new BlockReader(block);
  const place = beginPack(state, count, targets.length);
  targets.forEach((target, copy) => {
    const before = place.stored;
    const reader = new BlockReader(block);
    const bytes = admitItems(state, session, target, reader, place, copy, copy * count, Infinity, [], UNBOUNDED);
    countProduced(state, session, target, place.stored - before, bytes);
  });
  if (place.stored > 0) {
    const channels = targets.map(({ channel }) => channel.number);
    storePack(state, place, encodeFannedPack(Math.floor(state.now), channels, block), second);
  }
  endPack(state, place, second);
  return place.stored;
}

type Target = Pick<ChannelRef, 'channel' | 'policy'>;

const UNBOUNDED: Intake = { isUnbounded: true };

function countProduced(
  state: MachineState,
  session: Session | undefined,
  target: Pick<ChannelRef, 'channel'> & Holder,
  stored: number,
  bytes: number,
): void {
  totalsOf(state, target.channel).produced += stored;
  // What the broker itself produces is nobody's.
  if (stored === 0 || session === undefined) return;
  const usage = usageOf(state, session, target.channel, target);
  usage.messages += stored;
  countWrites(state, usage, stored, bytes);
}

/** A pack under way. */
interface Place {
  readonly pack: number;
  readonly fingerprints: Uint8Array;
  stored: number;
}

function beginPack(state: MachineState, count: number, copies: number): Place {
  const pack = state.nextSeq;
  state.nextSeq += count * copies;
  // The pack counts as held while its messages are admitted: one may be replaced by a later one of the same block.
  state.packs.set(pack, 2);
  return { pack, fingerprints: allocate(count * copies * FINGERPRINT_BYTES), stored: 0 };
}

/** Gives up the two holds of above; when nothing of the block is left, the pack goes again. */
function endPack(state: MachineState, { pack, stored }: Place, second: number): void {
  if (stored === 0) {
    state.packs.delete(pack);
    return;
  }
  releasePack(state, pack, second);
  releasePack(state, pack, second);
}

/**
 * Admits the messages of a block to a channel, as the copy with this number of those in the pack.
 *
 * @returns the bytes of those that were stored
 */
function admitItems(
  state: MachineState,
  session: Session | undefined,
  { channel, policy }: Target,
  reader: BlockReader,
  place: Place,
  copy: number,
  firstIndex: number,
  room: number,
  exceptions: ProduceException[],
  { isUnbounded = false, asNodes = false }: Intake,
): number {
  const { pack, fingerprints } = place;
  const { dedupe: rule } = policy.policy;
  const first = pack + copy * reader.count;
  const before = place.stored;
  let bytes = 0;
  for (let i = 0; reader.next(); i++) {
    const slot = rule !== undefined && reader.dedupe !== '' ? findSlot(state, channel, reader.dedupe) : undefined;
    const standing = slot === undefined ? undefined : asNodes ? 'first' : whatStands(state, slot, rule as DedupeRule);
    if (standing === 'first') {
      totalsOf(state, channel).deduplicated += 1;
      exceptions.push({ index: firstIndex + i, what: 'deduplicated', id: bytesOf((slot as DedupeSlot).id) });
      continue;
    }
    if (place.stored - before >= room) {
      exceptions.push({ index: firstIndex + i, what: 'backlogFull', id: undefined });
      continue;
    }
    const isBounded = !isUnbounded && reader.group !== '' && limitsGroups(channel);
    if (session !== undefined && isBounded && roomFor(channel, reader.group) <= 0) {
      exceptions.push({ index: firstIndex + i, what: 'backlogFull', id: undefined });
      wantRoom(channel, reader.group, session);
      continue;
    }
    const id = copy === 0 ? undefined : copyOfId(reader.id, copy);
    // One that is refused for want of room may come again under its id, and is to be found in that later pack.
    if (id === undefined) reader.copyIdEnd(fingerprints, place.stored * FINGERPRINT_BYTES, FINGERPRINT_BYTES);
    else fingerprints.set(id.subarray(id.length - FINGERPRINT_BYTES), place.stored * FINGERPRINT_BYTES);
    place.stored += 1;
    bytes += reader.end - reader.payloadStart;
    state.packs.set(pack, (state.packs.get(pack) as number) + 1);
    const message = createMessage(state, channel, policy, first + i, pack, reader);
    if (reader.awaited && session !== undefined) awaitEnd(state, session, messageIdText(id ?? reader.id), message.seq);
    if (standing === 'both') {
      waitBehind(state, slot as DedupeSlot, message, textOf(id ?? reader.id));
      admit(state, message);
      continue;
    }
    const keyed = rule !== undefined && reader.dedupe !== '' ? rule : undefined;
    // Before it is admitted, for the record of a delayed message is made there.
    if (keyed !== undefined && endsWithMessage(keyed)) extraOf(message).dedupe = reader.dedupe;
    admit(state, message);
    if (keyed !== undefined) {
      claimKey(state, channel, message, reader.dedupe, textOf(id ?? reader.id), keyed, slot);
    }
  }
  return bytes;
}

/** The bytes of an id that the index keeps for a stored message: random ones, to tell most apart without the pack. */
export const FINGERPRINT_BYTES = 4;

/** Whose the key is after a second message came: the first's, the second's, or both in turn. */
function whatStands(state: MachineState, slot: DedupeSlot, rule: DedupeRule): 'first' | 'second' | 'both' {
  const standing = state.messages.get(slot.seq);
  if (rule.mode === 'reject' || standing === undefined) return 'first';
  // One that was redriven, or that goes on among the dead letters, has given up its key and would never hand it over.
  if (rule.mode === 'keepLast') return standing.extra?.dedupe === slot.hash ? 'both' : 'first';
  return standing.state === 'leased' || standing.deliveries > 0 || isNode(state, standing) ? 'first' : 'second';
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
  { pack, fingerprints, stored }: Place,
  value: Uint8Array,
  second: number,
): void {
  put(state, state.layout.key(KIND.pack, pack), value);
  state.changes.packs.push({ number: pack, value });
  put(state, state.layout.key(KIND.ids, second, pack), fingerprints.subarray(0, stored * FINGERPRINT_BYTES));
  state.newestSecond = Math.max(state.newestSecond, second);
}
