/**
 * The speaker: says to clients what a batch has brought about, once that is durable. It fetches the payloads of deliveries,
 * and keeps back what a client that does not read cannot take yet.
 */
import { type Flushed, itemOf, type Pack, type Session } from '../machine/machine.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Value } from '../model/records.ts';
import type { Batch } from './batch.ts';
import type { KnownPacks } from './cold-records.ts';
import type { Connection } from './connection.ts';
import type { Lead } from './lead.ts';
import { PackCache } from './pack-cache.ts';

type Claimed = Flushed['deliveries'][number];

const CACHE_BYTES = 32 * 1024 * 1024;

/** How many packs are read at a time; each has up to 4 MiB, most have far less. */
const PACKS_A_READING = 16;

export class Speaker {
  /** The packs that need not be read, for those who look for one. */
  readonly knownPacks: KnownPacks;
  readonly #lead: Lead;
  readonly #sessionTimeoutMs: number;
  readonly #connectionOf: (session: Session) => Connection | undefined;
  readonly #packs = new PackCache(CACHE_BYTES);

  constructor(lead: Lead, sessionTimeoutMs: number, connectionOf: (session: Session) => Connection | undefined) {
    this.#lead = lead;
    this.#sessionTimeoutMs = sessionTimeoutMs;
    this.#connectionOf = connectionOf;
    this.knownPacks = {
      find: (number) => this.#packs.get(number)?.value,
      keyOf: (number) => lead.machine.packKey(number),
    };
  }

  /** What is delivered at once need not be read back. */
  keep(packs: Flushed['packs']): void {
    for (const { number, value } of packs) this.#packs.add(number, value);
  }

  /** Everything of the batch is durable: now it may be said. */
  async speak(batch: Batch): Promise<void> {
    const touched = new Set<Connection>();
    const { durability } = this.#lead.store;
    const sessionTimeoutMs = this.#sessionTimeoutMs;
    for (const { to, welcome } of batch.welcomes) to.welcome({ ...welcome, durability, sessionTimeoutMs });
    for (const { to, request, reply } of batch.replies) {
      to.reply(request, reply);
      touched.add(to);
    }
    for (const { deliveries, notices } of batch.flushed) {
      for (const [i, claimed] of deliveries.entries()) {
        const to = this.#connectionOf(claimed.session);
        if (to === undefined) continue;
        if (to.isCongested) to.unsaid.push({ kind: 'delivery', claimed });
        else this.#deliver(to, claimed, this.#packs.get(claimed.pack) ?? (await this.#read(deliveries, i)));
        touched.add(to);
      }
      for (const { session, notice } of notices) {
        const to = this.#connectionOf(session);
        to?.notice(notice);
        if (to !== undefined) touched.add(to);
      }
    }
    for (const connection of touched) connection.send();
  }

  /** Says what waited, up to what the client takes now. */
  async catchUp(connection: Connection): Promise<void> {
    const unsaid = connection.unsaid.splice(0);
    let said = 0;
    for (const one of unsaid) {
      if (connection.isCongested) break;
      said += 1;
      if (one.kind === 'reply') connection.reply(one.request, one.reply);
      else if (one.kind === 'notice') connection.notice(one.notice);
      else if (this.#lead.machine.isHeld(one.claimed)) {
        const { claimed } = one;
        this.#deliver(connection, claimed, this.#packs.get(claimed.pack) ?? (await this.#read([claimed], 0)));
      }
    }
    connection.send();
    for (const left of unsaid.slice(said)) connection.unsaid.push(left);
  }

  /** Reads the pack of one delivery, and some that follow, a few at a time because each may be large. */
  async #read(deliveries: readonly Claimed[], from: number): Promise<Pack> {
    const { store, epoch, machine } = this.#lead;
    const missing: number[] = [];
    for (let i = from; i < deliveries.length && missing.length < PACKS_A_READING; i++) {
      const { pack } = deliveries[i] as Claimed;
      if (!missing.includes(pack) && this.#packs.get(pack) === undefined) missing.push(pack);
    }
    const values = await store.get(
      epoch,
      missing.map((pack) => machine.packKey(pack)),
    );
    missing.forEach((pack, i) => {
      const value = values[i];
      if (value === undefined)
        throw new HoldfastError('STORE_CORRUPT', `Cannot deliver from pack ${pack}: its record is missing`);
      this.#packs.add(pack, value);
    });
    const first = values[0] as Value;
    return this.#packs.get(missing[0] as number) ?? this.#packs.add(missing[0] as number, first);
  }

  #deliver(to: Connection, claimed: Claimed, pack: Pack): void {
    const index = claimed.seq - claimed.pack;
    if (pack.startOf(index) < 0)
      throw new HoldfastError('STORE_CORRUPT', `Cannot deliver message ${claimed.seq}: its payload is missing`);
    // A copy has an id of its own.
    const copied = index < pack.firstCopy ? undefined : itemOf(pack, index);
    const bytes = copied ?? pack.value;
    const itemStart = copied === undefined ? pack.startOf(index) : 0;
    const itemEnd = copied?.length ?? pack.endOf(index);
    const { consumer, seq, token, attempt, redelivered, timeoutMs } = claimed;
    const { producedAt, codec } = pack;
    to.delivery({
      consumer,
      seq,
      token,
      attempt,
      redelivered,
      timeoutMs,
      producedAt,
      codec,
      bytes,
      itemStart,
      itemEnd,
    });
    this.#lead.machine.delivered(claimed, bytes, itemStart, itemEnd);
  }
}
