/** A connection: one link, the session behind it, and what waits to be said over it. */
import type { Claimed, Session } from '../machine/machine.ts';
import type { Delivery, Notice, Reply, Request } from '../model/command.ts';
import type { NeedsToken } from '../model/access-token.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import { EventsWriter } from '../wire/events.ts';
import {
  decodeHello,
  encodeGoodbye,
  encodeWelcome,
  FRAME,
  type Goodbye,
  type Hello,
  type Welcome,
} from '../wire/frames.ts';
import { decodeRequests } from '../wire/requests.ts';
import type { Backup } from './backup.ts';
import type { ColdRead } from './cold-records.ts';

/** Something that came in over a connection and is to be applied in its turn. */
export type Incoming =
  | { readonly kind: 'hello'; readonly hello: Hello }
  /** Begins what one frame holds; all of the frame before it has been applied. */
  | { readonly kind: 'confirm'; readonly upTo: number; readonly memoryBytes: number }
  | { readonly kind: 'request'; readonly request: Request }
  | { readonly kind: 'bye' }
  /** The client has read what it was sent: what waits behind that may be said. */
  | { readonly kind: 'drained' }
  | { readonly kind: 'closed' };

/** Something to say that waits until the client has read what it was sent; of a delivery only where its payload is. */
export type Unsaid =
  | { readonly kind: 'delivery'; readonly claimed: Claimed }
  | { readonly kind: 'reply'; readonly request: number; readonly reply: Reply }
  | { readonly kind: 'notice'; readonly notice: Notice };

/** What the broker should know of a link. */
export interface LinkTraits {
  /**
   * How long the leases wait for a client to come back when its link has closed, in milliseconds. 0 where a link only
   * closes when the client's process has died: others should have the messages at once.
   */
  readonly lingerMs: number;
  /** Whether a client must prove its rights to come in this way. */
  readonly needsToken: NeedsToken;
}

/** Events are sent when they take this many bytes, though more of the same commit follow. */
const FRAME_BYTES: number = 1024 * 1024;

/** A client whose frames wait with this many bytes is not listened to any more until they are fewer again. */
const MOST_WAITING_BYTES: number = 16 * 1024 * 1024;
const FEW_WAITING_BYTES: number = 4 * 1024 * 1024;

/** A frame for which more room than this is needed grows. */
const MOST_EXPECTED_BYTES: number = 256 * 1024;

export class Connection {
  readonly traits: LinkTraits;
  /** Set by HELLO. */
  session: Session | undefined;
  /** As the traits say, or stricter where HELLO has come through another process. */
  needsToken: NeedsToken;
  /** As the traits say, or longer where HELLO has come through another process. */
  lingerMs: number;
  /** The command that waits for cold records. */
  cold: (ColdRead & { readonly request: Request }) | undefined;
  /** The backup that the client is taking. */
  backup: Backup | undefined;
  /** What came in while something kept the connection from being served. */
  readonly postponed: Incoming[] = [];
  /** What is to be said, in this order, when the client has read what it was sent. */
  readonly unsaid: Unsaid[] = [];
  /** Goodbye is on its way: nothing that comes in has an effect any more. */
  isLeaving = false;

  readonly #link: Link;
  readonly #receive: (incoming: Incoming) => void;
  /** What is to be said with the next frame. */
  #events: EventsWriter | undefined;
  #expectedBytes = 256;
  /** Bytes of frames that have come and whose turn has not, and whether the link is held up because of them. */
  #waitingBytes = 0;
  #heldUp = false;
  #open = true;

  constructor(link: Link, traits: LinkTraits, receive: (connection: Connection, incoming: Incoming) => void) {
    this.#link = link;
    this.traits = traits;
    this.needsToken = traits.needsToken;
    this.lingerMs = traits.lingerMs;
    this.#receive = (incoming) => receive(this, incoming);
    link.open({
      frame: (bytes) => this.#frame(bytes),
      drained: () => this.#receive({ kind: 'drained' }),
      closed: () => {
        this.#open = false;
        this.#receive({ kind: 'closed' });
      },
    });
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Whether what is to be said must wait in `unsaid`: a client that does not read must not fill the broker's memory. */
  get isCongested(): boolean {
    return this.#link.isCongested || this.unsaid.length > 0;
  }

  /** Whether a command can be applied: no earlier one is under way, and its answer has somewhere to go. */
  get isFree(): boolean {
    return this.cold === undefined && !this.isCongested;
  }

  /** The connection has no session any more, and nothing is under way for one. */
  leaveSession(): void {
    this.session = undefined;
    this.cold = undefined;
    this.backup = undefined;
    this.postponed.length = 0;
    this.unsaid.length = 0;
  }

  /** The broker begins to apply what a frame holds that took this many bytes of memory. */
  begin(memoryBytes: number): void {
    this.#waitingBytes -= memoryBytes;
    if (!this.#heldUp || this.#waitingBytes > FEW_WAITING_BYTES) return;
    this.#heldUp = false;
    this.#link.flow(true);
  }

  welcome(welcome: Welcome): void {
    if (this.#open) this.#link.send(encodeWelcome(welcome));
  }

  reply(request: number, reply: Reply): void {
    if (this.isCongested) {
      this.unsaid.push({ kind: 'reply', request, reply });
      return;
    }
    this.#writer.reply(request, reply);
    if (this.#writer.length >= FRAME_BYTES) this.send();
  }

  delivery(delivery: Delivery): void {
    this.#writer.delivery(delivery);
    if (this.#writer.length >= FRAME_BYTES) this.send();
  }

  notice(notice: Notice): void {
    if (this.isCongested) {
      this.unsaid.push({ kind: 'notice', notice });
      return;
    }
    this.#writer.notice(notice);
    if (this.#writer.length >= FRAME_BYTES) this.send();
  }

  /** Sends what was gathered as one frame. */
  send(): void {
    if (this.#events === undefined) return;
    const frame = this.#events.finish();
    this.#events = undefined;
    // The next frame will be about as long.
    this.#expectedBytes = Math.min(frame.length + (frame.length >>> 2) + 64, MOST_EXPECTED_BYTES);
    if (this.#open) this.#link.send(frame);
  }

  /** Says why, if there is a reason, and closes the link. */
  close(goodbye?: Goodbye): void {
    if (!this.#open) return;
    this.#open = false;
    if (goodbye !== undefined) this.#link.send(encodeGoodbye(goodbye));
    this.#link.close();
  }

  get #writer(): EventsWriter {
    this.#events ??= new EventsWriter(this.#expectedBytes);
    return this.#events;
  }

  #frame(bytes: Uint8Array): void {
    if (!this.#open) return;
    try {
      for (const incoming of this.#decode(bytes)) this.#receive(incoming);
    } catch (error) {
      return this.#refuse(error);
    }
    if (this.#heldUp || this.#waitingBytes <= MOST_WAITING_BYTES) return;
    this.#heldUp = true;
    this.#link.flow(false);
  }

  *#decode(bytes: Uint8Array): Generator<Incoming> {
    switch (bytes[0]) {
      case FRAME.hello:
        yield { kind: 'hello', hello: decodeHello(bytes) };
        break;
      case FRAME.requests: {
        const { answeredUpTo, requests, memoryBytes } = decodeRequests(bytes);
        this.#waitingBytes += memoryBytes;
        yield { kind: 'confirm', upTo: answeredUpTo, memoryBytes };
        for (const request of requests) yield { kind: 'request', request };
        break;
      }
      case FRAME.bye:
        yield { kind: 'bye' };
        break;
      default:
        throw new HoldfastError('PROTOCOL', `Cannot read a frame of kind ${bytes[0]}`);
    }
  }

  /** A client that breaks the protocol loses its link; the broker and all others go on. */
  #refuse(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.close({ code: 'PROTOCOL', message });
    this.#receive({ kind: 'closed' });
  }
}
