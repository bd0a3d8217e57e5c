/** An invariant: a sentence that must stay true, and a judge that sees all records as they come. */
import type { Leads } from '../leads.ts';
import type { KvLedger } from '../kv-ledger.ts';
import type { ScheduleLedger } from '../schedule-ledger.ts';
import type { Ledger } from '../ledger.ts';
import type {
  HandlerStarted,
  ProduceAnswered,
  ProduceCalled,
  ProducedMessage,
  SettleAnswered,
  SettleCalled,
  SimRecord,
} from '../records.ts';

export interface Invariant {
  /** As the project's documents number it. */
  readonly id: string;
  readonly says: string;
  /** Makes a judge for one history. */
  readonly begin: () => Judge;
}

/** Gives what is wrong, if something is. The ledger and the leads hold the record already, everything else what came before it. */
export type Judge = (record: SimRecord, seen: Seen) => string | undefined;

export interface SeenOp {
  readonly called: ProduceCalled;
  answered: ProduceAnswered | undefined;
  /** Machine time of the last commit before the call; no effect of the call is earlier. */
  readonly machineNow: number;
}

export interface SeenSettle {
  readonly called: SettleCalled;
  answered: SettleAnswered | undefined;
}

/** What has been seen so far. */
export interface Seen {
  readonly ledger: Ledger;
  readonly leads: Leads;
  readonly kv: KvLedger;
  readonly schedules: ScheduleLedger;
  readonly ops: ReadonlyMap<number, SeenOp>;
  /** Every message that anybody ever asked to be produced, by id. */
  readonly asked: ReadonlyMap<string, { readonly op: SeenOp; readonly message: ProducedMessage }>;
  /** What messages were to be changed to, by id. */
  readonly updates: ReadonlyMap<string, ReadonlySet<string>>;
  /** What handlers produced with their ack, by token. */
  readonly effects: ReadonlyMap<number, readonly SeenOp[]>;
  readonly settles: ReadonlyMap<number, SeenSettle>;
  readonly starts: ReadonlyMap<number, HandlerStarted>;
  /** Tokens whose last settle met a conflict. */
  readonly conflicts: ReadonlySet<number>;
  /** What handlers returned, by token. */
  readonly returned: ReadonlyMap<number, string>;
  /** The highest wall time that any record had. */
  readonly highestWall: number;
  /** Machine time of the commit before this record. */
  readonly previousNow: number;
}

/** An invariant whose judge keeps nothing of its own. */
export function stateless(id: string, says: string, judge: Judge): Invariant {
  return { id, says, begin: () => judge };
}
