/** A place for one worker process at a time: starts it, and starts it again when it dies, with growing pauses. */
import type { CancelTimer, Clock } from '../../model/clock.ts';
import type { Random } from '../../model/random.ts';
import type { FromWorker, WorkOrder } from './messages.ts';
import { type WorkerEnd, WorkerProcess } from './worker-process.ts';

/** The pause before a restart doubles from the first to the longest, each drawn from its upper half. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;

/** A process that has lived this long has not died of how it was started: the pauses begin anew. */
const LIVED_MS = 10_000;

/** How much longer than its grace a process may take to end before it gives back what it holds, in milliseconds. */
const RELEASE_AFTER_GRACE_MS = 1_000;

/** How long it has for that before it is killed, in milliseconds. */
const KILL_AFTER_RELEASE_MS = 2_000;

export interface SlotTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly env: NodeJS.ProcessEnv;
  readonly order: WorkOrder;
}

export interface SlotListener {
  started(slot: Slot): void;
  heard(slot: Slot, message: FromWorker): void;
  /** Its process has ended. `restartMs` says when the next one comes; without it the slot is empty now. */
  ended(slot: Slot, end: SlotEnd, restartMs: number | undefined): void;
}

export interface SlotEnd extends WorkerEnd {
  readonly pid: number | undefined;
  /** It was told to end. */
  readonly wasDrained: boolean;
  /** It had to be killed, because it did not end in time. */
  readonly wasKilled: boolean;
  /** It worked before it ended. */
  readonly wasReady: boolean;
}

type State =
  | { readonly kind: 'empty' }
  | { readonly kind: 'pausing'; readonly cancel: CancelTimer }
  | { readonly kind: 'running'; readonly running: Running };

interface Running {
  readonly process: WorkerProcess;
  readonly startedAt: number;
  isReady: boolean;
  isDraining: boolean;
  /** It ends by itself, and another one is to follow. */
  endsItself: boolean;
  wasKilled: boolean;
}

export class Slot {
  readonly number: number;
  readonly #tools: SlotTools;
  readonly #listener: SlotListener;
  #state: State = { kind: 'empty' };
  #deaths = 0;

  constructor(number: number, tools: SlotTools, listener: SlotListener) {
    this.number = number;
    this.#tools = tools;
    this.#listener = listener;
  }

  get isEmpty(): boolean {
    return this.#state.kind === 'empty';
  }

  /** A process runs in it that works. */
  get isReady(): boolean {
    return this.#state.kind === 'running' && this.#state.running.isReady && !this.#state.running.isDraining;
  }

  get pid(): number | undefined {
    return this.#state.kind === 'running' ? this.#state.running.process.pid : undefined;
  }

  start(): void {
    const { clock, order, env } = this.#tools;
    const hear = (message: FromWorker): void => this.#heard(running, message);
    const running: Running = {
      process: new WorkerProcess(order, env, hear),
      startedAt: clock.monotonicMs(),
      isReady: false,
      isDraining: false,
      endsItself: false,
      wasKilled: false,
    };
    this.#state = { kind: 'running', running };
    this.#listener.started(this);
    void running.process.ended.then((end) => this.#ended(running, end));
  }

  /** Empties the slot: its process finishes what it works on. Resolves when it has ended. */
  async drain(): Promise<void> {
    const state = this.#state;
    if (state.kind === 'pausing') {
      state.cancel();
      this.#state = { kind: 'empty' };
    }
    if (state.kind !== 'running') return;
    const { running } = state;
    if (!running.isDraining) {
      running.isDraining = true;
      running.process.drain();
      this.#killLate(running, true);
    }
    await running.process.ended;
  }

  /** Ends its process at once. */
  kill(): void {
    if (this.#state.kind === 'running') this.#state.running.process.kill();
  }

  #heard(running: Running, message: FromWorker): void {
    if (message.kind === 'ready') running.isReady = true;
    if (message.kind === 'full') {
      running.endsItself = true;
      this.#killLate(running, false);
    }
    this.#listener.heard(this, message);
  }

  /**
   * A handler that blocks its event loop cannot be asked to stop.
   *
   * @param inOrder nothing is wrong with the process, so what it holds must not be charged with its end
   */
  #killLate(running: Running, inOrder: boolean): void {
    const { clock, order } = this.#tools;
    let cancel = clock.timer(order.graceMs + RELEASE_AFTER_GRACE_MS, () => {
      if (inOrder) running.process.release();
      cancel = clock.timer(KILL_AFTER_RELEASE_MS, () => {
        running.wasKilled = true;
        running.process.kill();
      });
    });
    void running.process.ended.then(() => cancel());
  }

  #ended(running: Running, end: WorkerEnd): void {
    const { isReady: wasReady, isDraining: wasDrained, wasKilled } = running;
    const told: SlotEnd = { ...end, pid: running.process.pid, wasReady, wasDrained, wasKilled };
    if (wasDrained) {
      this.#deaths = 0;
      this.#state = { kind: 'empty' };
      this.#listener.ended(this, told, undefined);
      return;
    }
    const { clock, random } = this.#tools;
    if (running.endsItself || clock.monotonicMs() - running.startedAt >= LIVED_MS) this.#deaths = 0;
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** this.#deaths, LONGEST_PAUSE_MS) * (0.5 + random.fraction() / 2);
    this.#deaths += 1;
    const cancel = clock.timer(pauseMs, () => this.start());
    this.#state = { kind: 'pausing', cancel };
    this.#listener.ended(this, told, pauseMs);
  }
}
