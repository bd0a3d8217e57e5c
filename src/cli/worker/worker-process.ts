/** One worker process, as its supervisor sees it. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FromWorker, ToWorker, WorkOrder } from './messages.ts';

const INSIDE = fileURLToPath(new URL('./inside.js', import.meta.url));

/** How a process ended; both are `undefined` when it could not even be started. */
export interface WorkerEnd {
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly error: Error | undefined;
}

export class WorkerProcess {
  readonly ended: Promise<WorkerEnd>;
  readonly #child: ChildProcess;

  constructor(order: WorkOrder, env: NodeJS.ProcessEnv, hear: (message: FromWorker) => void) {
    this.#child = fork(INSIDE, [], { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.ended = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve({ code: undefined, signal: undefined, error }));
      this.#child.once('exit', (code, signal) =>
        resolve({ code: code ?? undefined, signal: signal ?? undefined, error: undefined }),
      );
    });
    this.#child.on('message', hear);
    this.#say({ kind: 'start', order });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Has it finish what it works on, give back the rest, and end. */
  drain(): void {
    this.#say({ kind: 'drain' });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #say(message: ToWorker): void {
    // One that has ended meanwhile says so by itself.
    if (this.#child.connected) this.#child.send(message, () => {});
  }
}
