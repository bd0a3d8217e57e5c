/** One hostile connection: what it says follows from the dice, and how it ends is told. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { decodeEvents } from '#holdfast/wire/events.js';
import { decodeGoodbye, encodeBye, FRAME } from '#holdfast/wire/frames.js';
import type { Dice } from './dice.ts';
import { mutate, noise } from './mutations.ts';
import { type Identity, Traffic } from './traffic.ts';
import { dial, type Form, formOf, type Way } from './ways.ts';

/** How many of each were sent. A piece of noise, or of a spoiled stream, counts as one frame. */
export interface Sent {
  /** Well-formed, be what it asks for sensible or not. */
  formed: number;
  /** Spoiled before its length and checksum were made, so that it gets to whoever reads commands. */
  mutated: number;
  /** Spoiled as bytes: its length and checksum do not fit, or there is no frame at all. */
  raw: number;
  /** Of all of these, those that were sent before the server had welcomed the connection. */
  early: number;
}

/** `refused`: the server said why; `dropped`: it closed without a word; `ended`: it closed after the client; `cut`: by the client. */
export type Ending = 'refused' | 'dropped' | 'ended' | 'cut' | 'stuck';

export interface Outcome {
  readonly sent: Sent;
  readonly ending: Ending;
  /** The code of GOODBYE. */
  readonly code: string | undefined;
  readonly welcomed: boolean;
  readonly deliveries: number;
}

/** A server that has not answered, or not closed, after so long is stuck. */
const STUCK_MS = 15_000;

const MOST_TURNS = 30;
const MOST_AT_ONCE = 8;
const MOST_RAW_PIECES = 8;

const PING: Uint8Array = Uint8Array.of(FRAME.ping);

const FRAME_TYPES = Object.values(FRAME);

/** @returns when the server has closed the connection, or should have */
export async function attack(way: Way, dice: Dice, identity: Identity): Promise<Outcome> {
  const connection = new Connection(way, dice, identity);
  return connection.run();
}

class Connection {
  readonly #dice: Dice;
  readonly #identity: Identity;
  readonly #traffic: Traffic;
  readonly #socket: Socket;
  readonly #form: Form;
  readonly #sent: Sent = { formed: 0, mutated: 0, raw: 0, early: 0 };
  readonly #before: Uint8Array[] = [];
  #wakeUp: () => void = () => {};
  #heard = 0;
  #deliveries = 0;
  #isWelcome = false;
  #isClosed = false;
  #isOver = false;
  #isCut = false;
  #isStuck = false;
  #code: string | undefined;

  constructor(way: Way, dice: Dice, identity: Identity) {
    this.#dice = dice;
    this.#identity = identity;
    this.#traffic = new Traffic(dice);
    this.#socket = dial(way);
    this.#form = formOf(way, (frame) => this.#receive(frame));
  }

  async run(): Promise<Outcome> {
    const socket = this.#socket;
    const closed = new Promise<void>((done) => {
      socket.once('close', () => {
        this.#isClosed = true;
        this.#wakeUp();
        done();
      });
    });
    await once(socket, 'connect');
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.#heard += 1;
      if (this.#form.push(chunk)) socket.end();
      this.#wakeUp();
    });
    const stuck = setTimeout(() => {
      this.#isStuck = true;
      socket.destroy();
    }, STUCK_MS);
    await this.#talk();
    await closed;
    clearTimeout(stuck);
    return {
      sent: this.#sent,
      ending: this.#ending(),
      code: this.#code,
      welcomed: this.#isWelcome,
      deliveries: this.#deliveries,
    };
  }

  #ending(): Ending {
    if (this.#isStuck) return 'stuck';
    if (this.#isCut) return 'cut';
    if (this.#code !== undefined) return 'refused';
    return this.#isOver ? 'ended' : 'dropped';
  }

  async #talk(): Promise<void> {
    const { chance } = this.#dice;
    // Now and then the first byte is noise already.
    if (chance(0.04)) return this.#sendNoise();
    this.#write(this.#form.opening);
    await this.#hear(() => this.#form.isReady);
    if (chance(0.1)) await this.#sendEarly();
    if (this.#isClosed) return;
    await this.#sendHello();
    for (let count = 1 + this.#dice.below(MOST_TURNS); count > 0 && !this.#isClosed; count--) {
      if (chance(0.12)) await this.#sendMutated(this.#sample());
      else await this.#sendFormed(...this.#several());
    }
    if (!this.#isClosed) await this.#leave();
  }

  /** Before HELLO: what nobody may say yet, and HELLO itself, spoiled. */
  async #sendEarly(): Promise<void> {
    for (let count = 1 + this.#dice.below(4); count > 0 && !this.#isClosed; count--) {
      if (this.#dice.chance(0.2)) await this.#sendFormed(this.#traffic.next());
      else await this.#sendMutated(this.#sample());
    }
  }

  async #sendHello(): Promise<void> {
    const heard = this.#heard;
    this.#count('formed');
    this.#write(this.#form.seal(this.#traffic.hello(this.#identity)));
    // A client need not wait for WELCOME, but an impatient one sends what is longer than it may be so early.
    if (this.#dice.chance(0.9))
      await this.#hear(() => this.#isWelcome || (this.#code !== undefined && this.#heard > heard));
    if (!this.#isClosed) await this.#sendFormed(this.#traffic.opening());
  }

  /** Several in one piece, as a busy client has them. */
  #several(): Uint8Array[] {
    return Array.from({ length: 1 + this.#dice.below(MOST_AT_ONCE) }, () => this.#traffic.next());
  }

  async #sendFormed(...frames: readonly Uint8Array[]): Promise<void> {
    for (const frame of frames) {
      this.#count('formed');
      this.#remember(frame);
    }
    await this.#sendAndHear(frames);
  }

  async #sendMutated(frame: Uint8Array): Promise<void> {
    this.#count('mutated');
    await this.#sendAndHear([frame]);
  }

  /**
   * What comes next is sent when the server has looked at this and the connection still stands; else it would count, and
   * nobody would have read it. Reading comes before PONG; whatever else the server says shows the same.
   */
  async #sendAndHear(frames: readonly Uint8Array[]): Promise<void> {
    const heard = this.#heard;
    this.#write(Buffer.concat([...frames, PING].map((frame) => this.#form.seal(frame))));
    await this.#hear(() => this.#heard > heard);
  }

  /** A frame that was sound, spoiled; or one that never was. */
  #sample(): Uint8Array {
    const { below, chance, pick, bytes } = this.#dice;
    if (chance(0.15))
      return Buffer.concat([Uint8Array.of(chance(0.9) ? pick(FRAME_TYPES) : below(256)), bytes(below(100))]);
    const sound = chance(0.15) ? this.#traffic.hello(this.#identity) : this.#traffic.draft();
    return mutate(this.#dice, sound, this.#before);
  }

  async #leave(): Promise<void> {
    const { chance } = this.#dice;
    if (chance(0.35)) return this.#sendSpoiled();
    if (chance(0.2)) return this.#cutOff();
    if (chance(0.5)) {
      this.#count('formed');
      this.#write(this.#form.seal(encodeBye()));
    }
    this.#end();
  }

  /** Spoils the bytes of records, their lengths and checksums included, and ends the stream behind them. */
  #sendSpoiled(): void {
    for (let count = 1 + this.#dice.below(MOST_RAW_PIECES); count > 0; count--) {
      this.#count('raw');
      const sealed = this.#form.seal(this.#traffic.next());
      this.#write(this.#dice.chance(0.2) ? noise(this.#dice) : mutate(this.#dice, sealed, this.#before));
    }
    this.#end();
  }

  #sendNoise(): void {
    for (let count = 1 + this.#dice.below(MOST_RAW_PIECES); count > 0; count--) {
      this.#count('raw');
      this.#write(noise(this.#dice));
    }
    this.#end();
  }

  /** Vanishes in the middle of a frame. */
  #cutOff(): void {
    this.#count('raw');
    const sealed = this.#form.seal(this.#traffic.next());
    this.#isCut = true;
    this.#socket.write(sealed.subarray(0, 1 + this.#dice.below(sealed.length)), () => this.#socket.destroy());
  }

  #write(bytes: Uint8Array): void {
    if (!this.#isClosed) this.#socket.write(bytes);
  }

  #end(): void {
    this.#isOver = true;
    this.#socket.end();
  }

  #count(kind: 'formed' | 'mutated' | 'raw'): void {
    this.#sent[kind] += 1;
    if (!this.#isWelcome) this.#sent.early += 1;
  }

  #remember(frame: Uint8Array): void {
    this.#before.push(frame);
    if (this.#before.length > 4) this.#before.shift();
  }

  async #hear(enough: () => boolean): Promise<void> {
    while (!this.#isClosed && !enough()) await new Promise<void>((done) => (this.#wakeUp = done));
  }

  #receive(frame: Uint8Array): void {
    switch (frame[0]) {
      case FRAME.welcome:
        this.#isWelcome = true;
        break;
      case FRAME.goodbye:
        this.#code = decodeGoodbye(frame).code;
        break;
      case FRAME.events:
        decodeEvents(frame, {
          reply: () => {},
          notice: () => {},
          delivery: ({ seq, token }) => {
            this.#deliveries += 1;
            this.#traffic.delivered({ seq, token });
          },
        });
        break;
      default:
    }
  }
}
