/** Since when the messages of a channel are ready. */
import { secondStart } from '../model/block.ts';
import type { Channel, Message } from './memory.ts';
import type { OrderedIndex } from './ordered-index.ts';
import { producedAt } from './produce-times.ts';
import type { MachineState } from './state.ts';

/** Priorities that are looked at, the smallest first. */
const MAX_PRIORITIES = 100;

/** How long the ready message that has waited longest has been ready; `undefined` when none is. */
export function oldestReadyMs(state: MachineState, channel: Channel): number | undefined {
  let since = Infinity;
  for (const index of [channel.suspects, channel.ready, channel.grouped]) {
    for (const message of longestWaiting(index)) since = Math.min(since, readyAbout(message));
  }
  return since === Infinity ? undefined : Math.max(0, Math.floor(state.now - since));
}

/**
 * The messages of each priority that have waited longest: orders grow as they are given, and those of `lifo` messages, which
 * stand before all others, fall.
 */
function* longestWaiting(index: OrderedIndex<Message>): Generator<Message> {
  let first = index.first();
  for (let left = MAX_PRIORITIES; left > 0 && first !== undefined; left--) {
    const { priority } = first;
    const middle = index.rank({ ...first, order: 0 });
    for (const rank of [middle - 1, middle]) {
      const message = index.at(rank);
      if (message?.priority === priority) yield message;
    }
    first = index.at(index.rank({ ...first, priority: priority + 1, order: -Infinity }));
  }
}

/** To a second, by the clock of the producer: the same under every broker. */
function readyAbout({ dueAt, second }: Message): number {
  return dueAt === 0 ? secondStart(second) : dueAt;
}

/** Since when a message is ready, to a fiftieth of its age; of one that was produced under another broker, to a second. */
export function readySince({ produceTimes }: MachineState, message: Message): number {
  if (message.dueAt !== 0) return message.dueAt;
  return producedAt(produceTimes, message.seq) ?? readyAbout(message);
}
