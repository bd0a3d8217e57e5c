/**
 * The outbox: requests of one tick gathered into one frame, numbered, and kept until they are answered, so that
 * they can be sent again under the same numbers over the next link.
 */
import { type BullAsk, type BullMethod, MAX_BULL_ASKS } from '../model/bull.ts';
import { BLOCK_BYTES, BlockWriter, idSecond, type ItemOptions } from '../model/block.ts';
import type { Command, LeaseKey, Reply, Request, Settle } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import { NumberMap } from '../model/number-map.ts';
import { effectsBytes } from '../wire/kv.ts';
import { encodeRequests, roughBytes } from '../wire/requests.ts';

/** A message on its way: what the block needs of it. */
export interface Item {
  readonly id: Uint8Array;
  readonly codec: number;
  readonly payload: Uint8Array;
  readonly options: ItemOptions;
}

/** What became of one message of a produce. */
export type ProduceOutcome =
  | {
      readonly what: 'stored';
      /** Where it was asked for. */
      readonly version?: number;
    }
  | { readonly what: 'deduplicated'; readonly id: Uint8Array }
  | { readonly what: 'backlogFull' };

/** Who waits for an answer. */
export interface Answer<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** What became of a settle: done, or in vain because the lease was lost, or because what the handler read does not hold. */
export type Settled = 'done' | 'lost' | 'conflict';

/** A handler that has begun, as far as it has to be announced. */
export interface Running {
  readonly delivery: LeaseKey;
  readonly settling: boolean;
}

/** Messages of one tick for one channel, or settles of one tick, that become one command. */
interface ProduceGroup {
  readonly kind: 'produce';
  readonly ref: number;
  readonly versioned: boolean;
  readonly blocks: BlockWriter[];
  readonly answers: Answer<ProduceOutcome>[];
  bytes: number;
}

interface SettleGroup {
  readonly kind: 'settle';
  readonly settles: Settle[];
  readonly answers: Answer<Settled>[];
  bytes: number;
}

/** What is asked in one tick of a queue of BullMQ's, the same thing one or more times in a row. */
interface BullGroup {
  readonly kind: 'bull';
  readonly queue: string;
  readonly method: BullMethod;
  readonly asks: BullAsk['args'][];
  readonly answers: Answer<unknown>[];
  bytes: number;
}

interface Pending {
  readonly request: Request;
  readonly answer: Answer<Reply>;
  readonly bytes: number;
}

type Outgoing =
  | ProduceGroup
  | SettleGroup
  | BullGroup
  | { readonly kind: 'command'; readonly command: Command; readonly answer: Answer<Reply> }
  | { readonly kind: 'note'; readonly command: Command };

/** What is answered, and therefore has a number. */
type Numbered = Exclude<Outgoing, { readonly kind: 'note' }>;

/** A command of many messages is closed when it holds this many of them or this many bytes, to keep commits short. */
const GROUP_MESSAGES = 1_000;
const GROUP_BYTES: number = 256 * 1024;

/**
 * Requests that may be unanswered at a time, and their bytes; more wait here. The broker allows four times as many, and
 * what a network has not taken yet stays well below what may be buffered for it.
 */
const MAX_UNANSWERED = 1_024;
const MAX_UNANSWERED_BYTES: number = 16 * 1024 * 1024;

/** A frame is closed when it holds this many bytes; one command more may be in it. */
const FRAME_BYTES: number = 1024 * 1024;

/** Messages or settles of one tick that are sent without waiting for the end of the tick. */
const AMPLE = 500;

/** An ask of BullMQ's gives both sides as much to do as so many messages: adding a job half of what the others do. */
const ASK_WEIGHT = 20;
const ADD_WEIGHT = 10;

export class Outbox {
  #outgoing: Outgoing[] = [];
  #openProduces = new Map<number, ProduceGroup>();
  #openSettles: SettleGroup | undefined;
  #started: Running[] = [];
  readonly #pending = new NumberMap<Pending>();
  #pendingBytes = 0;
  #nextRequest = 1;
  #answeredUpTo = 0;
  /** Messages and settles since the last frame. */
  #gathered = 0;

  /**
   * Whether so much has gathered within this tick that the broker should begin with it: it works in another thread,
   * and would only wait for the rest.
   */
  get isAmple(): boolean {
    return this.#gathered >= AMPLE;
  }

  /** Whether anything is to be sent or waits for an answer. */
  get isIdle(): boolean {
    return this.#outgoing.length + this.#pending.size + this.#started.length === 0;
  }

  /** @param versioned gives the message a version of KV */
  produce(ref: number, item: Item, answer: Answer<ProduceOutcome>, versioned: boolean): void {
    let group = this.#openProduces.get(ref);
    if (group === undefined || isFull(group) || group.versioned !== versioned) {
      group = { kind: 'produce', ref, versioned, blocks: [], answers: [], bytes: 0 };
      this.#openProduces.set(ref, group);
      this.#outgoing.push(group);
    }
    addToBlocks(group.blocks, item);
    group.answers.push(answer);
    this.#gathered += 1;
    group.bytes += item.payload.length;
  }

  settle(settle: Settle, answer: Answer<Settled>): void {
    if (this.#openSettles === undefined || isFull(this.#openSettles)) {
      this.#openSettles = { kind: 'settle', settles: [], answers: [], bytes: 0 };
      this.#outgoing.push(this.#openSettles);
    }
    this.#openSettles.settles.push(settle);
    this.#openSettles.answers.push(answer);
    this.#gathered += 1;
    this.#openSettles.bytes += bytesOf(settle);
  }

  /** Asks a queue of BullMQ's; it comes after everything that was asked for before. `bytes` is about what it takes. */
  bull({ queue, method, args }: BullAsk, bytes: number, answer: Answer<unknown>): void {
    const last = this.#outgoing.at(-1);
    const isSame = last?.kind === 'bull' && last.queue === queue && last.method === method;
    let group = isSame && last.asks.length < MAX_BULL_ASKS && last.bytes + bytes <= GROUP_BYTES ? last : undefined;
    if (group === undefined) {
      this.#closeGroups();
      group = { kind: 'bull', queue, method, asks: [], answers: [], bytes: 0 };
      this.#outgoing.push(group);
    }
    group.asks.push(args);
    group.answers.push(answer);
    this.#gathered += method === 'add' ? ADD_WEIGHT : ASK_WEIGHT;
    group.bytes += bytes;
  }

  /** Any other command; it comes after everything that was asked for before. */
  command(command: Command, answer: Answer<Reply>): void {
    this.#closeGroups();
    this.#outgoing.push({ kind: 'command', command, answer });
  }

  /** A note keeps its place among the commands: a window comes after the name of its channel. */
  note(command: Command): void {
    this.#outgoing.push({ kind: 'note', command });
  }

  /** Notes that a handler runs; one that ends within the tick is never mentioned. */
  started(running: Running): void {
    this.#started.push(running);
  }

  /** The next frame to send, if there is anything to send now; behind a full one there may be another. */
  next(): Uint8Array<ArrayBuffer> | undefined {
    const requests: Request[] = this.#takeStarted();
    this.#gathered = 0;
    this.#closeGroups();
    let taken = 0;
    let bytes = 0;
    for (const outgoing of this.#outgoing) {
      if (this.#isFull || bytes >= FRAME_BYTES) break;
      taken += 1;
      if (outgoing.kind === 'note') {
        requests.push({ request: 0, command: outgoing.command });
        bytes += roughBytes(outgoing.command);
      } else {
        const pending = this.#number(outgoing);
        requests.push(pending.request);
        bytes += pending.bytes;
      }
    }
    this.#outgoing = taken === this.#outgoing.length ? [] : this.#outgoing.slice(taken);
    return requests.length === 0 ? undefined : encodeRequests({ answeredUpTo: this.#answeredUpTo, requests });
  }

  /** What a new link hears first: these notes, and which handlers run. */
  first(notes: readonly Command[]): Generator<Uint8Array<ArrayBuffer>> {
    return this.#frames([...notes.map((command) => ({ request: 0, command })), ...this.#takeStarted()]);
  }

  /** What was sent and not answered, for a new link of the same session. */
  again(): Generator<Uint8Array<ArrayBuffer>> {
    return this.#frames(this.#unanswered().map(({ request }) => request));
  }

  /** What was sent and not answered, in the order in which it was. */
  #unanswered(): Pending[] {
    return this.#pending.values().sort((a, b) => a.request.request - b.request.request);
  }

  *#frames(all: readonly Request[]): Generator<Uint8Array<ArrayBuffer>> {
    let requests: Request[] = [];
    let bytes = 0;
    for (const request of all) {
      requests.push(request);
      bytes += roughBytes(request.command);
      if (bytes < FRAME_BYTES) continue;
      yield encodeRequests({ answeredUpTo: this.#answeredUpTo, requests });
      requests = [];
      bytes = 0;
    }
    if (requests.length > 0) yield encodeRequests({ answeredUpTo: this.#answeredUpTo, requests });
  }

  /** Hands an answer to whoever waits for it; an answer that came before is ignored. */
  answer(request: number, reply: Reply): void {
    const pending = this.#pending.get(request);
    if (pending === undefined) return;
    this.#pending.delete(request);
    this.#pendingBytes -= pending.bytes;
    this.#answeredUpTo = Math.max(this.#answeredUpTo, request);
    pending.answer.resolve(reply);
  }

  /** The session is another one: what was sent has an unknown outcome, and numbers start again. */
  restart(error: HoldfastError): void {
    const pending = this.#unanswered();
    this.#pending.clear();
    this.#pendingBytes = 0;
    this.#started = [];
    this.#nextRequest = 1;
    this.#answeredUpTo = 0;
    for (const { answer } of pending) answer.reject(error);
  }

  /** Rejects everything. */
  fail(error: HoldfastError): void {
    this.restart(error);
    this.#closeGroups();
    for (const outgoing of this.#outgoing.splice(0)) {
      if (outgoing.kind === 'note') continue;
      if (outgoing.kind === 'command') outgoing.answer.reject(error);
      else for (const answer of outgoing.answers) answer.reject(error);
    }
  }

  #takeStarted(): Request[] {
    const leases: LeaseKey[] = [];
    for (const { delivery, settling } of this.#started) {
      if (!settling) leases.push({ seq: delivery.seq, token: delivery.token });
    }
    this.#started = [];
    if (leases.length === 0) return [];
    return [{ request: 0, command: { kind: 'started', leases } }];
  }

  /** What comes next is not added to the commands before. */
  #closeGroups(): void {
    // A new one, as a cleared map is linked to those that it was before, with all that was in them.
    if (this.#openProduces.size > 0) this.#openProduces = new Map();
    this.#openSettles = undefined;
  }

  /** Whether so much is unanswered that nothing should follow it now. */
  get #isFull(): boolean {
    return this.#pending.size >= MAX_UNANSWERED || this.#pendingBytes >= MAX_UNANSWERED_BYTES;
  }

  /** Hands out the answers to asks, and asks once more what was not answered as the others were so long. */
  #answerToAsks({ queue, method, asks, answers, bytes }: BullGroup): Answer<Reply> {
    return {
      reject: (error) => rejectAll(answers, error),
      resolve: (reply) => {
        if (reply.kind !== 'bull') return rejectAll(answers, refusal(reply));
        const { values, refusals } = reply;
        for (const { index, code, message } of refusals) answers[index]?.reject(new HoldfastError(code, message));
        answers.forEach((answer, i) => {
          // One that was rejected stays so.
          if (i < values.length) answer.resolve(values[i]);
          else this.bull({ queue, method, args: asks[i] as BullAsk['args'] }, bytes / asks.length, answer);
        });
      },
    };
  }

  #number(outgoing: Numbered): Pending {
    const request: Request = { request: this.#nextRequest++, command: commandOf(outgoing) };
    const answer = outgoing.kind === 'bull' ? this.#answerToAsks(outgoing) : answerOf(outgoing);
    const pending = { request, answer, bytes: roughBytes(request.command) };
    this.#pending.set(request.request, pending);
    this.#pendingBytes += pending.bytes;
    return pending;
  }
}

/** Adds a message to the last block, or to a new one when it does not belong there. */
export function addToBlocks(blocks: BlockWriter[], { id, codec, payload, options }: Item): void {
  const second = idSecond(id);
  let block = blocks[blocks.length - 1];
  if (block === undefined || block.isClosedFor(codec, second, payload.length)) {
    // Behind a full block there is likely another.
    block = new BlockWriter(codec, second, block === undefined ? undefined : BLOCK_BYTES);
    blocks.push(block);
  }
  block.add(id, payload, options);
}

/** The answers to the messages of a produce, from the exceptions among them. */
export function outcomesOf(reply: Reply, count: number): ProduceOutcome[] {
  if (reply.kind !== 'produced') throw refusal(reply);
  const outcomes = Array.from({ length: count }, (): ProduceOutcome => STORED);
  for (const { index, what, id } of reply.exceptions) {
    outcomes[index] = what === 'deduplicated' && id !== undefined ? { what, id } : { what: 'backlogFull' };
  }
  return outcomes;
}

/** The error that a refusal means to the caller. */
export function refusal(reply: Reply): HoldfastError {
  if (reply.kind === 'refused') return new HoldfastError(reply.code, reply.message);
  return new HoldfastError('PROTOCOL', `Cannot use an answer of kind ${reply.kind} here`);
}

function isFull({ answers, bytes }: ProduceGroup | SettleGroup): boolean {
  return answers.length >= GROUP_MESSAGES || bytes >= GROUP_BYTES;
}

function bytesOf({ outcome, produced, effects }: Settle): number {
  const result = outcome.kind === 'ack' ? (outcome.result?.length ?? 0) : 0;
  const blocks = produced?.flatMap((part) => part.blocks) ?? [];
  const rest = effects === undefined ? result : result + effectsBytes(effects);
  return blocks.reduce((sum, block) => sum + block.length, rest);
}

const STORED: ProduceOutcome = { what: 'stored' };

function commandOf(outgoing: Numbered): Command {
  switch (outgoing.kind) {
    case 'produce':
      return {
        kind: 'produce',
        ref: outgoing.ref,
        atomic: false,
        blocks: outgoing.blocks.map((block) => block.finish()),
        ...(outgoing.versioned && { versioned: true }),
      };
    case 'settle':
      return { kind: 'settle', settles: outgoing.settles };
    case 'bull': {
      const { queue, method, asks } = outgoing;
      return { kind: 'bull', queue, method, asks };
    }
    case 'command':
      return outgoing.command;
  }
}

function answerOf(outgoing: Exclude<Numbered, BullGroup>): Answer<Reply> {
  switch (outgoing.kind) {
    case 'command':
      return outgoing.answer;
    case 'produce':
      return {
        reject: (error) => rejectAll(outgoing.answers, error),
        resolve: (reply) => answerProduces(outgoing.answers, reply),
      };
    case 'settle':
      return {
        reject: (error) => rejectAll(outgoing.answers, error),
        resolve: (reply) => {
          if (reply.kind !== 'settled') return rejectAll(outgoing.answers, refusal(reply));
          const lost = new Set(reply.lost);
          const conflicts = new Set(reply.conflicts);
          outgoing.answers.forEach((answer, i) => {
            answer.resolve(lost.has(i) ? 'lost' : conflicts.has(i) ? 'conflict' : 'done');
          });
        },
      };
  }
}

function answerProduces(answers: readonly Answer<ProduceOutcome>[], reply: Reply): void {
  if (reply.kind !== 'produced') return rejectAll(answers, refusal(reply));
  const { version } = reply;
  if (reply.exceptions.length === 0 && version === undefined) {
    for (const answer of answers) answer.resolve(STORED);
    return;
  }
  const outcomes = outcomesOf(reply, answers.length);
  answers.forEach((answer, i) => {
    const outcome = outcomes[i] as ProduceOutcome;
    answer.resolve(outcome === STORED && version !== undefined ? { what: 'stored', version: version + i } : outcome);
  });
}

function rejectAll(answers: readonly { reject(error: unknown): void }[], error: unknown): void {
  for (const answer of answers) answer.reject(error);
}
