/** A channel: how it is made, and what it counts. */
import { NO_TOTALS } from '../model/metrics.ts';
import type { ChannelSettings } from '../model/policy.ts';
import type { EndedState } from '../model/states.ts';
import type { Channel, EndedList, Gate } from './memory.ts';
import { compareClaimOrder, compareDue, compareEnded, compareSeq, compareTurns } from './message.ts';
import { OrderedIndex } from './ordered-index.ts';

export const MAX_CHANNEL_NAME_CHARACTERS = 255;

export function createChannel(number: number, name: string, settings: ChannelSettings): Channel {
  const list = (state: EndedState): EndedList => ({
    channel: number,
    state,
    messages: new OrderedIndex(compareEnded),
    removeAt: 0,
  });
  const channel: Omit<Channel, 'gate'> = {
    number,
    name,
    settings,
    paused: false,
    purgeBelow: 0,
    redriveLeft: 0,
    totals: { ...NO_TOTALS },
    counts: undefined,
    ready: new OrderedIndex(compareClaimOrder),
    grouped: new OrderedIndex(compareClaimOrder),
    suspects: new OrderedIndex(compareClaimOrder),
    delayed: new OrderedIndex(compareDue),
    leased: new OrderedIndex(compareSeq),
    waiting: new OrderedIndex(compareSeq),
    lanes: new Map(),
    ended: { completed: list('completed'), dead: list('dead'), cancelled: list('cancelled') },
    dedupe: new Map(),
    groups: new Map(),
    groupList: new OrderedIndex((a, b) => a.number - b.number),
    nextGroup: 1,
    boundsGroups: false,
    turns: new OrderedIndex(compareTurns),
    virtualTurn: 0,
    evenTurn: 0,
    plainTurn: 0,
    shares: 0,
    consumers: 0,
    line: [],
    reserved: undefined,
    reservedUntil: 0,
    roomWanted: new Map(),
    watchers: new Set(),
  };
  return Object.assign(channel, { gate: createGate(channel as Channel, undefined) });
}

export function createGate(channel: Channel, group: Gate['group']): Gate {
  return { channel, group, used: 0, usedAt: 0, heldUntil: 0, wakesAt: 0 };
}

/** The number of messages that have not ended. */
export function backlogOf(channel: Channel): number {
  return readyCount(channel) + channel.delayed.size + channel.leased.size + channel.waiting.size;
}

export function readyCount(channel: Channel): number {
  return channel.ready.size + channel.grouped.size + channel.suspects.size;
}
