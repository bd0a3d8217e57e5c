/** Starts the thread that looks after this process, see `watchdog-thread.ts`. */
import { Worker } from 'node:worker_threads';

export interface WatchdogOptions {
  /** The process that this one must not outlive. */
  readonly parentPid: number;
  /** How long it may go on without it, in milliseconds. */
  readonly orphanedMs: number;
  /** How much memory it may have in use, all in all. */
  readonly memoryBytes: number | undefined;
  /** Where to write why the process was killed for its memory; without it `onFull` is called, once, and nothing is killed. */
  readonly deathNoteFd: number | undefined;
  /** What comes here says that the process is killed next, in order: what its clients hold is given back. */
  readonly releaseFd: number | undefined;
}

export function startWatchdog(options: WatchdogOptions, onFull: () => void = () => {}): void {
  const thread = new Worker(new URL('./watchdog-thread.js', import.meta.url), {
    workerData: options,
    name: 'holdfast watchdog',
    execArgv: [],
  });
  thread.on('message', onFull);
  thread.unref();
}
