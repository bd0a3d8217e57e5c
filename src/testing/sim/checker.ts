/** The checker: holds every record, as it comes, against every invariant. */
import { COUNTS } from './invariants/counts.ts';
import { DEDUPE } from './invariants/dedupe.ts';
import { EFFECTS } from './invariants/effects.ts';
import { FLOWS } from './invariants/flows.ts';
import type { Invariant, Judge, Seen, SeenOp, SeenSettle } from './invariants/invariant.ts';
import { KV } from './invariants/kv.ts';
import { LEASES } from './invariants/leases.ts';
import { LIFE } from './invariants/life.ts';
import { LIMITS } from './invariants/limits.ts';
import { NO_LOSS } from './invariants/no-loss.ts';
import { ORDER } from './invariants/order.ts';
import { PUBLISH } from './invariants/publish.ts';
import { REST } from './invariants/rest.ts';
import { RETRIES } from './invariants/retries.ts';
import { SCHEDULES } from './invariants/schedules.ts';
import { TAKEOVER } from './invariants/takeover.ts';
import { KvLedger } from './kv-ledger.ts';
import { Leads } from './leads.ts';
import { Ledger } from './ledger.ts';
import { ScheduleLedger } from './schedule-ledger.ts';
import type { HandlerStarted, ProducedMessage, SimRecord } from './records.ts';

export interface Violation {
  /** The invariant's id, such as `S1`. */
  readonly id: string;
  readonly says: string;
  readonly found: string;
  readonly at: number;
}

/** All that is checked. */
const INVARIANTS: readonly Invariant[] = [
  ...NO_LOSS,
  ...LEASES,
  ...EFFECTS,
  ...KV,
  ...FLOWS,
  ...DEDUPE,
  ...ORDER,
  ...LIMITS,
  ...PUBLISH,
  ...RETRIES,
  ...REST,
  ...LIFE,
  ...TAKEOVER,
  ...SCHEDULES,
  ...COUNTS,
];

export class Checker implements Seen {
  readonly ledger: Ledger = new Ledger();
  readonly leads: Leads = new Leads();
  readonly kv: KvLedger = new KvLedger();
  readonly schedules: ScheduleLedger = new ScheduleLedger();
  readonly ops: Map<number, SeenOp> = new Map();
  readonly asked: Map<string, { readonly op: SeenOp; readonly message: ProducedMessage }> = new Map();
  /** The epochs in which bulks were begun, by their numbers. */
  readonly bulkNonces: Map<number, string> = new Map();
  readonly updates: Map<string, Set<string>> = new Map();
  readonly effects: Map<number, SeenOp[]> = new Map();
  readonly settles: Map<number, SeenSettle> = new Map();
  readonly starts: Map<number, HandlerStarted> = new Map();
  readonly conflicts: Set<number> = new Set();
  readonly returned: Map<number, string> = new Map();
  readonly violations: Violation[] = [];
  /** In the last commit a channel went on in a minute that another broker had begun. */
  hasSharedMinute = false;
  readonly #minutes = new Map<number, { readonly minute: number; readonly nonce: string }>();
  highestWall = 0;
  previousNow = 0;
  readonly #judges: readonly { readonly invariant: Invariant; readonly judge: Judge }[] = INVARIANTS.map(
    (invariant) => ({
      invariant,
      judge: invariant.begin(),
    }),
  );

  add(record: SimRecord): void {
    if ('wall' in record) this.highestWall = Math.max(this.highestWall, record.wall);
    this.leads.add(record);
    this.previousNow = this.ledger.machineNow;
    if (record.kind === 'commit') this.#committed(record);
    else if (record.kind === 'produce.called') this.#called(record);
    else if (record.kind === 'update.called') {
      this.updates.set(record.id, (this.updates.get(record.id) ?? new Set()).add(record.content));
    }
    this.kv.add(record, this.ledger);
    this.schedules.add(record, this.highestWall);
    for (const { invariant, judge } of this.#judges) {
      const found = judge(record, this);
      if (found !== undefined) this.violations.push({ id: invariant.id, says: invariant.says, found, at: record.at });
    }
    this.#remember(record);
  }

  #committed({ content, at, nonce }: Extract<SimRecord, { kind: 'commit' }>): void {
    this.ledger.add(content, at);
    for (const { number } of content.bulks) if (!this.bulkNonces.has(number)) this.bulkNonces.set(number, nonce);
    this.hasSharedMinute = false;
    for (const { number, underWay } of content.channels) {
      if (underWay === undefined) continue;
      const { minute } = underWay;
      const before = this.#minutes.get(number);
      this.hasSharedMinute ||= before?.minute === minute && before.nonce !== nonce;
      this.#minutes.set(number, { minute, nonce });
    }
  }

  #called(record: Extract<SimRecord, { kind: 'produce.called' }>): void {
    const op: SeenOp = { called: record, answered: undefined, machineNow: this.ledger.machineNow };
    this.ops.set(record.op, op);
    for (const message of record.messages) this.asked.set(message.id, { op, message });
    if (record.withToken === undefined) return;
    const others = this.effects.get(record.withToken);
    if (others === undefined) this.effects.set(record.withToken, [op]);
    else others.push(op);
  }

  #remember(record: SimRecord): void {
    switch (record.kind) {
      case 'produce.answered': {
        const op = this.ops.get(record.op);
        if (op !== undefined) op.answered = record;
        break;
      }
      case 'handler.started':
        this.starts.set(record.token, record);
        this.conflicts.delete(record.token);
        // What it produced before, it has not produced.
        if (record.isRerun === true) this.effects.delete(record.token);
        break;
      case 'handler.ended':
        if (record.result !== undefined) this.returned.set(record.token, record.result);
        break;
      case 'settle.called':
        this.settles.set(record.token, { called: record, answered: undefined });
        break;
      case 'settle.answered': {
        const settle = this.settles.get(record.token);
        if (settle !== undefined) settle.answered = record;
        if (record.held !== 'conflict') break;
        this.conflicts.add(record.token);
        this.effects.delete(record.token);
        break;
      }
      default:
        break;
    }
  }
}

/** Checks a whole history again. */
export function checkHistory(history: readonly SimRecord[]): Violation[] {
  const checker = new Checker();
  for (const record of history) checker.add(record);
  return checker.violations;
}
