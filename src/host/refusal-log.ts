/** A log of clients that were refused: whoever tries tokens by the thousand must not fill the disk with what is said of it. */
import type { LogLine } from '../broker/broker-options.ts';
import type { CancelTimer, Clock } from '../model/clock.ts';

/** At most one line in this time, in milliseconds. */
const LINE_EVERY_MS = 1_000;

export interface RefusalLog {
  /** Logs a refusal at once, or counts it for the next line. */
  add(reason: string, remote: string): void;
  /** Logs what was counted. */
  close(): void;
}

export function createRefusalLog(clock: Clock, log: (line: LogLine) => void): RefusalLog {
  let last: { readonly count: number; readonly shown: string } | undefined;
  let cancel: CancelTimer | undefined;
  const flush = (): boolean => {
    if (last === undefined) return false;
    const { count, shown } = last;
    last = undefined;
    log({ level: 'warn', message: count === 1 ? shown : `${shown}; refused before it, and not logged: ${count - 1}` });
    return true;
  };
  const wait = (): CancelTimer =>
    clock.timer(LINE_EVERY_MS, () => {
      cancel = flush() ? wait() : undefined;
    });
  return {
    add(reason, remote) {
      last = { count: (last?.count ?? 0) + 1, shown: `A client from "${remote}" was refused: ${reason}` };
      if (cancel !== undefined) return;
      flush();
      cancel = wait();
    },
    close() {
      cancel?.();
      flush();
    },
  };
}
