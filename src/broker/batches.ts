/**
 * The batches under one lead, one after the other. In a batch, what clients have sent is applied to memory in the order in
 * which it came, the writes that follow from it are committed together, and only when the store has made them durable do
 * replies and deliveries go out. A lead that has failed is over with its batches: all that they know goes with it.
 */
import { type ColdView, type Context, type Need, NOTHING_COLD, type Session } from '../machine/machine.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Command, Reply, Request } from '../model/command.ts';
import type { Attendance } from './attendance.ts';
import { Backups } from './backups.ts';
import { Batch } from './batch.ts';
import type { BrokerOptions } from './broker-options.ts';
import { type ColdRead, ColdRecords } from './cold-records.ts';
import { EntryCache } from './entry-cache.ts';
import type { Key } from '../model/records.ts';
import type { Connection, Incoming } from './connection.ts';
import type { Inbox } from './inbox.ts';
import type { Lead } from './lead.ts';
import { Sessions } from './sessions.ts';
import { Speaker } from './speaker.ts';

/** A batch is closed when it has applied this many commands or gathered this many bytes, to keep commits short. */
const BATCH_COMMANDS = 2_000;
const INSPECT_COMMANDS = 40;
const BATCH_BYTES = 256 * 1024;

/** The wall clock can jump, so what waits for it is looked at this often. */
const WALL_CHECK_MS = 1_000;

/** What the cache of KV holds at most, and for how many requests of a client that wait, up to how many
 * keys of them, entries are read in advance. */
const CACHE_BYTES: number = 32 * 1024 * 1024;
const REQUESTS_AHEAD = 1_000;
const KEYS_AHEAD = 10_000;

/** What the broker has, whoever leads: it outlives the lead. */
export interface Surroundings {
  readonly connections: Set<Connection>;
  readonly inbox: Inbox;
  readonly attendance: Attendance;
  /** Told when something that was read for waits to be applied. */
  readonly onRead: () => void;
  readonly onReadFailed: (error: unknown) => void;
}

export class Batches {
  readonly #lead: Lead;
  readonly #connections: ReadonlySet<Connection>;
  readonly #inbox: Inbox;
  readonly #attendance: Attendance;
  readonly #sessionTimeoutMs: number;
  readonly #onRead: () => void;
  readonly #onReadFailed: (error: unknown) => void;
  readonly #draw: () => number;
  readonly #sessions: Sessions;
  readonly #backups: Backups;
  readonly #speaker: Speaker;
  readonly #entries: EntryCache;
  /** Connections with a command that waits for records which are still to be asked for. */
  readonly #toRead: Connection[] = [];
  /** What is read for the work that is due by time. */
  #tickCold: ColdRead | undefined;
  #nextCommitId = 1n;
  #isOver = false;

  constructor(lead: Lead, options: BrokerOptions, surroundings: Surroundings) {
    const { space, random, sessionTimeoutMs, entryCacheBytes = CACHE_BYTES } = options;
    const { connections, inbox, attendance, onRead, onReadFailed } = surroundings;
    this.#lead = lead;
    this.#connections = connections;
    this.#inbox = inbox;
    this.#attendance = attendance;
    this.#sessionTimeoutMs = sessionTimeoutMs;
    this.#onRead = onRead;
    this.#onReadFailed = onReadFailed;
    this.#draw = () => random.fraction();
    this.#sessions = new Sessions(lead.machine, connections, attendance, sessionTimeoutMs);
    this.#backups = new Backups(lead.machine, space, connections);
    this.#entries = new EntryCache(entryCacheBytes, (key) => lead.machine.isEntry(key));
    this.#speaker = new Speaker(lead, sessionTimeoutMs, (session) => this.#sessions.connectionOf(session));
  }

  /** Whether there is something to do now. */
  get hasWork(): boolean {
    if (!this.#inbox.isEmpty || this.#tickCold?.ready === true) return true;
    for (const { cold } of this.#connections) if (cold?.ready === true) return true;
    return !this.#lead.machine.isLoading && this.#isTickDue(this.#context());
  }

  /** When something is due by time, in milliseconds from now; `Infinity` while nothing is. */
  get wakesInMs(): number {
    if (this.#tickCold !== undefined || this.#lead.machine.isLoading) return Infinity;
    const { now, wall } = this.#context();
    const wake = this.#lead.machine.nextWake();
    const lookInMs = wake.wall === Infinity ? Infinity : WALL_CHECK_MS;
    return Math.max(0, Math.min(wake.machine - now, lookInMs, wake.wall - wall));
  }

  /** @throws StoreError when the store has failed: then memory is ahead of it, and the lead is of no use any more */
  async runNext(): Promise<void> {
    if (this.#lead.reserve.isStale) await this.#lead.reserve.ask();
    if (this.#isOver) return;
    this.look();
    const { machine, reserve } = this.#lead;
    machine.hold(reserve.isReached);
    const batch = new Batch(this.#context());
    machine.expireTokens(batch.context);
    this.#sessions.dismissEnded(batch);
    this.#applyLoaded(batch);
    this.#applyIncoming(batch);
    this.#readAhead(batch);
    if (!machine.isLoading) {
      this.#tickIfDue(batch);
      machine.dispatch(batch.context);
    }
    this.#flush(batch);
    await this.#commit(batch);
    if (!this.#isOver) await this.#speak(batch);
  }

  /** Writes what is left to be written before the store is let go. */
  async finish(): Promise<void> {
    if (this.#isOver) return;
    const batch = new Batch(this.#context());
    this.#lead.machine.finish();
    this.#flush(batch);
    await this.#commit(batch);
  }

  /** Behind an absence, every client has a whole session timeout to come back: what it has said was not heard. */
  look(): void {
    if (!this.#attendance.hasBeenAway()) return;
    const context = this.#context();
    this.#lead.machine.awaitSessions(context.now + this.#sessionTimeoutMs, context);
  }

  /** The lead is lost: nothing follows any more, and what is under way says nothing. */
  end(): void {
    this.#isOver = true;
  }

  #context(): Context {
    const { now, wall } = this.#lead.time.read();
    return { now, wall, random: this.#draw };
  }

  /** Applies the commands whose cold records have come; these are current only until something else is applied. */
  #applyLoaded(batch: Batch): void {
    for (const connection of this.#connections) {
      const { cold, session, backup } = connection;
      if (cold?.ready !== true || session === undefined) continue;
      const { request, records } = cold;
      if (!isOfEntries(request.command)) this.#flush(batch);
      const need = this.#lead.machine.plan(session, request, records);
      if (need !== undefined) {
        this.#loadCold(cold, need, batch);
        continue;
      }
      connection.cold = undefined;
      for (const { key, value } of records.values()) this.#entries.add(key, value);
      if (request.command.kind !== 'backup') this.#apply(connection, session, request, records, batch);
      else if (backup !== undefined) {
        const value = this.#backups.take(connection, backup, batch.context.now);
        batch.replies.push({ to: connection, request: request.request, reply: { kind: 'value', value } });
      }
      this.#inbox.resume(connection);
    }
  }

  #applyIncoming(batch: Batch): void {
    const { machine } = this.#lead;
    const isEnough = (): boolean => batch.commands >= BATCH_COMMANDS || machine.pendingBytes >= BATCH_BYTES;
    this.#inbox.take(machine, isEnough, (from, incoming) => this.#applyOne(from, incoming, batch));
  }

  #applyOne(from: Connection, incoming: Incoming, batch: Batch): void {
    // Answers of an inspection may be long, and a batch holds all of its answers at once.
    batch.commands += incoming.kind === 'request' ? weightOf(incoming.request.command) : 1;
    if (from.isLeaving && incoming.kind !== 'closed') return;
    switch (incoming.kind) {
      case 'hello':
        this.#sessions.hello(from, incoming.hello, batch);
        break;
      case 'confirm':
        from.begin(incoming.memoryBytes);
        if (from.session !== undefined) this.#lead.machine.confirm(from.session, incoming.upTo);
        break;
      case 'request':
        this.#request(from, incoming.request, batch);
        break;
      case 'bye':
        this.#sessions.bye(from, batch);
        break;
      case 'drained':
        batch.drained.push(from);
        break;
      case 'closed':
        this.#sessions.lost(from, batch);
        break;
    }
  }

  #request(from: Connection, request: Request, batch: Batch): void {
    const { session } = from;
    const { machine, reserve } = this.#lead;
    if (session === undefined) {
      const goodbye = { code: 'PROTOCOL', message: 'Requests come after HELLO' } as const;
      return this.#sessions.disconnect(from, goodbye, batch);
    }
    if (reserve.isReached && addsData(request.command)) return this.#refuseFull(from, session, request, batch);
    if (request.command.kind === 'backup') return this.#backup(from, session, request, batch);
    const need = machine.plan(session, request, this.#entries);
    if (need === undefined) return this.#apply(from, session, request, this.#entries, batch);
    from.cold = { request, records: new ColdRecords(), ready: false };
    this.#toRead.push(from);
  }

  /** Reads for commands that wait, and in the same step for those of their clients that come behind them. */
  #readAhead(batch: Batch): void {
    const { machine } = this.#lead;
    for (const { cold, session, postponed } of this.#toRead.splice(0)) {
      if (cold === undefined || session === undefined) continue;
      const need = machine.plan(session, cold.request, cold.records) ?? NOTHING_NEEDED;
      const ahead: Key[] = [];
      for (const incoming of postponed.slice(0, REQUESTS_AHEAD)) {
        if (incoming.kind !== 'request' || !isOfEntries(incoming.request.command)) continue;
        ahead.push(...(machine.plan(session, incoming.request, this.#entries)?.keys ?? []));
        if (ahead.length >= KEYS_AHEAD) break;
      }
      this.#loadCold(cold, need, batch, ahead);
    }
  }

  #apply(from: Connection, session: Session, request: Request, view: ColdView, batch: Batch): void {
    try {
      const reply = this.#lead.machine.apply(session, request, batch.context, view);
      if (reply !== undefined) batch.replies.push({ to: from, request: request.request, reply });
      if (request.command.kind === 'createToken') this.#sessions.dismissUnproven(batch);
      else if (request.command.kind === 'revokeToken') this.#sessions.dismissEnded(batch);
    } catch (error) {
      this.#refuseClient(from, error, batch);
    }
  }

  #refuseFull(from: Connection, session: Session, { request }: Request, batch: Batch): void {
    try {
      const reply = this.#lead.machine.refuse(session, request, 'STORE_FULL', FULL_MESSAGE);
      if (reply !== undefined) batch.replies.push({ to: from, request, reply });
    } catch (error) {
      this.#refuseClient(from, error, batch);
    }
  }

  /** Reads for the next part of a backup, which is made at the start of a later batch. */
  #backup(from: Connection, session: Session, request: Request, batch: Batch): void {
    const { command } = request;
    if (command.kind !== 'backup') return;
    if (command.stop) this.#backups.stop(from, command);
    // Nobody can be given a part who does not wait for an answer.
    if (request.request === 0) return;
    try {
      const { machine, store, epoch } = this.#lead;
      const refusal = machine.pass(session, request);
      const backup = refusal ?? (command.stop ? DONE : this.#backups.find(from, command, batch.context.now));
      if ('kind' in backup) {
        batch.replies.push({ to: from, request: request.request, reply: backup });
        return;
      }
      from.cold = { request, records: new ColdRecords(), ready: false };
      this.#whenRead(from.cold, backup.read(store, epoch));
      backup.update(batch.writes);
    } catch (error) {
      this.#refuseClient(from, error, batch);
    }
  }

  #refuseClient(from: Connection, error: unknown, batch: Batch): void {
    if (!(error instanceof HoldfastError) || error.code !== 'PROTOCOL') throw error;
    this.#sessions.disconnect(from, { code: 'PROTOCOL', message: error.message }, batch);
  }

  /** Reads in the background; the command is applied at the start of a later batch. */
  #loadCold(cold: ColdRead, need: Need, batch: Batch, ahead: readonly Key[] = []): void {
    const { store, epoch } = this.#lead;
    this.#whenRead(cold, cold.records.load(store, epoch, need, this.#speaker.knownPacks, ahead));
    // These are on their way to the store, and the reading may have come before them.
    cold.records.update(batch.writes);
  }

  #whenRead(cold: ColdRead, read: Promise<void>): void {
    cold.ready = false;
    read.then(() => {
      cold.ready = true;
      this.#onRead();
    }, this.#onReadFailed);
  }

  #isTickDue({ now, wall }: Context): boolean {
    if (this.#tickCold !== undefined) return this.#tickCold.ready;
    const wake = this.#lead.machine.nextWake();
    return wake.machine <= now || wake.wall <= wall;
  }

  #tickIfDue(batch: Batch): void {
    if (!this.#isTickDue(batch.context)) return;
    const { machine } = this.#lead;
    const cold = this.#tickCold ?? { records: new ColdRecords(), ready: false };
    if (this.#tickCold !== undefined) this.#flush(batch);
    const need = machine.planTick(cold.records);
    this.#tickCold = need && cold;
    if (need !== undefined) this.#loadCold(cold, need, batch);
    machine.tick(batch.context, need === undefined ? cold.records : NOTHING_COLD);
  }

  #flush(batch: Batch): void {
    const flushed = this.#lead.machine.flush();
    this.#speaker.keep(flushed.packs);
    this.#entries.update(flushed.writes);
    for (const { cold, backup } of this.#connections) {
      cold?.records.update(flushed.writes);
      backup?.update(flushed.writes);
    }
    this.#tickCold?.records.update(flushed.writes);
    batch.add(flushed);
  }

  async #commit(batch: Batch): Promise<void> {
    const { store, epoch, reserve } = this.#lead;
    if (batch.writes.length > 0) {
      await store.commit(epoch, this.#nextCommitId++, batch.writes);
      reserve.written(batch.bytes);
    } else if (batch.hasAnswers) {
      // An answer from memory is true only as long as nobody else leads the store.
      await store.get(epoch, []);
    }
  }

  async #speak(batch: Batch): Promise<void> {
    await this.#speaker.speak(batch);
    for (const connection of batch.drained) {
      await this.#speaker.catchUp(connection);
      if (connection.isFree) this.#inbox.resume(connection);
    }
    for (const { to, goodbye } of batch.goodbyes) this.#sessions.disconnect(to, goodbye, batch);
  }
}

const DONE: Reply = { kind: 'done' };

const NOTHING_NEEDED: Need = { keys: [], ranges: [] };

const FULL_MESSAGE = 'The store has less free space than its reserve; free some, consumers go on meanwhile';

/** How many plain commands it counts as. */
function weightOf(command: Command): number {
  if (command.kind === 'inspect') return INSPECT_COMMANDS;
  return command.kind === 'bull' ? command.asks.length : 1;
}

function addsData(command: Command): boolean {
  if (command.kind === 'upsertSchedule') return true;
  if (command.kind === 'bull') return command.method === 'add' || command.method === 'addScheduler';
  if (command.kind === 'manageSchedule') return command.action === 'run';
  if (command.kind === 'update') return command.payload !== undefined;
  if (command.kind !== 'kvCommit') return command.kind === 'produce' || command.kind === 'flow';
  return command.produced.length > 0 || command.mutations.some(({ kind }) => kind !== 'delete');
}

/** Whether the command needs entries of KV alone: what a batch has not flushed yet, the machine knows of these. */
function isOfEntries(command: Command): boolean {
  const { kind } = command;
  if (kind === 'kvRead') return command.ranges.length === 0;
  if (kind === 'settle') return command.settles.every(({ outcome }) => outcome.kind !== 'wait');
  return kind === 'kvCommit' || kind === 'kvWatch';
}
