/** Room in groups: how many messages a group may hold that have not ended, and who wants to hear when it can take more. */
import { BlockReader } from '../model/block.ts';
import type { ProduceException } from '../model/command.ts';
import type { Channel, Group, Session } from './memory.ts';
import { rulesOf } from './message.ts';
import type { Refused } from './rights.ts';
import type { MachineState } from './state.ts';

/** Whether a group of the channel may be full: by the rules of all of them, or of one. */
export function limitsGroups({ settings, boundsGroups }: Channel): boolean {
  return settings.groups.maxBacklog !== 0 || boundsGroups;
}

/** How many more messages the group of this key may hold; it need not exist yet. */
export function roomFor(channel: Channel, key: string): number {
  return mostIn(channel, key) - (channel.groups.get(key)?.backlog ?? 0);
}

function mostIn(channel: Channel, key: string): number {
  const group = channel.groups.get(key);
  const { maxBacklog } = group === undefined ? channel.settings.groups : rulesOf(group);
  return maxBacklog === 0 ? Infinity : maxBacklog;
}

/** Those messages of the blocks for which their groups have no room, if all are to be stored. */
export function messagesWithoutRoom(
  channel: Channel,
  blocks: readonly Uint8Array[],
): { readonly index: number; readonly group: string }[] {
  if (!limitsGroups(channel)) return [];
  const room = new Map<string, number>();
  const found: { index: number; group: string }[] = [];
  let index = 0;
  for (const block of blocks) {
    for (const reader = new BlockReader(block); reader.next(); index++) {
      const { group } = reader;
      if (group === '') continue;
      const left = room.get(group) ?? roomFor(channel, group);
      room.set(group, left - 1);
      if (left <= 0) found.push({ index, group });
    }
  }
  return found;
}

/**
 * Answers a produce of all or none of which some have no room: which ones these are, and the session hears when their groups
 * can take more; or that there are more than a group may ever hold, which would wait in vain.
 */
export function tellWithoutRoom(
  channel: Channel,
  session: Session,
  without: readonly { readonly index: number; readonly group: string }[],
): ProduceException[] | Refused {
  for (const key of new Set(without.map(({ group }) => group))) {
    const wanted = without.filter(({ group }) => group === key).length + Math.max(0, roomFor(channel, key));
    const most = mostIn(channel, key);
    if (wanted <= most) continue;
    const message = `Cannot produce ${wanted} messages of group "${key}" to "${channel.name}" at once: it holds at most ${most}`;
    return { kind: 'refused', code: 'BACKLOG_FULL', message };
  }
  return without.map(({ index, group }) => {
    wantRoom(channel, group, session);
    return { index, what: 'backlogFull', id: undefined };
  });
}

/** The session hears when the group has room again. A full group exists. */
export function wantRoom(channel: Channel, key: string, session: Session): void {
  const group = channel.groups.get(key);
  if (group === undefined) return;
  group.roomWanted ??= new Set();
  group.roomWanted.add(session);
  session.roomWantedIn.add(group);
}

/** The session is gone. */
export function stopWantingRoom(session: Session): void {
  for (const { roomWanted } of session.roomWantedIn) roomWanted?.delete(session);
  session.roomWantedIn.clear();
}

/** Tells those who want to hear, if the group can take more. */
export function tellRoom(state: MachineState, group: Group): void {
  const { roomWanted, channel, key } = group;
  if (roomWanted === undefined || roomFor(channel, key) <= 0) return;
  group.roomWanted = undefined;
  for (const session of roomWanted) {
    session.roomWantedIn.delete(group);
    state.changes.notices.push({ session, notice: { kind: 'room', channel: channel.name } });
  }
}
