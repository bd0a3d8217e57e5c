/** Who wants to hear when an entry of KV changes. Each watch is good for one notice. */
import { textOf } from '../model/bytes.ts';
import type { KvWatcher, Session } from './memory.ts';
import type { MachineState } from './state.ts';

/** How many keys a session may watch, all of its watches together. */
export const MAX_WATCHED_KEYS = 10_000;

/** Watches these keys under this number instead of others; false when these are too many. */
export function watchKeys(state: MachineState, session: Session, number: number, keys: readonly Uint8Array[]): boolean {
  endWatch(state, session, number);
  if (keys.length === 0) return true;
  if (session.kvWatchedKeys + keys.length > MAX_WATCHED_KEYS) return false;
  const watcher: KvWatcher = { session, number, keys: keys.map(textOf) };
  session.kvWatches.set(number, watcher);
  session.kvWatchedKeys += keys.length;
  for (const key of watcher.keys) {
    const watching = state.kvWatchers.get(key);
    if (watching === undefined) state.kvWatchers.set(key, new Set([watcher]));
    else watching.add(watcher);
  }
  return true;
}

/** Tells all who watch this key, one character a byte. */
export function tellWatchers(state: MachineState, key: string): void {
  for (const { session, number } of state.kvWatchers.get(key) ?? []) {
    state.changes.notices.push({ session, notice: { kind: 'kvChanged', watch: number } });
    endWatch(state, session, number);
  }
}

/** Forgets what a session watches. */
export function endWatches(state: MachineState, session: Session): void {
  for (const number of session.kvWatches.keys()) endWatch(state, session, number);
}

function endWatch(state: MachineState, session: Session, number: number): void {
  const watcher = session.kvWatches.get(number);
  if (watcher === undefined) return;
  session.kvWatches.delete(number);
  session.kvWatchedKeys -= watcher.keys.length;
  for (const key of watcher.keys) {
    const watching = state.kvWatchers.get(key);
    watching?.delete(watcher);
    if (watching?.size === 0) state.kvWatchers.delete(key);
  }
}
