/**
 * The broker: leads a store and runs a machine on it for its clients.
 *
 * It works in batches. Commands are applied to memory in the order in which they came, the writes that follow
 * from them are committed together, and only when the store has made them durable do replies and deliveries
 * go out. When a commit fails, memory is ahead of the store: the broker drops it, opens the store anew, rebuilds,
 * and its clients send again what was not answered.
 */
import { type Context, type Need, NOTHING_COLD, type Session } from '../machine/machine.ts';
import { stricter } from '../model/access-token.ts';
import type { CancelTimer } from '../model/clock.ts';
import { type ErrorCode, HoldfastError, StoreError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import type { Backup, BackupView, Command, Reply, Request } from '../model/command.ts';
import type { Store } from '../store/store.ts';
import type { Goodbye, Hello } from '../wire/frames.ts';
import { authorise, unauthorized } from './authorise.ts';
import { Backup as BackupInTheMaking } from './backup.ts';
import { Batch } from './batch.ts';
import type { BrokerOptions } from './broker-options.ts';
import { ColdRecords, type KnownPacks } from './cold-records.ts';
import { Connection, type Incoming, type LinkTraits } from './connection.ts';
import { type Lead, loadBody, takeLead } from './lead.ts';
import { Inbox } from './inbox.ts';
import { Speaker } from './speaker.ts';

/** A batch is closed when it has applied this many commands or gathered this many bytes, to keep commits short. */
const BATCH_COMMANDS = 2_000;
const INSPECT_COMMANDS = 40;
const BATCH_BYTES = 256 * 1024;

/** How often the store is opened again after a failure before the broker gives up, and the first pause between. */
const REOPEN_ATTEMPTS = 6;
const REOPEN_PAUSE_MS = 20;

/** The wall clock can jump, so what waits for it is looked at this often. */
const WALL_CHECK_MS = 1_000;

/** Each may keep some MiB of what was written meanwhile. */
const MAX_BACKUPS = 4;

/** What is being read for a command. */
interface Cold {
  readonly records: ColdRecords;
  ready: boolean;
}

type Refusal = Extract<Reply, { kind: 'refused' }>;

type Phase = 'starting' | 'leading' | 'rebuilding' | 'closed' | 'failed';

export class Broker {
  readonly #options: BrokerOptions;
  readonly #connections = new Set<Connection>();
  readonly #bySession = new Map<Session, Connection>();
  readonly #inbox = new Inbox();
  readonly #speaker: Speaker;
  #phase: Phase = 'starting';
  #lead: Lead | undefined;
  #nextCommitId = 1n;
  #tickCold: { readonly records: ColdRecords; ready: boolean } | undefined;
  #working: Promise<void> | undefined;
  /** Resolves when nothing is being loaded any more. */
  #loading: Promise<void> = Promise.resolve();
  #scheduled = false;
  #cancelTimer: CancelTimer = () => {};
  #timerFiresAt = Infinity;
  #cancelRenewal: CancelTimer = () => {};
  #failure: Goodbye | undefined;
  readonly #knownPacks: KnownPacks;
  readonly #draw = (): number => this.#options.random.fraction();

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#speaker = new Speaker(options.sessionTimeoutMs, (session) => this.#bySession.get(session));
    this.#knownPacks = this.#speaker.known(() => this.#led);
  }

  /**
   * Takes the lead and loads the machine.
   *
   * @throws StoreInUseError when a live broker leads
   * @throws HoldfastError `STORE_CORRUPT`, `STORE_TOO_NEW`, `STORE_FAILED`
   */
  async start(): Promise<void> {
    this.#lead = await takeLead(this.#options, undefined);
    if ((this.#phase as Phase) === 'closed') return this.#lead.store.close();
    this.#renewLater();
    try {
      await this.#serve(this.#lead);
    } catch (error) {
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
    this.#connections.add(connection);
    const goodbye =
      this.#failure ??
      (this.#phase === 'closed' ? { code: 'CLOSED' as const, message: 'The broker is closed' } : undefined);
    if (goodbye !== undefined) this.#disconnect(connection, goodbye);
  }

  /** Ends the batch under way, says goodbye to all clients, and closes the store. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    const led = this.#phase !== 'failed';
    this.#phase = 'closed';
    this.#stopTimer();
    this.#cancelRenewal();
    await this.#working;
    await this.#loading;
    this.#disconnectAll({ code: 'CLOSED', message: 'The broker is closed' });
    if (led) await this.#lead?.store.close();
  }

  /** Works under a lead while its machine is still being loaded, and resolves when it is. */
  async #serve(lead: Lead): Promise<void> {
    this.#phase = 'leading';
    this.#options.onServing();
    this.#schedule();
    const goesOn = (): boolean => this.#phase === 'leading' && this.#lead === lead;
    const loading = loadBody(lead, this.#options, goesOn);
    this.#loading = loading.catch(() => {});
    await loading;
    if (!goesOn()) return;
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
        if (this.#hasWork()) this.#schedule();
      });
    });
  }

  async #work(): Promise<void> {
    const lead = this.#led;
    try {
      await this.#runBatch();
      this.#setTimer();
    } catch (error) {
      await this.#recover(error, lead);
    }
  }

  #hasWork(): boolean {
    if (this.#phase !== 'leading') return false;
    if (!this.#inbox.isEmpty || this.#tickCold?.ready === true) return true;
    for (const { cold } of this.#connections) if (cold?.ready === true) return true;
    return !this.#led.machine.isLoading && this.#isTickDue(this.#context());
  }

  async #runBatch(): Promise<void> {
    if (this.#led.reserve.isStale) await this.#led.reserve.ask();
    const context = this.#context();
    const batch = new Batch(context);
    this.#led.machine.expireTokens(context);
    this.#dismissEnded(batch);
    this.#applyLoaded(batch);
    this.#applyIncoming(batch);
    if (!this.#led.machine.isLoading) {
      if (this.#isTickDue(context)) this.#tick(context, batch);
      this.#led.machine.dispatch(context);
    }
    this.#flush(batch);
    const lead = this.#led;
    await this.#commit(batch);
    if (lead === this.#lead) await this.#speak(batch, lead);
  }

  /** Applies the commands whose cold records have come; these are current only until something else is applied. */
  #applyLoaded(batch: Batch): void {
    for (const connection of this.#connections) {
      const { cold, session } = connection;
      if (cold?.ready !== true || session === undefined) continue;
      this.#flush(batch);
      const need = this.#led.machine.plan(session, cold.request, cold.records);
      if (need !== undefined) {
        this.#loadCold(cold, need, batch);
        continue;
      }
      connection.cold = undefined;
      if (cold.request.command.kind === 'backup') this.#takeBackup(connection, cold.request, batch);
      else this.#apply(connection, session, cold.request, cold.records, batch);
      this.#inbox.resume(connection);
    }
  }

  #applyIncoming(batch: Batch): void {
    const { machine } = this.#led;
    const isEnough = (): boolean => batch.commands >= BATCH_COMMANDS || machine.pendingBytes >= BATCH_BYTES;
    this.#inbox.take(machine, isEnough, (from, incoming) => this.#applyOne(from, incoming, batch));
  }

  #applyOne(from: Connection, incoming: Incoming, batch: Batch): void {
    const { session } = from;
    // Answers of an inspection may be long, and a batch holds all of its answers at once.
    batch.commands += incoming.kind === 'request' && incoming.request.command.kind === 'inspect' ? INSPECT_COMMANDS : 1;
    if (from.isLeaving && incoming.kind !== 'closed') return;
    switch (incoming.kind) {
      case 'hello':
        this.#hello(from, incoming.hello, batch);
        break;
      case 'confirm':
        from.begin(incoming.memoryBytes);
        if (session !== undefined) this.#led.machine.confirm(session, incoming.upTo);
        break;
      case 'request':
        this.#request(from, incoming.request, batch);
        break;
      case 'bye':
        if (session !== undefined) this.#led.machine.close(session, batch.context);
        this.#forget(from);
        from.close();
        break;
      case 'drained':
        batch.drained.push(from);
        break;
      case 'closed':
        this.#detach(from);
        break;
    }
  }

  #hello(from: Connection, { session: id, host, token, needsToken, lingerMs = 0 }: Hello, batch: Batch): void {
    const { machine } = this.#led;
    if (from.session !== undefined && from.session.id !== id) {
      return this.#disconnect(from, { code: 'PROTOCOL', message: 'A connection has one session' });
    }
    // Said twice, it changes nothing: the connection goes on with what it has proven.
    if (from.session !== undefined) return this.#welcome(from, from.session, true, batch);
    from.needsToken = stricter(from.traits.needsToken, needsToken);
    from.lingerMs = Math.max(from.traits.lingerMs, lingerMs);
    const proof = authorise(machine, from.needsToken, token);
    if ('code' in proof) return this.#dismiss(from, proof, batch);
    const opened = machine.open(id, host, proof);
    if (opened === undefined) {
      return this.#dismiss(from, unauthorized('The session belongs to another access token'), batch);
    }
    this.#replaceConnection(opened.session, from);
    this.#welcome(from, opened.session, opened.resumed, batch);
  }

  #welcome(to: Connection, { applied }: Session, resumed: boolean, batch: Batch): void {
    batch.welcomes.push({ to, welcome: { resumed, applied } });
  }

  #request(from: Connection, request: Request, batch: Batch): void {
    const { session } = from;
    if (session === undefined)
      return this.#disconnect(from, { code: 'PROTOCOL', message: 'Requests come after HELLO' });
    if (this.#led.reserve.isReached && addsData(request.command))
      return this.#refuseFull(from, session, request, batch);
    if (request.command.kind === 'backup') return this.#backup(from, session, request, request.command, batch);
    const need = this.#led.machine.plan(session, request, NOTHING_COLD);
    if (need === undefined) return this.#apply(from, session, request, NOTHING_COLD, batch);
    from.cold = { request, records: new ColdRecords(), ready: false };
    this.#loadCold(from.cold, need, batch);
  }

  #refuseFull(from: Connection, session: Session, { request }: Request, batch: Batch): void {
    try {
      const reply = this.#led.machine.refuse(session, request, 'STORE_FULL', FULL_MESSAGE);
      if (reply !== undefined) batch.replies.push({ to: from, request, reply });
    } catch (error) {
      this.#refuseClient(from, error);
    }
  }

  /** Begins a backup, or reads for its next part, which is made at the start of a later batch. */
  #backup(from: Connection, session: Session, request: Request, { id, part, stop }: Backup, batch: Batch): void {
    if (stop || request.request === 0) {
      if (from.backup?.id === id) from.backup = undefined;
      return;
    }
    let refusal: Refusal | undefined;
    try {
      refusal = this.#led.machine.pass(session, request) ?? this.#beginBackup(from, id, part, batch);
    } catch (error) {
      return this.#refuseClient(from, error);
    }
    const { backup } = from;
    if (refusal !== undefined || backup === undefined) {
      if (refusal !== undefined) batch.replies.push({ to: from, request: request.request, reply: refusal });
      return;
    }
    from.cold = { request, records: new ColdRecords(), ready: false };
    this.#whenRead(from.cold, backup.read(this.#led.store, this.#led.epoch));
    backup.update(batch.writes);
  }

  /** Sees to it that the connection has the backup whose part is asked for, or says why it has not. */
  #beginBackup(from: Connection, id: number, part: number, { context }: Batch): Refusal | undefined {
    const { backup } = from;
    if (part === 0 && backup === undefined) {
      const others = [...this.#connections].filter((connection) => connection.backup !== undefined);
      if (others.length >= MAX_BACKUPS) {
        return refused('TOO_MANY', `Cannot make more than ${MAX_BACKUPS} backups at the same time`);
      }
      const { machine } = this.#led;
      from.backup = new BackupInTheMaking(id, this.#options.space, machine.everythingSoFar, context.now);
      return undefined;
    }
    if (part === 0) return refused('TOO_MANY', 'Cannot make a second backup: this client is taking one');
    if (backup?.id !== id || backup.nextPart !== part) {
      return refused('CLOSED', 'Cannot go on with the backup: the broker that made it is gone; begin again');
    }
    if (!backup.isOverrun) return undefined;
    from.backup = undefined;
    return refused(
      'TOO_MANY',
      'Cannot go on with the backup: more was written meanwhile than is kept for a slow reader',
    );
  }

  #takeBackup(to: Connection, { request }: Request, batch: Batch): void {
    const { backup } = to;
    if (backup === undefined) return;
    const value: BackupView = backup.take(batch.context.now);
    if (value.isEnd) to.backup = undefined;
    batch.replies.push({ to, request, reply: { kind: 'value', value } });
  }

  #apply(from: Connection, session: Session, request: Request, view: typeof NOTHING_COLD, batch: Batch): void {
    try {
      const reply = this.#led.machine.apply(session, request, batch.context, view);
      if (reply !== undefined) batch.replies.push({ to: from, request: request.request, reply });
      if (request.command.kind === 'createToken') this.#dismissUnproven(batch);
      else if (request.command.kind === 'revokeToken') this.#dismissEnded(batch);
    } catch (error) {
      this.#refuseClient(from, error);
    }
  }

  /** Sessions end with their access tokens, and then their clients have to go. */
  #dismissEnded(batch: Batch): void {
    for (const { session, message } of this.#led.machine.takeEndedSessions()) {
      const connection = this.#bySession.get(session);
      if (connection !== undefined) this.#dismiss(connection, unauthorized(message), batch);
    }
  }

  /** Where a token is needed as soon as there is one, those who came in without have to go, whoever made it included. */
  #dismissUnproven(batch: Batch): void {
    if (!this.#led.machine.hasAccessTokens) return;
    for (const connection of this.#connections) {
      const { session, needsToken } = connection;
      if (needsToken !== 'whenAny' || session === undefined || session.accessToken !== '') continue;
      this.#led.machine.close(session, batch.context);
      this.#dismiss(connection, unauthorized('This way in needs an access token'), batch);
    }
  }

  /** Hears this client no more, and says goodbye to it when what that rests on is durable. */
  #dismiss(connection: Connection, goodbye: Goodbye, batch: Batch): void {
    if (connection.session !== undefined) this.#bySession.delete(connection.session);
    connection.session = undefined;
    connection.cold = undefined;
    connection.backup = undefined;
    connection.postponed.length = 0;
    connection.unsaid.length = 0;
    connection.isLeaving = true;
    batch.goodbyes.push({ to: connection, goodbye });
  }

  #refuseClient(from: Connection, error: unknown): void {
    if (!(error instanceof HoldfastError) || error.code !== 'PROTOCOL') throw error;
    this.#disconnect(from, { code: 'PROTOCOL', message: error.message });
  }

  /** Reads in the background; the command is applied at the start of a later batch. */
  #loadCold(cold: Cold, need: Need, batch: Batch): void {
    cold.ready = false;
    const { store, epoch } = this.#led;
    this.#whenRead(cold, cold.records.load(store, epoch, need, this.#knownPacks));
    // These are on their way to the store, and the reading may have come before them.
    cold.records.update(batch.writes);
  }

  #whenRead(cold: Cold, read: Promise<void>): void {
    const lead = this.#led;
    read.then(
      () => {
        cold.ready = true;
        if (lead === this.#lead) this.#schedule();
      },
      (error: unknown) => {
        void this.#recover(error, lead);
      },
    );
  }

  #isTickDue({ now, wall }: Context): boolean {
    const wake = this.#led.machine.nextWake();
    if (this.#tickCold !== undefined) return this.#tickCold.ready;
    return wake.machine <= now || wake.wall <= wall;
  }

  #tick(context: Context, batch: Batch): void {
    const cold = this.#tickCold;
    if (cold === undefined) {
      const need = this.#led.machine.planTick(NOTHING_COLD);
      if (need !== undefined) {
        this.#tickCold = { records: new ColdRecords(), ready: false };
        return this.#loadCold(this.#tickCold, need, batch);
      }
      return this.#led.machine.tick(context, NOTHING_COLD);
    }
    this.#flush(batch);
    this.#tickCold = undefined;
    this.#led.machine.tick(context, cold.records);
  }

  #flush(batch: Batch): void {
    const flushed = this.#led.machine.flush();
    this.#speaker.keep(flushed.packs);
    for (const { cold, backup } of this.#connections) {
      cold?.records.update(flushed.writes);
      backup?.update(flushed.writes);
    }
    this.#tickCold?.records.update(flushed.writes);
    batch.add(flushed);
  }

  async #commit(batch: Batch): Promise<void> {
    if (batch.writes.length > 0) {
      await this.#led.store.commit(this.#led.epoch, this.#nextCommitId++, batch.writes);
      this.#led.reserve.written(batch.bytes);
    } else if (batch.hasAnswers) {
      // An answer from memory is true only as long as nobody else leads the store.
      await this.#led.store.get(this.#led.epoch, []);
    }
  }

  async #speak(batch: Batch, lead: Lead): Promise<void> {
    await this.#speaker.speak(batch, lead);
    for (const connection of batch.drained) {
      await this.#speaker.catchUp(connection, lead);
      if (connection.isFree) this.#inbox.resume(connection);
    }
    for (const { to, goodbye } of batch.goodbyes) this.#disconnect(to, goodbye);
  }

  #setTimer(): void {
    if (this.#phase !== 'leading' || this.#tickCold !== undefined || this.#led.machine.isLoading) return;
    const { now, wall } = this.#context();
    const wake = this.#led.machine.nextWake();
    const delayMs = Math.max(
      0,
      Math.min(wake.machine - now, wake.wall === Infinity ? Infinity : WALL_CHECK_MS, wake.wall - wall),
    );
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

  #stopTimer(): void {
    this.#cancelTimer();
    this.#timerFiresAt = Infinity;
  }

  #context(): Context {
    const { now, wall } = this.#led.time.read();
    return { now, wall, random: this.#draw };
  }

  /** A client that comes back over a new link takes its session with it. */
  #replaceConnection(session: Session, connection: Connection): void {
    const before = this.#bySession.get(session);
    if (before !== undefined && before !== connection) {
      this.#bySession.delete(session);
      before.session = undefined;
      this.#disconnect(before, undefined);
    }
    connection.session = session;
    this.#bySession.set(session, connection);
  }

  #detach(connection: Connection): void {
    const { session } = connection;
    if (session !== undefined && this.#bySession.get(session) === connection) {
      const context = this.#context();
      const { sessionTimeoutMs } = this.#options;
      const leasesUntil = context.now + Math.min(connection.lingerMs, sessionTimeoutMs);
      this.#led.machine.detach(session, leasesUntil, context.now + sessionTimeoutMs, context);
    }
    this.#forget(connection);
  }

  #disconnect(connection: Connection, goodbye: Goodbye | undefined): void {
    connection.close(goodbye);
    this.#detach(connection);
  }

  #disconnectAll(goodbye: Goodbye | undefined): void {
    for (const connection of this.#connections) connection.close(goodbye);
    this.#connections.clear();
    this.#bySession.clear();
    this.#inbox.clear();
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection);
    if (connection.session !== undefined && this.#bySession.get(connection.session) === connection) {
      this.#bySession.delete(connection.session);
    }
    connection.session = undefined;
    connection.cold = undefined;
    connection.backup = undefined;
    connection.postponed.length = 0;
    connection.unsaid.length = 0;
  }

  /** Drops what is in memory and starts again from what is in the store; or stops, when that is no use. */
  async #recover(error: unknown, lead: Lead): Promise<void> {
    // What went wrong under an earlier lead has been dealt with.
    if (this.#phase !== 'leading' || lead !== this.#lead) return;
    this.#stopTimer();
    this.#tickCold = undefined;
    if (!(error instanceof StoreError) || error.code === 'FENCED' || error.code === 'STORE_CORRUPT') {
      return this.#fail(error);
    }
    this.#phase = 'rebuilding';
    this.#options.log({ level: 'warn', message: 'A commit failed; the store is opened again', error });
    this.#disconnectAll(undefined);
    this.#speaker.forgetAll();
    await lead.store.close().catch((cause: unknown) => this.#noteCloseFailure(cause));
    await this.#reopen(error);
  }

  async #reopen(reason: unknown): Promise<void> {
    let last = reason;
    for (let attempt = 0; attempt < REOPEN_ATTEMPTS; attempt++) {
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
    this.#stopTimer();
    this.#cancelRenewal();
    this.#disconnectAll(failure);
    this.#lead?.store.close().catch((cause: unknown) => this.#noteCloseFailure(cause));
    this.#options.onFailed();
    return failure;
  }

  #noteCloseFailure(error: unknown): void {
    this.#options.log({ level: 'warn', message: 'The store could not be closed cleanly', error });
  }
}

const FULL_MESSAGE = 'The store has less free space than its reserve; free some, consumers go on meanwhile';

function addsData(command: Command): boolean {
  return command.kind === 'produce';
}

function refused(code: ErrorCode, message: string): Refusal {
  return { kind: 'refused', code, message };
}
