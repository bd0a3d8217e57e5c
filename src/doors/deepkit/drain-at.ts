/** Draining when the process is told to end. */
import type { HoldfastBrokerAdapter } from './adapter.ts';

/** What is drained at each signal. */
const drained = new Map<NodeJS.Signals, Set<HoldfastBrokerAdapter>>();

/** At one of these signals drains, and then ends the process by it, unless others listen for it: then the end is their matter. */
export function drainAt(signals: readonly NodeJS.Signals[], adapter: HoldfastBrokerAdapter): void {
  for (const signal of signals) {
    const adapters = drained.get(signal) ?? new Set();
    if (!drained.has(signal)) process.once(signal, drainAll);
    drained.set(signal, adapters.add(adapter));
  }
}

/** The next signal ends the process at once, as nobody listens any more. */
function drainAll(signal: NodeJS.Signals): void {
  const adapters = [...(drained.get(signal) ?? [])];
  drained.delete(signal);
  if (process.listenerCount(signal) > 0) {
    for (const adapter of adapters) void adapter.drain();
    return;
  }
  void Promise.allSettled(adapters.map((adapter) => adapter.disconnect())).then(() =>
    process.kill(process.pid, signal),
  );
}
