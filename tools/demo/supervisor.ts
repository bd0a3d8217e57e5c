/** Starts the working process, kills it where it was decided, and starts it again until the work is done. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { KillPoint, WorkOrder, WorkReport } from './worker.ts';

/** What the supervisor tells of while the work goes on. */
export interface Listener {
  progress(stored: number, ended: number): void;
  /** @param at how many files were stored, or done, by then */
  killed(kills: number, phase: KillPoint['phase'], at: number): void;
}

export interface Supervised {
  readonly kills: number;
  /** From the first start to the end of the last working process. */
  readonly seconds: number;
}

type End = 'done' | { readonly killedAt: number };

const KILLS_WHILE_HANDLING = 3;

export class Supervisor {
  readonly #order: Omit<WorkOrder, 'killPoint'>;
  readonly #listener: Listener;

  constructor(order: Omit<WorkOrder, 'killPoint'>, listener: Listener) {
    this.#order = order;
    this.#listener = listener;
  }

  /**
   * @throws Error when a working process ends otherwise than expected
   * @throws the reason of `abort` when that fires; the working process is gone then
   */
  async run(abort: AbortSignal): Promise<Supervised> {
    const startedAt = performance.now();
    let kills = 0;
    for (const killPoint of [...randomKillPoints(), undefined]) {
      const end = await this.#runOnce(killPoint, abort);
      if (end === 'done' || killPoint === undefined) break;
      kills += 1;
      this.#listener.killed(kills, killPoint.phase, end.killedAt);
    }
    return { kills, seconds: (performance.now() - startedAt) / 1_000 };
  }

  async #runOnce(killPoint: KillPoint | undefined, abort: AbortSignal): Promise<End> {
    abort.throwIfAborted();
    return new Promise((resolve, reject) => {
      const worker = fileURLToPath(new URL('./worker.js', import.meta.url));
      const order: WorkOrder = { ...this.#order, killPoint };
      const child = spawn(process.execPath, [worker, JSON.stringify(order)], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        // Out of reach of a Ctrl+C: who started it ends it.
        detached: true,
      });
      const stop = (): void => void child.kill('SIGKILL');
      abort.addEventListener('abort', stop, { once: true });
      let end: End | undefined;
      child.on('message', (report: WorkReport) => {
        if (report.kind === 'progress') this.#listener.progress(report.stored, report.ended);
        if (report.kind === 'done') end = 'done';
        if (report.kind === 'killPoint') {
          end = { killedAt: report.at };
          child.kill('SIGKILL');
        }
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        abort.removeEventListener('abort', stop);
        if (abort.aborted) reject(abort.reason as Error);
        else if (end === 'done' && code === 0) resolve(end);
        else if (typeof end === 'object' && signal === 'SIGKILL') resolve(end);
        else reject(new Error(`The working process ended by itself (${signal ?? `exit code ${code}`})`));
      });
    });
  }
}

/** One kill while files are still being stored, and others while handlers run, each at a random share of what is left. */
function randomKillPoints(): KillPoint[] {
  const handling = Array.from({ length: KILLS_WHILE_HANDLING }, () => ({
    phase: 'handling' as const,
    share: 0.1 + Math.random() * 0.3,
  }));
  return [{ phase: 'producing', share: 0.1 + Math.random() * 0.8 }, ...handling];
}
