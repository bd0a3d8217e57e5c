/** What the parts of a simulation know of the whole, and of each other. */
import type { Channel } from '../../api/channel.ts';
import type { Consumer } from '../../api/consumer.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import type { ProduceOptions } from '../../api/options.ts';
import type { Client } from '../../client/client.ts';
import type { Reply, Settle } from '../../model/command.ts';
import type { FaultyDisk } from '../faulty-store.ts';
import type { Chance } from './chance.ts';
import type { Mark } from './marks.ts';
import type { KvAsked, KvHeard, ProducedMessage, SimRecord } from './records.ts';
import type { ChannelPlan, Scenario } from './scenario.ts';
import type { SimMember } from './sim-member.ts';
import type { SimNetwork } from './sim-network.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimTime } from './sim-time.ts';

/** What messages are in a simulation. */
export interface Content {
  readonly n: number;
  /** What every handler of it does, if it is not left to chance. */
  readonly fate: 'throws' | 'kills' | undefined;
  readonly padding: string;
  /** It has children, or may come to have some. */
  readonly waits?: true;
}

/** A channel as one worker's client sees it. */
export interface OpenChannel {
  readonly plan: ChannelPlan;
  readonly channel: Channel<Content>;
  consumer: Consumer | undefined;
  /** Handlers of the consumer that run. */
  load: Load;
}

/** A handler that runs. */
export interface Running {
  readonly id: string;
  readonly open: OpenChannel;
}

/** Counts the handlers of one consumer, which may outlive it. */
export interface Load {
  running: number;
}

/** A worker, as its handlers, its user and the faults see it. */
export interface Workplace {
  readonly sim: World;
  readonly process: SimProcess;
  readonly member: SimMember;
  readonly chance: Chance;
  readonly channels: ReadonlyMap<string, OpenChannel>;
  readonly client: Client | undefined;
  readonly holdfast: Holdfast | undefined;
  readonly connectedAt: number;
  readonly hasReconnected: boolean;
  /** What its handlers work on. */
  readonly running: Set<Running>;
  consume(open: OpenChannel): Promise<void>;
  produce(
    open: OpenChannel,
    contents: readonly Content[],
    options: ProduceOptions | undefined,
    request: boolean,
  ): Promise<void>;
  /** Produces a message with keys of KV that are written if it is given up. */
  produceWithKeys(open: OpenChannel, content: Content): Promise<void>;
  capture(call: () => void): string[];
  captureBytes(call: () => void): Uint8Array[];
}

/** What messages come along with: the ack of a lease, or the commit to KV that sets a marker. */
export type Along = { readonly token: number } | { readonly marker: string };

/** The simulation, as its parts see it. */
export interface World {
  readonly scenario: Scenario;
  readonly time: SimTime;
  readonly disk: FaultyDisk;
  readonly network: SimNetwork;
  /** The process that leads, as the store has it, if it lives. */
  readonly leader: SimProcess | undefined;
  readonly processes: ReadonlySet<SimProcess>;
  readonly workers: ReadonlySet<Workplace>;
  readonly isHealed: boolean;
  readonly isAtRest: boolean;
  record(record: SimRecord): void;
  reached(mark: Mark): void;
  note(what: string): void;
  broken(where: string, error: unknown): void;
  tolerate(error: unknown): string;
  kill(process: SimProcess): void;
  leave(process: SimProcess): void;
  disturb(): void;
  isConnected(process: SimProcess): boolean;
  newContent(fate: Content['fate']): Content;
  called(worker: Workplace, channel: string, messages: readonly ProducedMessage[], along: Along | undefined): number;
  answered(
    worker: Workplace,
    op: number,
    outcome: 'acked' | 'rejected' | 'unknown',
    code: string | undefined,
    receipts: readonly { readonly id: string; readonly deduplicated: boolean }[],
  ): void;
  /** A publish was answered, with the number of channels that it has reached. */
  published(op: number, stored: number): void;
  answeredWith(worker: Workplace, op: number, error: unknown): void;
  newMarker(): number;
  /** Waits for a call, and has everybody wait for it who waits for rest. */
  awaited<T>(worker: Workplace, call: Promise<T>): Promise<T>;
  /** The keys of the schedules that the store has. */
  readonly schedules: readonly string[];
  kvCalled(worker: Workplace, asked: KvAsked): number;
  kvAnswered(op: number, heard: KvHeard): void;
  replied(session: string, request: number, reply: Reply): void;
  result(op: number, id: string, result: unknown): void;
  managed(worker: Workplace, action: string, channel: string, id: string | undefined, outcome: string): void;
  settleCalled(worker: Workplace, settle: Settle): void;
  settleAnswered(worker: Workplace, token: number, held: boolean | 'conflict' | undefined): void;
  someId(channel: string, chance: Chance): string | undefined;
  /** The id of a message. */
  idOf(seq: number): string;
}
