/** The events of a queue: a ring of bounded length, which those read who listen. */
import { BULL_EVENTS, MAX_BULL_EVENTS } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import type { BullEvent, BullEvents, BullQueue } from './memory.ts';
import { changesOf } from './queues.ts';

/** Events of one answer, at most; whoever reads them asks again. */
const READ_EVENTS = 1_000;
const READ_CHARACTERS: number = 1024 * 1024;

/** Events that were dropped are cut off the list in so many at a time. */
const CUT = 1_024;

/** Notes an event, under an id that grows: the machine's milliseconds, and a number within them. */
export function tell(state: MachineState, queue: BullQueue, ...fields: readonly string[]): BullEvent {
  const { events } = queue;
  const last = events.list[events.list.length - 1];
  const now = Math.floor(state.now);
  const at = last === undefined ? now : Math.max(last.at, now);
  const event = { at, nth: last?.at === at ? last.nth + 1 : 0, fields };
  events.list.push(event);
  if (eventCount(events) > keptEvents(queue)) events.first += 1;
  if (events.first - events.listFrom >= CUT) cut(events);
  changesOf(state, queue).events = true;
  for (const field of fields) state.changes.bytes += field.length + 4;
  for (let waiter = queue.listening.take(); waiter !== undefined; waiter = queue.listening.take()) {
    const { session, number } = waiter;
    state.changes.notices.push({ session, notice: { kind: 'bull', waiter: number, at: 0 } });
  }
  return event;
}

export function eventId({ at, nth }: BullEvent): string {
  return `${at}-${nth}`;
}

/** Drops the oldest events but so many; gives how many that were. */
export function trimEvents(state: MachineState, queue: BullQueue, length: number): number {
  const { events } = queue;
  const dropped = Math.max(0, eventCount(events) - length);
  events.first += dropped;
  cut(events);
  if (dropped > 0) changesOf(state, queue).events = true;
  return dropped;
}

/** Events behind an id; with `$` none, but where they end. */
export function readEvents(
  { events }: BullQueue,
  after: string,
): { last: string; events: (readonly [string, readonly string[]])[] } {
  const newest = events.list[events.list.length - 1];
  const end = newest === undefined ? '0-0' : eventId(newest);
  if (after === '$') return { last: end, events: [] };
  const found: (readonly [string, readonly string[]])[] = [];
  let characters = 0;
  for (let i = positionBehind(events, after); i < events.list.length; i++) {
    const event = events.list[i] as BullEvent;
    found.push([eventId(event), event.fields]);
    for (const field of event.fields) characters += field.length;
    if (found.length >= READ_EVENTS || characters >= READ_CHARACTERS) break;
  }
  return { last: found[found.length - 1]?.[0] ?? after, events: found };
}

function eventCount({ list, first, listFrom }: BullEvents): number {
  return list.length - (first - listFrom);
}

function keptEvents({ meta }: BullQueue): number {
  const said = Number(meta.get('opts.maxLenEvents') ?? BULL_EVENTS);
  return said >= 0 ? Math.min(said, MAX_BULL_EVENTS) : BULL_EVENTS;
}

/** The place in the list of the first event that is kept and stands behind this id. */
function positionBehind({ list, first, listFrom }: BullEvents, after: string): number {
  const [atText = '', nthText] = after.split('-');
  const at = Number(atText) || 0;
  const nth = nthText === undefined ? 0 : Number(nthText) || 0;
  let low = first - listFrom;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const event = list[middle] as BullEvent;
    if (event.at < at || (event.at === at && event.nth <= nth)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Forgets what was dropped, but for what is still to be told to the store. */
function cut(events: BullEvents): void {
  const upTo = Math.min(events.first, events.writtenTo);
  if (upTo <= events.listFrom) return;
  events.list.splice(0, upTo - events.listFrom);
  events.listFrom = upTo;
}
