/**
 * Keeps the end of a process out of the calls of LMDB in its other threads.
 *
 * A process that exits stops its threads wherever their JavaScript happens to be. Within a write transaction the `lmdb`
 * package then cleans up behind a lock that the stopped thread itself holds: the process never ends, and since it keeps
 * the writer's lock of the file too, no other process can write any more. In other calls it aborts the process, because
 * it cannot throw. So the calls and the exit wait for each other.
 */

const GATE = { free: 0, passing: 1, shut: 2 } as const;

export class ExitGate {
  /** What the threads share; another thread makes its own gate of it. */
  readonly memory: SharedArrayBuffer;
  readonly #state: Int32Array;
  #isPassing = false;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#state = new Int32Array(memory);
  }

  /** Runs `work`, which must not be cut off. Once the gate is shut the thread stands still here, until it is stopped. */
  pass<T>(work: () => T): T {
    // What passes may call what passes too.
    if (this.#isPassing) return work();
    while (Atomics.compareExchange(this.#state, 0, GATE.free, GATE.passing) !== GATE.free) {
      Atomics.wait(this.#state, 0, GATE.shut);
    }
    this.#isPassing = true;
    try {
      return work();
    } finally {
      this.#isPassing = false;
      Atomics.store(this.#state, 0, GATE.free);
      Atomics.notify(this.#state, 0);
    }
  }

  /** Waits for the work that is passing, and lets nothing pass any more: the thread may be stopped then. */
  shut(): void {
    while (Atomics.compareExchange(this.#state, 0, GATE.free, GATE.shut) === GATE.passing) {
      Atomics.wait(this.#state, 0, GATE.passing);
    }
  }
}
