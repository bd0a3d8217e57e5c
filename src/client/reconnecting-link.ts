/**
 * The way to the broker, over one link after the other. When a link closes, the next one is opened with jittered pauses,
 * and takes the same session up; what belongs to the session is for the client to repeat.
 */
import type { CancelTimer, Clock } from '../model/clock.ts';
import { type ErrorCode, HoldfastError } from '../model/errors.ts';
import type { Connect, Link } from '../model/link.ts';
import type { Random } from '../model/random.ts';
import { decodeGoodbye, decodeWelcome, encodeHello, FRAME, type Welcome } from '../wire/frames.ts';

export interface ReconnectingLinkOptions {
  readonly connect: Connect;
  /** Names the process that the client lives in. */
  readonly host: string;
  /** What the client proves its rights with, where the broker asks for it. */
  readonly token?: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** Who hears what becomes of the link. */
export interface LinkOwner {
  /** The broker has welcomed the session over a new link: what is sent from here on comes first. */
  readonly welcomed: (welcome: Welcome) => void;
  /** What the broker tells. */
  readonly events: (bytes: Uint8Array) => void;
  /** The link is gone, and the next one is being opened. */
  readonly closed: () => void;
  /** The broker will not serve this client again. The owner ends the link. */
  readonly refused: (error: HoldfastError) => void;
}

/** The pause before a link is tried again doubles from the first to the longest, each drawn from its upper half. */
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 1_000;

/** A broker that says one of these will not serve this client again. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'CLOSED',
  'UNAUTHORIZED',
  'PROTOCOL',
  'BROKER_FAILED',
  'STORE_CORRUPT',
  'STORE_FAILED',
  'STORE_TOO_NEW',
]);

export class ReconnectingLink {
  readonly #options: ReconnectingLinkOptions;
  readonly #owner: LinkOwner;
  readonly #session: string;
  #link: Link | undefined;
  /** Who waits for WELCOME over the link that is being opened. */
  #opening: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined;
  /** What the broker said before it closed the link that is being opened. */
  #refusal: HoldfastError | undefined;
  #ended: HoldfastError | undefined;
  #holding = false;
  #keptAlive: CancelTimer | undefined;

  constructor(options: ReconnectingLinkOptions, owner: LinkOwner) {
    this.#options = options;
    this.#owner = owner;
    const secret = options.random.fill(new Uint8Array(16));
    this.#session = Array.from(secret, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  /**
   * Connects, and tries again for `withinMs` where nobody answers.
   *
   * @throws HoldfastError with the reason of the last try
   */
  async open(withinMs: number): Promise<void> {
    const { clock } = this.#options;
    const givesUpAt = clock.monotonicMs() + withinMs;
    const release = clock.keepAlive();
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.#connect();
        } catch (error) {
          if (this.#ended !== undefined || clock.monotonicMs() >= givesUpAt) throw error;
          await this.#pauseBefore(attempt);
        }
      }
    } finally {
      release();
    }
  }

  /** Sends a frame; one that is sent while there is no link is lost. */
  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#link?.send(frame);
  }

  /** Keeps the process alive for whoever waits, or lets it end. */
  hold(holding: boolean): void {
    if (holding === this.#holding) return;
    this.#holding = holding;
    this.#link?.hold(holding);
    this.#holdWithoutLink();
  }

  /** Closes the link for good. */
  end(error: HoldfastError): void {
    this.#ended = error;
    const link = this.#link;
    this.#link = undefined;
    this.#holdWithoutLink();
    this.#opening?.reject(error);
    this.#opening = undefined;
    link?.hold(false);
    link?.close();
  }

  async #connect(): Promise<void> {
    const link = await this.#options.connect();
    if (this.#ended !== undefined) {
      link.close();
      throw this.#ended;
    }
    await new Promise<void>((resolve, reject) => {
      this.#opening = { resolve, reject };
      link.open({ frame: (bytes) => this.#frame(link, bytes), closed: () => this.#closed(link) });
      this.#link = link;
      this.#holdWithoutLink();
      link.hold(true);
      const { host, token = '' } = this.#options;
      link.send(encodeHello({ session: this.#session, host, token, needsToken: 'never' }));
    });
  }

  #frame(link: Link, bytes: Uint8Array): void {
    if (link !== this.#link) return;
    switch (bytes[0]) {
      case FRAME.welcome:
        this.#welcome(decodeWelcome(bytes));
        break;
      case FRAME.events:
        this.#owner.events(bytes);
        break;
      case FRAME.goodbye: {
        const { code, message, cause } = decodeGoodbye(bytes);
        const error = new HoldfastError(code, message, cause === undefined ? {} : { cause: new Error(cause) });
        if (FINAL.has(code)) this.#owner.refused(error);
        else if (this.#opening !== undefined) this.#refusal = error;
        break;
      }
      default:
        this.#owner.refused(new HoldfastError('PROTOCOL', `Cannot read a frame of kind ${bytes[0]}`));
    }
  }

  #welcome(welcome: Welcome): void {
    const opening = this.#opening;
    if (opening === undefined) return;
    this.#opening = undefined;
    this.#holding = true;
    this.#owner.welcomed(welcome);
    opening.resolve();
  }

  #closed(link: Link): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    this.#holdWithoutLink();
    if (this.#opening === undefined) {
      this.#owner.closed();
      void this.#reconnect();
      return;
    }
    const unreachable = new HoldfastError('UNREACHABLE', 'The link closed before the broker answered');
    this.#opening.reject(this.#refusal ?? unreachable);
    this.#opening = undefined;
    this.#refusal = undefined;
  }

  async #reconnect(): Promise<void> {
    for (let attempt = 0; this.#ended === undefined; attempt++) {
      await this.#pauseBefore(attempt);
      try {
        if (this.#ended === undefined) await this.#connect();
        return;
      } catch (error) {
        const isFinal = error instanceof HoldfastError && FINAL.has(error.code) && error.code !== 'CLOSED';
        if (isFinal) this.#owner.refused(error);
      }
    }
  }

  #pauseBefore(attempt: number): Promise<void> {
    const { clock, random } = this.#options;
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS);
    return new Promise((resolve) => clock.timer(pauseMs * (0.5 + random.fraction() / 2), resolve));
  }

  /** While there is no link, something else has to keep the process alive for whoever waits. */
  #holdWithoutLink(): void {
    const wanted = this.#holding && this.#link === undefined && this.#ended === undefined;
    if (wanted === (this.#keptAlive !== undefined)) return;
    this.#keptAlive?.();
    this.#keptAlive = wanted ? this.#options.clock.keepAlive() : undefined;
  }
}
