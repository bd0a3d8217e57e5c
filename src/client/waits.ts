/**
 * Waits: who waits for something that the broker says in passing, and not as an answer. What it has said to nobody is not
 * said again over the next link, so the broker is told anew there what is waited for.
 */
import type { Clock } from '../model/clock.ts';
import type { Command, Notice, Reply } from '../model/command.ts';
import type { Failure } from '../model/failure.ts';
import { HoldfastError } from '../model/errors.ts';
import { messageIdText } from '../model/message-id.ts';
import type { EndedState } from '../model/states.ts';
import { refusal } from './outbox.ts';

/** How a message ended that somebody waited for; `state` is `undefined` when it is no longer known. */
export interface Ended {
  readonly state: EndedState | undefined;
  readonly result: Uint8Array | undefined;
  readonly failure: Failure | undefined;
  /** Why the broker does not tell. */
  readonly refused?: HoldfastError;
}

const UNKNOWN_END: Ended = { state: undefined, result: undefined, failure: undefined };

/** What the waits need of their client. */
export interface WaitingClient {
  readonly clock: Clock;
  /** Why the client has failed for good, if it has. */
  readonly failure: HoldfastError | undefined;
  request(command: Command): Promise<Reply>;
  note(command: Command): void;
}

export class Waits {
  readonly #client: WaitingClient;
  /** Told when there may be somebody who waits now, or nobody any more. */
  readonly #onChange: () => void;
  readonly #awaited = new Map<string, { readonly id: Uint8Array; readonly waiting: Set<(ended: Ended) => void> }>();
  readonly #room = new Map<string, (() => void)[]>();
  readonly #wanted = new Map<string, Set<() => void>>();
  /** By the number of the bulk. */
  readonly #bulks = new Map<number, Set<() => void>>();
  /** By the number of the watch. */
  readonly #kvWatches = new Map<number, () => void>();
  #nextKvWatch = 1;
  /** Who waits at queues of BullMQ's, by numbers of their own. */
  readonly #bullWaiters = new Map<number, (at: number) => void>();
  #nextBullWaiter = 1;
  #events: (() => void)[] = [];
  /** How often there may have been events behind those that were read. */
  #eventNotices = 0;

  constructor(client: WaitingClient, onChange: () => void) {
    this.#client = client;
    this.#onChange = onChange;
  }

  /** Whether nobody waits for the broker. */
  get isEmpty(): boolean {
    const waiting = this.#bulks.size + this.#bullWaiters.size + this.#events.length;
    return this.#awaited.size + this.#wanted.size + this.#kvWatches.size + waiting === 0;
  }

  /** Waits for the end of a message. `registered` says that the broker was told together with the produce. */
  end(id: Uint8Array, registered: boolean): { ended: Promise<Ended>; stop: () => void } {
    if (this.#client.failure !== undefined) return { ended: Promise.resolve(UNKNOWN_END), stop: () => {} };
    const key = messageIdText(id);
    let entry = this.#awaited.get(key);
    if (entry === undefined) {
      entry = { id, waiting: new Set() };
      this.#awaited.set(key, entry);
    }
    const { waiting } = entry;
    let stop = (): void => {};
    const ended = new Promise<Ended>((resolve) => {
      waiting.add(resolve);
      stop = () => {
        waiting.delete(resolve);
        // Somebody may have begun to wait for it anew, after an answer that was not the last word.
        if (waiting.size > 0 || this.#awaited.get(key)?.waiting !== waiting) return;
        this.#awaited.delete(key);
        this.#awaitNoMore(id);
      };
    });
    if (!registered) this.#client.note({ kind: 'await', id, stop: false });
    return { ended, stop };
  }

  /** Resolves when the broker says that the channel has room again, or when the link was renewed. */
  room(channel: string): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#room.get(channel);
      if (waiting === undefined) this.#room.set(channel, [resolve]);
      else waiting.push(resolve);
    });
  }

  /** Resolves when the channel has messages to hand out and nobody to take them, or when the client has failed. */
  wanted(channel: string): { wanted: Promise<void>; stop: () => void } {
    if (this.#client.failure !== undefined) return { wanted: Promise.resolve(), stop: () => {} };
    const known = this.#wanted.get(channel);
    const waiting = known ?? new Set();
    this.#wanted.set(channel, waiting);
    let stop = (): void => {};
    let refuse = (_error: Error): void => {};
    const wanted = new Promise<void>((resolve, reject) => {
      waiting.add(resolve);
      refuse = reject;
      stop = () => {
        waiting.delete(resolve);
        // The broker goes on watching, and says once what nobody hears.
        if (waiting.size === 0 && this.#wanted.get(channel) === waiting) this.#wanted.delete(channel);
        this.#onChange();
      };
    });
    this.#client.request({ kind: 'watch', channel }).then(
      (reply) => {
        if (reply.kind !== 'refused') return;
        stop();
        refuse(refusal(reply));
      },
      // Whatever becomes of the link, the next one is told again.
      () => {},
    );
    this.#onChange();
    return { wanted, stop };
  }

  /** To be taken before events are read, and given to {@link moreEvents} when that reached their end. */
  get eventNotices(): number {
    return this.#eventNotices;
  }

  /** Resolves when there may be more events than when `eventNotices` was this, or when the client has failed. */
  moreEvents(noticesBefore: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#eventNotices !== noticesBefore || this.#client.failure !== undefined || signal?.aborted === true) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const done = (): void => {
        signal?.removeEventListener('abort', done);
        this.#events = this.#events.filter((waiter) => waiter !== done);
        this.#onChange();
        resolve();
      };
      signal?.addEventListener('abort', done);
      this.#events.push(done);
      this.#onChange();
    });
  }

  /**
   * Gives a number to watch KV under. `changed` is called whenever what is watched under it may have changed: at each
   * notice, over each new link, and when the client has failed. With `stop` the broker is told to watch no more.
   */
  kvChanges(changed: () => void): { readonly watch: number; readonly stop: () => void } {
    const watch = this.#nextKvWatch++;
    this.#kvWatches.set(watch, changed);
    this.#onChange();
    const stop = (): void => {
      if (!this.#kvWatches.delete(watch)) return;
      this.#client.request({ kind: 'kvWatch', watch, keys: [] }).catch(() => {});
      this.#onChange();
    };
    return { watch, stop };
  }

  /**
   * Gives a number to wait under at a queue of BullMQ's. `called` is called at each notice with what it says, and with 0, which is
   * to look again, over each new link and when the client has failed.
   */
  bullWaiter(called: (at: number) => void): { readonly waiter: number; readonly stop: () => void } {
    const waiter = this.#nextBullWaiter++;
    this.#bullWaiters.set(waiter, called);
    this.#onChange();
    const stop = (): void => {
      if (this.#bullWaiters.delete(waiter)) this.#onChange();
    };
    return { waiter, stop };
  }

  /**
   * Resolves when a bulk has ended, or may have: whoever waits looks again. To be called before the look at which the broker was asked to
   * tell.
   */
  bulkEnd(bulk: number): { readonly ended: Promise<void>; readonly stop: () => void } {
    const waiting = this.#bulks.get(bulk) ?? new Set();
    this.#bulks.set(bulk, waiting);
    let stop = (): void => {};
    const ended = new Promise<void>((resolve) => {
      stop = () => {
        waiting.delete(stop);
        if (waiting.size === 0 && this.#bulks.get(bulk) === waiting) this.#bulks.delete(bulk);
        this.#onChange();
        resolve();
      };
      waiting.add(stop);
    });
    this.#onChange();
    return { ended, stop };
  }

  /** The broker has said something that somebody may wait for. */
  notice(notice: Exclude<Notice, { kind: 'revoked' | 'cancelling' | 'consumerRefused' }>): void {
    switch (notice.kind) {
      case 'room':
        // The refusal may have come in the same frame, and whoever got it is about to wait.
        this.#client.clock.afterInput(() => this.#announceRoom(notice.channel));
        break;
      case 'ended':
        this.#tellEnd(notice.id, notice);
        break;
      case 'awaitRefused':
        this.#tellEnd(notice.id, { ...UNKNOWN_END, refused: new HoldfastError(notice.code, notice.message) });
        break;
      case 'wanted':
        this.#announceWanted(notice.channel);
        break;
      case 'events':
        this.#announceEvents();
        break;
      case 'kvChanged':
        this.#kvWatches.get(notice.watch)?.();
        break;
      case 'bull':
        this.#bullWaiters.get(notice.waiter)?.(notice.at);
        break;
      case 'bulkEnded':
        for (const stop of this.#bulks.get(notice.bulk) ?? []) stop();
        break;
    }
  }

  /** What the broker must be told over a new link. */
  get again(): Command[] {
    return [
      ...[...this.#awaited.values()].map(({ id }) => ({ kind: 'await', id, stop: false }) as const),
      ...[...this.#wanted.keys()].map((channel) => ({ kind: 'watch', channel }) as const),
    ];
  }

  /** What was said over the link before may have been lost: whoever waits has to look. */
  renew(): void {
    for (const channel of this.#room.keys()) this.#announceRoom(channel);
    for (const changed of this.#kvWatches.values()) changed();
    for (const waiting of this.#bulks.values()) for (const stop of waiting) stop();
    for (const called of this.#bullWaiters.values()) called(0);
    this.#announceEvents();
  }

  /** The client has failed: nobody need wait any more. */
  endAll(): void {
    this.renew();
    for (const channel of this.#wanted.keys()) this.#announceWanted(channel);
    for (const { waiting } of this.#awaited.values()) {
      for (const resolve of waiting) resolve(UNKNOWN_END);
    }
    this.#awaited.clear();
  }

  #tellEnd(id: Uint8Array, ended: Ended): void {
    const key = messageIdText(id);
    const entry = this.#awaited.get(key);
    if (entry === undefined) return;
    this.#awaited.delete(key);
    for (const resolve of entry.waiting) resolve(ended);
    this.#awaitNoMore(entry.id);
  }

  /** Not a note: one that is lost with its link would keep the message's result for as long as the session lasts. */
  #awaitNoMore(id: Uint8Array): void {
    this.#client.request({ kind: 'await', id, stop: true }).catch(() => {});
  }

  #announceEvents(): void {
    this.#eventNotices += 1;
    for (const resolve of this.#events) resolve();
  }

  #announceRoom(channel: string): void {
    const waiting = this.#room.get(channel) ?? [];
    this.#room.delete(channel);
    for (const resolve of waiting) resolve();
  }

  #announceWanted(channel: string): void {
    const waiting = this.#wanted.get(channel) ?? [];
    this.#wanted.delete(channel);
    for (const resolve of waiting) resolve();
    this.#onChange();
  }
}
