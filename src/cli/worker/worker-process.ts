/** One worker process, as its supervisor sees it. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type FromWorker, RELEASE_FD, type ToWorker, type WorkOrder } from './messages.ts';

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
    this.#child = fork(INSIDE, [], { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'] });
    this.#releasePipe?.on('error', () => {});
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

  /** Has its threads give back what it holds, uncounted, whatever its event loop does. It is to be killed next. */
  release(): void {
    this.#releasePipe?.write('release');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Where there are not even pipes left, a process that could not be started has none. */
  get #releasePipe(): Writable | undefined {
    const pipes: ChildProcess['stdio'] | undefined = this.#child.stdio;
    return pipes?.[RELEASE_FD] as Writable | undefined;
  }

  #say(message: ToWorker): void {
    // One that has ended meanwhile says so by itself.
    if (this.#child.connected) this.#child.send(message, () => {});
  }
}
