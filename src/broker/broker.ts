/**
 * The broker: leads a store and runs a machine on it for its clients.
 *
 * It works in batches: see `batches.ts` for the way from what a client sends to what it is told. When a commit fails,
 * memory is ahead of the store: the broker drops it, opens the store anew, rebuilds, and its clients send again what was
 * not answered.
 */
import type { CancelTimer } from '../model/clock.ts';
import { type ErrorCode, HoldfastError, StoreError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import type { Store } from '../store/store.ts';
import type { Goodbye } from '../wire/frames.ts';
import { Attendance } from './attendance.ts';
import { Batches } from './batches.ts';
import type { BrokerOptions } from './broker-options.ts';
import { Connection, type LinkTraits } from './connection.ts';
import { Inbox } from './inbox.ts';
import { type Lead, loadBody, takeLead } from './lead.ts';

/** How often the store is opened again after a failure before the broker gives up, and the first pause between. */
const REOPEN_ATTEMPTS = 6;
const REOPEN_PAUSE_MS = 20;

const CLOSED: Goodbye = { code: 'CLOSED', message: 'The broker is closed' };

type Phase = 'starting' | 'leading' | 'rebuilding' | 'closed' | 'failed';

export class Broker {
  readonly #options: BrokerOptions;
  readonly #connections = new Set<Connection>();
  readonly #inbox = new Inbox();
  readonly #attendance: Attendance;
  #phase: Phase = 'starting';
  #lead: Lead | undefined;
  /** Of the lead that is being worked under. */
  #batches: Batches | undefined;
  #working: Promise<void> | undefined;
  /** Resolves when nothing is being loaded any more. */
  #loading: Promise<void> = Promise.resolve();
  #scheduled = false;
  #cancelTimer: CancelTimer = () => {};
  #timerFiresAt = Infinity;
  #cancelRenewal: CancelTimer = () => {};
  #cancelLook: CancelTimer = () => {};
  #failure: Goodbye | undefined;
  /** How often the store was opened again since it was last loaded to its end. */
  #reopenings = 0;

  constructor(options: BrokerOptions) {
    this.#options = options;
    const { clock, patienceMs, sessionTimeoutMs } = options;
    // Where nobody's patience ends, nobody gives up after a session timeout either: all are of this process.
    this.#attendance = new Attendance(
      clock,
      patienceMs === Infinity ? Infinity : Math.min(patienceMs, sessionTimeoutMs),
    );
  }

  /**
   * Takes the lead and loads the machine.
   *
   * @param isAwaited clients wait for this broker: when the store fails under the load, it is opened again, as when it fails
   * under a commit
   * @throws StoreInUseError when a live broker leads
   * @throws HoldfastError `STORE_CORRUPT`, `STORE_TOO_NEW`, `STORE_FAILED`
   */
  async start(isAwaited: boolean = false): Promise<void> {
    const lead = await takeLead(this.#options, undefined);
    this.#lead = lead;
    if ((this.#phase as Phase) === 'closed') return lead.store.close();
    this.#renewLater();
    this.#lookLater();
    try {
      await this.#serve(lead);
    } catch (error) {
      // A commit that fails meanwhile closes the store under the load, and has it loaded anew.
      if (isAwaited || this.#lead !== lead || this.#phase !== 'leading') return await this.#recover(error, lead);
      this.#stop(error);
      throw error;
    }
  }

  get durability(): Store['durability'] {
    return this.#led.store.durability;
  }

  /** Why the broker has stopped by itself, if it has. */
  get failure(): Goodbye | undefined {
    return this.#failure;
  }

  /** Whether the space has any access token, be it one that has ended. A server that has none must not let strangers in. */
  get hasAccessTokens(): boolean {
    return this.#led.machine.hasAccessTokens;
  }

  /** Serves a client over this link, until it closes. */
  accept(link: Link, traits: LinkTraits): void {
    const connection = new Connection(link, traits, (from, incoming) => {
      this.#inbox.push(from, incoming);
      this.#schedule();
    });
    const goodbye = this.#failure ?? (this.#phase === 'closed' ? CLOSED : undefined);
    if (goodbye === undefined) this.#connections.add(connection);
    else connection.close(goodbye);
  }

  /** Ends the batch under way, says goodbye to all clients, and closes the store. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    const led = this.#phase !== 'failed';
    this.#phase = 'closed';
    this.#stopTimers();
    await this.#working;
    await this.#loading;
    this.#disconnectAll(CLOSED);
    if (!led) return;
    await this.#batches?.finish().catch((error: unknown) => this.#noteCloseFailure(error));
    await this.#lead?.store.close();
  }

  /** Works under a lead while its machine is still being loaded, and resolves when it is. */
  async #serve(lead: Lead): Promise<void> {
    this.#batches = new Batches(lead, this.#options, {
      connections: this.#connections,
      inbox: this.#inbox,
      attendance: this.#attendance,
      onRead: () => this.#schedule(),
      onReadFailed: (error) => void this.#recover(error, lead),
    });
    this.#phase = 'leading';
    this.#options.onServing();
    this.#schedule();
    const goesOn = (): boolean => this.#phase === 'leading' && this.#lead === lead;
    const loading = loadBody(lead, this.#options, goesOn);
    this.#loading = loading.catch(() => {});
    await loading;
    if (!goesOn()) return;
    this.#reopenings = 0;
    this.#inbox.loaded();
    this.#schedule();
  }

  /** The lead that is being worked under. */
  get #led(): Lead {
    if (this.#lead === undefined) throw new HoldfastError('BROKER_FAILED', 'The broker was used before it was started');
    return this.#lead;
  }

  #schedule(): void {
    if (this.#scheduled || this.#working !== undefined || this.#phase !== 'leading') return;
    this.#scheduled = true;
    // Other clients' frames that have arrived too share the commit.
    this.#options.clock.afterInput(() => {
      this.#scheduled = false;
      if (this.#phase !== 'leading' || this.#working !== undefined) return;
      this.#working = this.#work().finally(() => {
        this.#working = undefined;
        if (this.#phase === 'leading' && this.#batches?.hasWork === true) this.#schedule();
      });
    });
  }

  async #work(): Promise<void> {
    const lead = this.#led;
    try {
      await this.#batches?.runNext();
      this.#setTimer();
    } catch (error) {
      await this.#recover(error, lead);
    }
  }

  #setTimer(): void {
    if (this.#phase !== 'leading' || this.#batches === undefined) return;
    const delayMs = this.#batches.wakesInMs;
    const firesAt = this.#options.clock.monotonicMs() + delayMs;
    // One that fires too early costs a look; setting one anew at every batch would cost more.
    if (firesAt >= this.#timerFiresAt) return;
    this.#cancelTimer();
    this.#timerFiresAt = firesAt;
    this.#cancelTimer = this.#options.clock.timer(delayMs, () => {
      this.#timerFiresAt = Infinity;
      this.#schedule();
    });
  }

  #stopTimer(): void {
    this.#cancelTimer();
    this.#timerFiresAt = Infinity;
  }

  #stopTimers(): void {
    this.#stopTimer();
    this.#cancelRenewal();
    this.#cancelLook();
  }

  /** A thread that was stopped finds out by a look that comes late, if not by a batch that comes before. */
  #lookLater(): void {
    if (this.#attendance.lookMs === Infinity) return;
    this.#cancelLook = this.#options.clock.timer(this.#attendance.lookMs, () => {
      this.#lookLater();
      this.#batches?.look();
    });
  }

  #renewLater(): void {
    const { clock, renewMs } = this.#options;
    if (renewMs === Infinity) return;
    this.#cancelRenewal = clock.timer(renewMs, () => {
      this.#renewLater();
      const lead = this.#lead;
      if (this.#phase !== 'leading' || lead === undefined) return;
      lead.store.renew(lead.epoch).catch((error: unknown) => this.#recover(error, lead));
    });
  }

  #disconnectAll(goodbye: Goodbye | undefined): void {
    for (const connection of this.#connections) {
      connection.close(goodbye);
      // Its session is not of the machine that is loaded next.
      connection.leaveSession();
    }
    this.#connections.clear();
    this.#inbox.clear();
  }

  /** Drops what is in memory and starts again from what is in the store; or stops, when that is no use. */
  async #recover(error: unknown, lead: Lead): Promise<void> {
    // What went wrong under an earlier lead has been dealt with.
    if (this.#phase !== 'leading' || lead !== this.#lead) return;
    this.#stopTimer();
    this.#batches?.end();
    if (!(error instanceof StoreError) || error.code === 'FENCED' || error.code === 'STORE_CORRUPT') {
      return this.#fail(error);
    }
    if (this.#reopenings === REOPEN_ATTEMPTS) return this.#fail(error);
    this.#phase = 'rebuilding';
    this.#options.log({ level: 'warn', message: 'The store has failed; it is opened again', error });
    this.#disconnectAll(undefined);
    await lead.store.close().catch((cause: unknown) => this.#noteCloseFailure(cause));
    await this.#reopen(error);
  }

  async #reopen(reason: unknown): Promise<void> {
    let last = reason;
    while (this.#reopenings < REOPEN_ATTEMPTS) {
      const attempt = this.#reopenings++;
      if (attempt > 0) await this.#pause(REOPEN_PAUSE_MS * 4 ** (attempt - 1));
      if (this.#phase !== 'rebuilding') return;
      try {
        this.#lead = await takeLead(this.#options, this.#lead?.epoch);
        // `close` may have come in between; it has closed the store before, so this one is left to us.
        if ((this.#phase as Phase) === 'closed') return await this.#lead.store.close();
        this.#options.log({ level: 'info', message: 'The store is open again' });
        // Clients that came back meanwhile have not been heard yet.
        const lead = this.#lead;
        this.#serve(lead).catch((error: unknown) => this.#recover(error, lead));
        return;
      } catch (error) {
        last = error;
        if (error instanceof HoldfastError && (error.code === 'STORE_IN_USE' || error.code === 'STORE_CORRUPT')) break;
      }
    }
    this.#fail(last);
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.timer(delayMs, resolve));
  }

  #fail(error: unknown): void {
    const { code, message } = this.#stop(error);
    if (code === 'FENCED' || code === 'STORE_IN_USE') {
      this.#options.log({ level: 'warn', message: 'Another broker has taken over the lead of the store', error });
    } else {
      this.#options.log({ level: 'error', message: `The broker has stopped: ${message}`, error });
    }
  }

  /** Ends for good, and tells all clients why. */
  #stop(error: unknown): Goodbye {
    const code: ErrorCode = error instanceof HoldfastError ? error.code : 'BROKER_FAILED';
    const message = error instanceof Error ? error.message : String(error);
    const failure: Goodbye = { code: code === 'PROTOCOL' ? 'BROKER_FAILED' : code, message };
    this.#failure = failure;
    this.#phase = 'failed';
    this.#stopTimers();
    this.#disconnectAll(failure);
    this.#lead?.store.close().catch((cause: unknown) => this.#noteCloseFailure(cause));
    this.#options.onFailed();
    return failure;
  }

  #noteCloseFailure(error: unknown): void {
    this.#options.log({ level: 'warn', message: 'The store could not be closed cleanly', error });
  }
}
