/** Workers that wait for a job: each thing there is to tell is told to one of them. */
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import type { BullQueue } from './memory.ts';
import type { BullWaiter } from './waiters.ts';
import { dropIfUnused, isHeld, isPaused, partOf } from './queues.ts';

/** There may be a job to take. Whoever takes one says it again, so that the next worker looks too. */
export function callWorker(state: MachineState, queue: BullQueue): void {
  if (isHeld(queue)) return;
  queue.isReady = true;
  tellWaiting(state, queue);
}

/** A job was taken: there may be another one, and if not, whoever looks finds that out. */
export function callNextWorker(state: MachineState, queue: BullQueue): void {
  queue.isReady = true;
  tellWaiting(state, queue);
}

/** Tells when the first delayed job is due. */
export function callWhenDue(state: MachineState, queue: BullQueue): void {
  const first = queue.states.delayed.first();
  if (first === undefined) return;
  queue.dueAt = first.score;
  tellWaiting(state, queue);
}

/** Says all that there is to say, as after a pause or a restart. */
export function callAnew(state: MachineState, queue: BullQueue): void {
  if (queue.states.wait.size + queue.states.prioritized.size > 0) callWorker(state, queue);
  else if (!isPaused(queue)) callWhenDue(state, queue);
}

/** Nobody is called any more. */
export function hush(queue: BullQueue): void {
  queue.isReady = false;
  queue.dueAt = undefined;
}

/** What a worker that waits is told: at once, or by a notice later. */
export function applyWait(
  state: MachineState,
  session: Session,
  queue: BullQueue,
  { waiter, stop }: { readonly waiter: number; readonly stop: boolean },
): number | null {
  if (stop) {
    // One that was told already may look no more: another one does so in its place.
    if (!queue.waiting.remove(session, waiter)) callAnew(state, queue);
    return null;
  }
  queue.waiting.remove(session, waiter);
  const said = nextWord(queue);
  if (said !== undefined) return said;
  queue.waiting.add(session, waiter);
  partOf(state, session).queues.add(queue);
  return null;
}

/** The session hears of nothing any more, and what it was told it may have passed on to nobody. */
export function forgetWaiters(state: MachineState, session: Session, queue: BullQueue): void {
  queue.waiting.forget(session);
  queue.listening.forget(session);
  queue.clients.delete(session);
  callAnew(state, queue);
  dropIfUnused(state, queue);
}

function tellWaiting(state: MachineState, queue: BullQueue): void {
  while (queue.waiting.size > 0) {
    const at = nextWord(queue);
    if (at === undefined) return;
    const { session, number } = queue.waiting.take() as BullWaiter;
    state.changes.notices.push({ session, notice: { kind: 'bull', waiter: number, at } });
  }
}

/** 0 where there may be a job, or when one is due; said once. */
function nextWord(queue: BullQueue): number | undefined {
  if (queue.isReady) {
    queue.isReady = false;
    return 0;
  }
  const { dueAt } = queue;
  queue.dueAt = undefined;
  return dueAt;
}
