/**
 * The supervisor of worker processes: keeps as many of them as there should be, starts them when messages come and lets them
 * go when they are idle, and ends them. It runs none of the user's code, so it stays when they die; where they work on a
 * folder, it has that open too, so that it leads the store and their deaths leave the broker alone.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../model/clock.ts';
import type { Random } from '../../model/random.ts';
import { EXIT } from '../exit.ts';
import { Demand } from './demand.ts';
import type { Learned } from './learned.ts';
import type { FromWorker, Place, WorkOrder } from './messages.ts';
import { Slot, type SlotEnd } from './slot.ts';
import { Stores } from './stores.ts';

export interface SupervisorOptions {
  readonly files: readonly string[];
  /** How many processes there are at most, and how many when there is nothing to do. */
  readonly processes: number;
  readonly min: number;
  readonly graceMs: number;
  readonly idleMs: number;
  readonly memoryBytes: number | undefined;
  /** What the FILEs are told to work on; `undefined` when they know by themselves. */
  readonly url: string | undefined;
}

export interface SupervisorTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The environment of the worker processes. */
  readonly env: NodeJS.ProcessEnv;
  readonly learned: Learned;
}

/** Processes that end before they work, one after the other and none before them, until the FILEs are given up. */
const EARLY_DEATHS = 3;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #tools: SupervisorTools;
  readonly #slots: readonly Slot[];
  readonly #stores: Stores;
  readonly #demand: Demand;
  #isEnding = false;
  /** Some process has worked, so the FILEs can be loaded. */
  #hasWorked = false;
  #hasLoaded = false;
  #earlyDeaths = 0;
  #finish: (code: number) => void = () => {};
  readonly #finished: Promise<number>;

  constructor(options: SupervisorOptions, tools: SupervisorTools) {
    this.#options = options;
    this.#tools = tools;
    const { clock, random, env, logger } = tools;
    this.#stores = new Stores(({ level, message, error }) => logger[level]({ err: error }, message));
    this.#demand = new Demand(({ url, space }) => this.#stores.hold(url, space), {
      wanted: (place) => this.#wanted(place),
      failed: (place, error) => {
        logger.error({ channel: place.channel, store: place.url, err: error }, 'A channel cannot be watched');
      },
    });
    const order: WorkOrder = {
      files: options.files,
      graceMs: options.graceMs,
      idleMs: this.#isElastic ? options.idleMs : undefined,
      memoryBytes: options.memoryBytes,
      supervisorPid: process.pid,
    };
    const listener = {
      started: (slot: Slot) => logger.info({ worker: slot.pid }, 'A worker process was started'),
      heard: (slot: Slot, message: FromWorker) => this.#heard(slot, message),
      ended: (slot: Slot, end: SlotEnd, restartMs: number | undefined) => this.#ended(slot, end, restartMs),
    };
    this.#slots = Array.from(
      { length: options.processes },
      (_, number) => new Slot(number, { clock, random, env, order }, listener),
    );
    this.#finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Works until it is stopped. Gives the exit code. @throws HoldfastError when the store cannot be opened */
  async run(): Promise<number> {
    const release = this.#tools.clock.keepAlive();
    try {
      const { url, min } = this.#options;
      if (url?.startsWith('file:') === true) await this.#stores.hold(url, process.env['HOLDFAST_SPACE'] ?? 'default');
      const places = min === 0 ? await this.#tools.learned.read() : undefined;
      if (this.#isEnding) return await this.#finished;
      if (places === undefined) {
        // The others follow when the first one works: one line for a FILE that cannot be loaded is enough.
        this.#startOne();
      } else {
        this.#demand.add(places);
        this.#tools.logger.info({ channels: places.map(({ channel }) => channel) }, 'Waiting for messages');
        this.#demand.watch();
      }
      return await this.#finished;
    } finally {
      release();
      await this.#stores.close();
    }
  }

  /** Has all processes finish what they work on and ends with this code. Safe to call twice. */
  stop(code: number): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#demand.close();
    void Promise.all(this.#slots.map((slot) => slot.drain())).then(() => this.#finish(code));
  }

  /** Ends all processes at once. */
  kill(): void {
    this.#isEnding = true;
    for (const slot of this.#slots) slot.kill();
  }

  get #isElastic(): boolean {
    return this.#options.min < this.#options.processes;
  }

  #startOne(): boolean {
    const slot = this.#slots.find(({ isEmpty }) => isEmpty);
    if (slot === undefined || this.#isEnding) return false;
    slot.start();
    return true;
  }

  #wanted({ channel }: Place): void {
    // With all of them at work there is nothing to add; a slot that becomes empty is a reason to look again.
    if (this.#startOne()) this.#tools.logger.info({ channel }, 'Messages wait');
  }

  #heard(slot: Slot, message: FromWorker): void {
    const { logger } = this.#tools;
    switch (message.kind) {
      case 'ready':
        this.#hasWorked = true;
        logger.info({ worker: slot.pid }, 'A worker process is at work');
        this.#fill();
        if (this.#isElastic) this.#demand.watch();
        break;
      case 'loaded':
        this.#hasLoaded = true;
        break;
      case 'listens':
        this.#learn(message.places);
        break;
      case 'failed':
        this.#failed(message);
        break;
      case 'idle':
        this.#letGo(slot);
        break;
      case 'full':
        logger.warn({ worker: slot.pid }, 'A worker process takes too much memory and is replaced');
        break;
    }
  }

  /** Starts what is missing of those that should always be there. */
  #fill(): void {
    const there = this.#slots.filter(({ isEmpty }) => !isEmpty).length;
    for (let count = there; count < this.#options.min; count++) this.#startOne();
  }

  #letGo(slot: Slot): void {
    const ready = this.#slots.filter(({ isReady }) => isReady).length;
    if (this.#isEnding || !slot.isReady || ready <= this.#options.min) return;
    // Nobody would start it again.
    if (ready === 1 && this.#demand.places.length === 0) return;
    this.#tools.logger.info({ worker: slot.pid }, 'A worker process is idle and is let go');
    void slot.drain();
  }

  #learn(all: readonly Place[]): void {
    const places = all.filter(({ url }) => url !== 'memory:');
    if (!this.#demand.add(places)) return;
    const { logger, learned } = this.#tools;
    for (const { url, space } of places) {
      // A process that dies as the broker's process takes the marks of what it had started along.
      if (!url.startsWith('file:')) continue;
      this.#stores
        .hold(url, space)
        .catch((error: unknown) => logger.warn({ store: url, err: error }, 'A store cannot be opened'));
    }
    if (!this.#isElastic) return;
    learned
      .write(this.#demand.places)
      .catch((error: unknown) => logger.warn({ err: error }, 'The channels cannot be remembered'));
    this.#demand.watch();
  }

  #failed({ file, reason, isTransient }: Extract<FromWorker, { kind: 'failed' }>): void {
    const { logger } = this.#tools;
    if (isTransient || this.#hasLoaded) {
      logger.error({ file, reason }, 'A file cannot be loaded; it is tried again');
      return;
    }
    logger.fatal({ file, reason }, 'A file cannot be loaded');
    this.stop(EXIT.failed);
  }

  #ended(slot: Slot, { pid, code, signal, error, ...end }: SlotEnd, restartMs: number | undefined): void {
    const { logger } = this.#tools;
    const what = { worker: pid, code, signal, err: error };
    if (end.wasKilled) logger.warn(what, 'A worker process did not end within its grace and was killed');
    if (restartMs === undefined) {
      if (!end.wasKilled) logger.info(what, 'A worker process has ended');
      // What came while it was ending is heard of now.
      if (this.#isElastic && !this.#isEnding) this.#demand.watch();
      return;
    }
    if (this.#isEnding) return void slot.drain();
    logger.warn({ ...what, restartMs: Math.round(restartMs) }, 'A worker process has died; another one follows');
    if (end.wasReady || this.#hasWorked) return;
    this.#earlyDeaths += 1;
    if (this.#earlyDeaths < EARLY_DEATHS) return;
    logger.fatal(
      { files: this.#options.files },
      `The files end their process before they work, ${EARLY_DEATHS} times now`,
    );
    this.stop(EXIT.failed);
  }
}
