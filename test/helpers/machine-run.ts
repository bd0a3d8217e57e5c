import { encode } from '#holdfast/codec/bson.js';
import {
  type ColdView,
  type Context,
  type Flushed,
  Machine,
  type Need,
  type Proof,
  type RangePart,
  type Session,
} from '#holdfast/machine/machine.js';
import { itemOf, openPack } from '#holdfast/machine/pack.js';
import { BlockWriter, idSecond, type ItemOptions } from '#holdfast/model/block.js';
import type { Command, Notice, Outcome, Reply, Settle } from '#holdfast/model/command.js';
import type { Failure } from '#holdfast/model/failure.js';
import { MessageIdSource, messageIdText } from '#holdfast/model/message-id.js';
import { DEFAULT_POLICY, type Policy, type SettingsPatch } from '#holdfast/model/policy.js';
import { seededRandom } from '#holdfast/model/random.js';
import { EVERYTHING } from '#holdfast/model/scopes.js';
import { compareKeys, type Entry, type Key, type KeyRange, type Value, type Write } from '#holdfast/model/records.js';
import { applyWrites, createMemoryDisk, type MemoryDisk } from '#holdfast/store/memory.js';

const START = Date.UTC(2030, 0, 1);
export const SESSION_TIMEOUT_MS = 30_000;

/** Of a client whose way in is proof enough. */
const TRUSTED: Proof = { accessToken: '', grant: EVERYTHING };

/** A message as it reached a consumer. */
export interface Delivered {
  readonly session: string;
  readonly consumer: number;
  readonly seq: number;
  readonly token: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly timeoutMs: number;
  /** The id of the message. */
  readonly id: string;
}

/**
 * A machine and the map that it writes to, without a broker: commands are data, time stands still until it is moved,
 * and at any point a fresh machine can be loaded from what was written.
 */
export class MachineRun {
  machine = new Machine('test');
  now = START;
  wall = START;
  readonly disk: MemoryDisk = createMemoryDisk();
  /** All writes of all flushes, in order. */
  readonly writes: Write[] = [];
  readonly delivered: Delivered[] = [];
  readonly notices: { readonly session: string; readonly notice: Notice }[] = [];
  host = 'host';
  readonly #clients = new Map<string, MachineClient>();
  #epoch = 1;
  readonly #ids = new MessageIdSource({ ...noClock, wallMs: () => this.wall }, seededRandom(7));
  readonly #random = seededRandom(11);

  constructor() {
    const loader = this.machine.loader();
    loader.begin(1, this.now, this.host);
    loader.finish(this.now, SESSION_TIMEOUT_MS);
  }

  get context(): Context {
    return { now: this.now, wall: this.wall, random: () => this.#random.fraction() };
  }

  newId(): Uint8Array {
    return this.#ids.next();
  }

  /** Opens a session. */
  client(name: string, host: string = this.host, proof: Proof = TRUSTED): MachineClient {
    const client = new MachineClient(this, name, host, proof);
    this.#clients.set(name, client);
    return client;
  }

  forget(client: MachineClient): void {
    this.#clients.delete(client.name);
  }

  /** Applies a command with the cold records that it asks for, and nothing else. */
  apply(session: Session, request: number, command: Command): Reply | undefined {
    this.flush();
    const view = new AskedView(this.disk, (number) => this.machine.packKey(number));
    for (;;) {
      const need = this.machine.plan(session, { request, command }, view);
      if (need === undefined) break;
      view.load(need);
    }
    return this.machine.apply(session, { request, command }, this.context, view);
  }

  /** Hands out what can be handed out, and writes what has changed. */
  flush(): Flushed {
    if (!this.machine.isLoading) this.machine.dispatch(this.context);
    const flushed = this.machine.flush();
    this.writes.push(...flushed.writes);
    applyWrites(this.disk, flushed.writes);
    for (const { session, pack, usage: _usage, ...rest } of flushed.deliveries) {
      const value = this.disk.entries.get(this.machine.packKey(pack));
      if (value === undefined) throw new Error(`The pack ${pack} of a delivery is missing`);
      this.delivered.push({ ...rest, session: session.id, id: idInPack(value, rest.seq - pack) });
    }
    for (const { session, notice } of flushed.notices) this.notices.push({ session: session.id, notice });
    return flushed;
  }

  /** Does all that is due, as the broker would. */
  run(): void {
    this.flush();
    for (let steps = 0; this.isDue; steps++) {
      if (steps === 10_000) throw new Error('The machine does not come to rest');
      this.step();
    }
  }

  /** One tick with its cold records. */
  step(): void {
    const view = new AskedView(this.disk, (number) => this.machine.packKey(number));
    for (let need = this.machine.planTick(view); need !== undefined; need = this.machine.planTick(view))
      view.load(need);
    this.machine.tick(this.context, view);
    this.flush();
  }

  get isDue(): boolean {
    const wake = this.machine.nextWake();
    return wake.machine <= this.now || wake.wall <= this.wall;
  }

  /** Lets time pass, stopping wherever the machine wants to be woken. */
  advance(ms: number): void {
    const until = this.now + ms;
    this.run();
    for (;;) {
      const { machine, wall } = this.machine.nextWake();
      const next = Math.min(machine, this.now + (wall - this.wall));
      if (next > until) break;
      this.#pass(next - this.now);
      this.run();
    }
    this.#pass(until - this.now);
    this.run();
  }

  /**
   * A fresh machine takes over from what was written; living sessions come back, as clients do.
   *
   * @param meanwhile happens while half of the body has been read
   */
  reload(livingHost: string = this.host, meanwhile: () => void = () => {}): void {
    this.flush();
    this.host = livingHost;
    this.machine = new Machine('test');
    const loader = this.machine.loader();
    for (const entry of this.disk.entries.items(this.machine.head)) loader.add(entry);
    this.#epoch += 1;
    loader.begin(this.#epoch, this.wall, livingHost);
    const [{ from, to }, ...others] = this.machine.body as [KeyRange, ...KeyRange[]];
    const body = [...this.disk.entries.items({ from, to })];
    const middle = body[Math.floor(body.length / 2)]?.key ?? to;
    for (const entry of this.disk.entries.items({ from, to: middle })) loader.add(entry);
    for (const client of this.#clients.values()) if (client.host === livingHost) client.takeUp();
    meanwhile();
    // What was written meanwhile is read as well where it stands behind.
    for (const range of [{ from: middle, to }, ...others]) {
      for (const entry of this.disk.entries.items(range)) loader.add(entry);
    }
    loader.finish(this.wall, SESSION_TIMEOUT_MS);
    for (const client of this.#clients.values()) {
      if (client.host === livingHost) client.resume();
      else this.#clients.delete(client.name);
    }
    this.run();
  }

  /** What the store holds, by the kind of the record. */
  get kinds(): number[] {
    const kinds = [...this.disk.entries.items({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })].map(
      ({ key }) => key['test\0'.length] as number,
    );
    return [...new Set(kinds)];
  }

  /** What stands in the store within a range. */
  stored(range: KeyRange): Entry[] {
    return [...this.disk.entries.items(range)];
  }

  #pass(ms: number): void {
    if (ms <= 0) return;
    this.now += ms;
    this.wall += ms;
  }
}

/** A session with its request numbers, references and consumers. */
export class MachineClient {
  readonly name: string;
  readonly host: string;
  readonly #run: MachineRun;
  readonly #proof: Proof;
  readonly #declared: Extract<Command, { kind: 'declare' }>[] = [];
  readonly #windows = new Map<number, Extract<Command, { kind: 'window' }>>();
  session: Session;
  lastRequest = 0;
  #started: { readonly seq: number; readonly token: number }[] = [];

  constructor(run: MachineRun, name: string, host: string, proof: Proof) {
    this.#run = run;
    this.name = name;
    this.host = host;
    this.#proof = proof;
    this.session = this.#open();
  }

  /** Sends a command and gives its answer. */
  ask(command: Command): Reply {
    this.lastRequest += 1;
    this.#run.machine.confirm(this.session, this.lastRequest - 1);
    const reply = this.#run.apply(this.session, this.lastRequest, command);
    this.#run.flush();
    if (reply === undefined) throw new Error('A request got no answer');
    return reply;
  }

  /** Sends a note in passing. */
  note(command: Command): void {
    this.#run.apply(this.session, 0, command);
    this.#run.flush();
  }

  /** Names a channel with its rules. */
  declare(channel: string, policy: Partial<Policy> = {}, settings?: SettingsPatch): number {
    const ref = this.#declared.length + 1;
    const command = { kind: 'declare', ref, channel, policy: { ...DEFAULT_POLICY, ...policy }, settings } as const;
    this.#declared.push({ ...command, settings: undefined });
    this.ask(command);
    return ref;
  }

  /** Whether a produce to this channel is served while the machine is still loading. */
  isServed(ref: number): boolean {
    const command = { kind: 'produce', ref, atomic: false, blocks: [] } as const;
    return this.#run.machine.isServedWhileLoading(this.session, { request: this.lastRequest + 1, command });
  }

  /** Produces one message and gives its id. */
  produce(ref: number, options: ItemOptions = {}, value: unknown = 'message'): string {
    const [id] = this.produceSome(ref, [options], value);
    return id as string;
  }

  /** Produces messages in one block and gives their ids, whatever became of them. */
  produceSome(ref: number, items: readonly ItemOptions[], value: unknown = 'message'): string[] {
    const ids = items.map(() => this.#run.newId());
    this.ask({ kind: 'produce', ref, atomic: false, blocks: [blockOf(ids, items, value)] });
    return ids.map((id) => messageIdText(id));
  }

  /** As `produce`, and gives the answer. */
  tryProduce(ref: number, options: ItemOptions = {}): Reply {
    return this.ask({ kind: 'produce', ref, atomic: false, blocks: [blockOf([this.#run.newId()], [options])] });
  }

  /** Opens a consumer, or changes how much it is willing to hold. */
  window(consumer: number, ref: number, size: number): void {
    const command = { kind: 'window', consumer, ref, size } as const;
    this.#windows.set(consumer, command);
    this.note(command);
  }

  /** What this session was handed since it was asked last. */
  take(): Delivered[] {
    this.#run.flush();
    const { delivered } = this.#run;
    const own = delivered.filter(({ session }) => session === this.name);
    const others = delivered.filter(({ session }) => session !== this.name);
    delivered.splice(0, delivered.length, ...others);
    return own;
  }

  takeIds(): string[] {
    return this.take().map(({ id }) => id);
  }

  settle(
    lease: { readonly seq: number; readonly token: number },
    outcome: Outcome,
    produced?: Settle['produced'],
    effects?: Settle['effects'],
  ): Reply {
    const { seq, token } = lease;
    return this.ask({ kind: 'settle', settles: [{ seq, token, outcome, produced, effects }] });
  }

  ack(lease: { readonly seq: number; readonly token: number }): Reply {
    return this.settle(lease, { kind: 'ack', result: undefined });
  }

  nack(lease: { readonly seq: number; readonly token: number }, delayMs?: number): Reply {
    return this.settle(lease, { kind: 'nack', failure: failureOf('boom'), delayMs });
  }

  started(leases: readonly { readonly seq: number; readonly token: number }[]): void {
    this.note({ kind: 'started', leases: leases.map(({ seq, token }) => ({ seq, token })) });
  }

  /** Says hello to a broker that has started anew, which may still be loading. */
  takeUp(): void {
    const started = [...this.session.held.values()].filter(({ lease }) => lease?.started === true);
    this.#started = started.map(({ seq, lease }) => ({ seq, token: lease?.token ?? 0 }));
    this.session = this.#open();
    for (const command of this.#declared) this.note(command);
  }

  /** Says what else a client says when it comes back, once the broker has loaded all. */
  resume(): void {
    for (const command of this.#windows.values()) this.note(command);
    this.started(this.#started);
  }

  #open(): Session {
    const opened = this.#run.machine.open(this.name, this.host, this.#proof);
    if (opened === undefined) throw new Error('The session belongs to another access token');
    return opened.session;
  }

  /** The client's connection is gone; it does not come back. */
  die(): void {
    const { machine, context, now } = this.#run;
    machine.detach(this.session, now, now + SESSION_TIMEOUT_MS, context);
    this.#run.forget(this);
    this.#run.run();
  }
}

export function failureOf(message: string): Failure {
  return { name: 'Error', message, stack: undefined };
}

/** A block of messages with this value, one with each of these options. */
export function blockOf(
  ids: readonly Uint8Array[],
  items: readonly ItemOptions[],
  value: unknown = 'message',
): Uint8Array {
  const block = new BlockWriter(1, idSecond(ids[0] as Uint8Array));
  ids.forEach((id, i) => block.add(id, encode(value), items[i] ?? {}));
  return block.finish();
}

/** A dedupe hash that stands for this key. */
export function dedupe(key: string): { readonly dedupe: Uint8Array } {
  return { dedupe: new Uint8Array(16).map((_, i) => key.charCodeAt(i % key.length)) };
}

function idInPack(pack: Value, index: number): string {
  const item = itemOf(openPack(pack), index);
  if (item === undefined) throw new Error(`The message at ${index} of a pack is missing`);
  return messageIdText(item, 1);
}

/** Cold records as a command gets them: those that were asked for. */
class AskedView implements ColdView {
  readonly #disk: MemoryDisk;
  readonly #keys: { readonly key: Key; readonly value: Value | undefined }[] = [];
  readonly #ranges: { readonly from: Key; readonly to: Key; readonly entries: readonly Entry[] }[] = [];

  readonly #packs = new Map<number, Value | undefined>();
  readonly #packKey: (number: number) => Key;

  constructor(disk: MemoryDisk, packKey: (number: number) => Key) {
    this.#disk = disk;
    this.#packKey = packKey;
  }

  pack(number: number): { readonly value: Value | undefined } | undefined {
    return this.#packs.has(number) ? { value: this.#packs.get(number) } : undefined;
  }

  load({ keys, ranges, packs = [] }: Need): void {
    for (const number of packs) this.#packs.set(number, this.#disk.entries.get(this.#packKey(number)));
    if (keys.length + ranges.length === 0) return;
    for (const key of keys) this.#keys.push({ key, value: this.#disk.entries.get(key) });
    for (const range of ranges) this.#ranges.push({ ...range, entries: [...this.#disk.entries.items(range)] });
  }

  get(key: Key): { readonly value: Value | undefined } | undefined {
    return this.#keys.find((known) => compareKeys(known.key, key) === 0);
  }

  range({ from, to }: KeyRange): readonly Entry[] | undefined {
    return this.#ranges.find((known) => compareKeys(known.from, from) === 0 && compareKeys(known.to, to) === 0)
      ?.entries;
  }

  part(range: KeyRange): RangePart | undefined {
    const entries = this.range(range);
    return entries && { entries, isEnd: entries.length !== range.limit };
  }
}

const noClock = {
  monotonicMs: () => 0,
  timer: () => () => {},
  defer: () => {},
  afterInput: () => {},
  keepAlive: () => () => {},
} as const;
