/**
 * Pages: the stored records of messages that are ready, leased or waiting. A page holds the messages of one
 * channel and priority whose orders share their upper bits, so a batch of neighbours costs one write.
 */
import type { Channel, Message, Page } from './memory.ts';
import type { MachineState } from './state.ts';

/** How many orders share a page. */
export const PAGE_ORDERS = 128;

export function addToPage(state: MachineState, message: Message): void {
  const page = pageFor(message.channel, message.priority, Math.floor(message.order / PAGE_ORDERS));
  page.messages.push(message);
  markDirty(state, page);
}

export function removeFromPage(state: MachineState, message: Message): void {
  const page = pageFor(message.channel, message.priority, Math.floor(message.order / PAGE_ORDERS));
  const { messages } = page;
  const position = messages.indexOf(message);
  const last = messages.pop() as Message;
  if (last !== message) messages[position] = last;
  markDirty(state, page);
}

/** Has the page of a message written again. */
export function touchPage(state: MachineState, message: Message): void {
  markDirty(state, pageFor(message.channel, message.priority, Math.floor(message.order / PAGE_ORDERS)));
}

export function findPage(channel: Channel, priority: number, number: number): Page | undefined {
  return channel.lanes.get(priority)?.get(number);
}

export function pageFor(channel: Channel, priority: number, number: number): Page {
  let lane = channel.lanes.get(priority);
  if (lane === undefined) {
    lane = new Map();
    channel.lanes.set(priority, lane);
  }
  let page = lane.get(number);
  if (page === undefined) {
    page = { channel, priority, number, messages: [] };
    lane.set(number, page);
  }
  return page;
}

/** Forgets an empty page. */
export function dropPage(page: Page): void {
  const lane = page.channel.lanes.get(page.priority);
  lane?.delete(page.number);
  if (lane?.size === 0) page.channel.lanes.delete(page.priority);
}

function markDirty(state: MachineState, page: Page): void {
  state.changes.pages.add(page);
  state.changes.dirty = true;
}
