/**
 * A link over a network: a carrier's frames, and signs of life.
 *
 * The client's side says PING when it has been silent for a while, and the broker's side answers PONG. A side that has
 * heard nothing for the session timeout takes the other for dead and closes. The session timeout is in WELCOME, which
 * both sides see pass; until then the client has a short time to say HELLO, and may say little.
 */
import type { CancelTimer, Clock } from '../model/clock.ts';
import type { Link } from '../model/link.ts';
import type { Carrier } from './carrier.ts';
import { decodeGoodbye, decodeWelcome, encodeGoodbye, FRAME, type Goodbye } from './frames.ts';

export interface NetworkLimits {
  /** The longest frame that a client that has not been welcomed may send, in bytes. */
  readonly helloBytes: number;
  /** How long a connection may be without HELLO, in milliseconds; and how long a client waits for a first sign of life. */
  readonly helloMs: number;
  /** The longest frame of a client, in bytes. */
  readonly requestBytes: number;
  /** The longest frame of a broker, in bytes. */
  readonly eventsBytes: number;
  /**
   * How much may be buffered for a side that reads slowly before nothing more is said to it, in bytes. When it has taken
   * nothing of it for as long as it may be silent, it is disconnected.
   */
  readonly congestedBytes: number;
  /** How much may be buffered at all, in bytes: what exceeds it ends the connection at once. */
  readonly bufferedBytes: number;
}

export const NETWORK_LIMITS: NetworkLimits = {
  helloBytes: 4 * 1024,
  helloMs: 5_000,
  requestBytes: 13 * 1024 * 1024,
  eventsBytes: 65 * 1024 * 1024,
  congestedBytes: 4 * 1024 * 1024,
  bufferedBytes: 64 * 1024 * 1024,
};

export interface NetworkLinkOptions {
  readonly clock: Clock;
  readonly limits: NetworkLimits;
  /** The client's side takes a broker that is silent for this long for dead, if the session timeout is longer. */
  readonly patienceMs?: number;
  /** How much of the time for HELLO is left to the client, on the broker's side. @default all of it */
  readonly deadlineMs?: number;
  /** Hears why a client is sent away that was not welcomed, on the broker's side. */
  readonly onRefused?: (goodbye: Goodbye) => void;
}

/** A PING is due when nothing was sent for this share of the time after which silence means death. */
const PINGS_A_SILENCE = 4;

const PING: Uint8Array = Uint8Array.of(FRAME.ping);
const PONG: Uint8Array = Uint8Array.of(FRAME.pong);

/** The client's end of a connection. */
export function clientLink(carrier: Carrier, { clock, limits, patienceMs = Infinity }: NetworkLinkOptions): Link {
  carrier.maxFrameBytes = limits.eventsBytes;
  const link = new NetworkLink(carrier, clock, limits, {
    silenceMs: Math.min(limits.helloMs, patienceMs),
    sent: () => {},
    received: (bytes, self) => {
      if (bytes[0] === FRAME.welcome) self.watch(Math.min(decodeWelcome(bytes).sessionTimeoutMs, patienceMs), true);
      return bytes[0] !== FRAME.pong;
    },
  });
  link.watch(Math.min(limits.helloMs, patienceMs), true);
  return link;
}

/** The broker's end of a connection. */
export function brokerLink(carrier: Carrier, options: NetworkLinkOptions): Link {
  const { clock, limits, deadlineMs = limits.helloMs, onRefused } = options;
  carrier.maxFrameBytes = limits.helloBytes;
  let saidHello = false;
  let isWelcomed = false;
  const link = new NetworkLink(carrier, clock, limits, {
    silenceMs: limits.helloMs,
    sent: (bytes, self) => {
      if (bytes[0] === FRAME.goodbye && !isWelcomed) onRefused?.(decodeGoodbye(bytes));
      if (bytes[0] !== FRAME.welcome) return;
      isWelcomed = true;
      carrier.maxFrameBytes = limits.requestBytes;
      self.watch(decodeWelcome(bytes).sessionTimeoutMs, false);
    },
    received: (bytes, self) => {
      if (bytes[0] === FRAME.ping) {
        // Whatever is on its way is as good a sign of life; and no side can fill the memory of this one by asking.
        if (carrier.bufferedBytes === 0) carrier.send(PONG);
        return false;
      }
      saidHello ||= bytes[0] === FRAME.hello;
      if (saidHello) self.endDeadline();
      return true;
    },
  });
  link.watch(limits.helloMs, false);
  link.setDeadline(deadlineMs);
  return link;
}

/** A PONG is one byte. */
const MAX_ANSWER_BYTES = 64;

/** What there is at the other end: a broker that answers, a process that says nothing, or nobody any more. */
export type Sign = 'alive' | 'silent' | 'dead';

/** Asks for a sign of life and waits for so long; the carrier is of no use afterwards. */
export function askForSign(carrier: Carrier, clock: Clock, withinMs: number): Promise<Sign> {
  carrier.maxFrameBytes = MAX_ANSWER_BYTES;
  return new Promise<Sign>((done) => {
    const cancel = clock.timer(withinMs, () => finish('silent'));
    const finish = (sign: Sign): void => {
      cancel();
      carrier.destroy();
      done(sign);
    };
    carrier.start({
      frame: (bytes) => finish(bytes[0] === FRAME.pong ? 'alive' : 'silent'),
      heard: () => {},
      broken: () => finish('silent'),
      drained: () => {},
      // It died, or closed, just now.
      closed: () => finish('dead'),
    });
    carrier.send(PING);
  });
}

interface Side {
  readonly silenceMs: number;
  readonly sent: (bytes: Uint8Array, link: NetworkLink) => void;
  /** Says whether the frame is for whoever has the link. */
  readonly received: (bytes: Uint8Array, link: NetworkLink) => boolean;
}

class NetworkLink implements Link {
  readonly #carrier: Carrier;
  readonly #clock: Clock;
  readonly #limits: NetworkLimits;
  readonly #side: Side;
  #silenceMs: number;
  #heardAt: number;
  #sentAt: number;
  #cancelWatch: CancelTimer = () => {};
  #cancelDeadline: CancelTimer = () => {};
  #isOpen = true;
  #isFlowing = true;
  /** Since when the other side has taken nothing, while it has much to take, and how much it had taken then. */
  #congestedAt: number | undefined;
  #takenBytes = 0;

  constructor(carrier: Carrier, clock: Clock, limits: NetworkLimits, side: Side) {
    this.#carrier = carrier;
    this.#clock = clock;
    this.#limits = limits;
    this.#side = side;
    this.#silenceMs = side.silenceMs;
    this.#heardAt = this.#sentAt = clock.monotonicMs();
  }

  open({ frame, closed, drained }: Parameters<Link['open']>[0]): void {
    this.#carrier.start({
      frame: (bytes) => {
        try {
          if (this.#isOpen && this.#side.received(bytes, this)) frame(bytes);
        } catch {
          this.close();
        }
      },
      heard: () => {
        this.#heardAt = this.#clock.monotonicMs();
      },
      broken: (reason) => {
        this.send(encodeGoodbye({ code: 'PROTOCOL', message: reason }));
        this.close();
      },
      drained: () => {
        if (this.#congestedAt === undefined) return;
        this.#congestedAt = undefined;
        if (this.#isOpen) drained?.();
      },
      closed: (cause) => {
        this.#stop();
        closed(cause);
      },
    });
  }

  send(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    // A side that does not read would fill the memory of this one.
    if (this.#carrier.bufferedBytes > this.#limits.bufferedBytes) return this.destroy();
    this.#side.sent(frame, this);
    this.#sentAt = this.#clock.monotonicMs();
    this.#carrier.send(frame);
    if (this.#congestedAt !== undefined || this.#carrier.bufferedBytes <= this.#limits.congestedBytes) return;
    this.#congestedAt = this.#sentAt;
    this.#takenBytes = this.#carrier.takenBytes;
  }

  get isCongested(): boolean {
    return this.#congestedAt !== undefined;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#stop();
    this.#carrier.end();
  }

  destroy(): void {
    this.#stop();
    this.#carrier.destroy();
  }

  hold(): void {}

  flow(open: boolean): void {
    if (!this.#isOpen) return;
    // Nobody is silent who is not listened to.
    this.#heardAt = this.#clock.monotonicMs();
    this.#isFlowing = open;
    this.#carrier.flow(open);
  }

  /** From now on silence for this long means that the other side is dead; with `pings` this side is never silent itself. */
  watch(silenceMs: number, pings: boolean): void {
    if (!this.#isOpen) return;
    this.#silenceMs = silenceMs;
    this.#cancelWatch();
    const everyMs = pings ? silenceMs / PINGS_A_SILENCE : silenceMs;
    const look = (): void => {
      this.#cancelWatch = this.#clock.timer(this.#nextLookMs(everyMs), look);
      if (pings && this.#clock.monotonicMs() - this.#sentAt >= everyMs * 0.9) this.send(PING);
      if (this.#isSilent() || this.#isStuck()) {
        // After a pause of this process, what has happened meanwhile has not been heard yet.
        this.#clock.afterInput(() => {
          if (this.#isSilent() || this.#isStuck()) this.destroy();
        });
      }
    };
    this.#cancelWatch = this.#clock.timer(everyMs, look);
  }

  setDeadline(ms: number): void {
    this.#cancelDeadline = this.#clock.timer(ms, () => this.destroy());
  }

  endDeadline(): void {
    this.#cancelDeadline();
  }

  #isSilent(): boolean {
    return this.#isOpen && this.#isFlowing && this.#clock.monotonicMs() - this.#heardAt >= this.#silenceMs;
  }

  /** The other side may talk, but it does not listen. */
  #isStuck(): boolean {
    if (this.#congestedAt === undefined) return false;
    const { takenBytes } = this.#carrier;
    if (takenBytes > this.#takenBytes) {
      this.#takenBytes = takenBytes;
      this.#congestedAt = this.#clock.monotonicMs();
    }
    return this.#clock.monotonicMs() - this.#congestedAt >= this.#silenceMs;
  }

  #nextLookMs(everyMs: number): number {
    const silentAt = this.#heardAt + this.#silenceMs - this.#clock.monotonicMs();
    return silentAt > 0 ? Math.min(everyMs, silentAt) : everyMs;
  }

  #stop(): void {
    this.#isOpen = false;
    this.#cancelWatch();
    this.#cancelDeadline();
  }
}
