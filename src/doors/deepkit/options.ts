/** Options as Deepkit has them, and as Holdfast does. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { refuseUnknown } from '../../api/checks.ts';
import type { ChannelOptions, MessageRules, ProduceOptions } from '../../api/options.ts';
import { millisecondsOf } from './durations.ts';

/** How a message is treated that is produced again. */
export type QueueMessageProcessing = 0 | 1;

export const QueueMessageProcessing: {
  /** A message that is produced again within the deduplication interval is not stored a second time. */
  readonly exactlyOnce: 0;
  readonly atLeastOnce: 1;
} = Object.freeze({ exactlyOnce: 0, atLeastOnce: 1 });

export interface BrokerQueueMessageProcessingOptions {
  /** @default QueueMessageProcessing.atLeastOnce */
  readonly process?: QueueMessageProcessing;
  /**
   * How long a message is remembered for `exactlyOnce`: milliseconds, or a text such as `'1s'` or `'5 minutes'`.
   * @default '5m'
   */
  readonly deduplicationInterval?: string | number;
  /** Two messages with the same one are the same; without it, two with the same content are. */
  readonly hash?: string | number;
}

/** Deepkit's options, and those of Holdfast's channels that Deepkit has no word for. */
export interface BrokerQueueChannelOptions
  extends
    BrokerQueueMessageProcessingOptions,
    Omit<ChannelOptions, 'process' | 'deduplicationInterval' | 'dedupe' | 'schema'> {
  /** Checks messages in place of the runtime type: zod, valibot, arktype, or any Standard Schema. */
  readonly schema?: StandardSchemaV1;
}

export interface BrokerQueueProduceOptions extends BrokerQueueMessageProcessingOptions {
  /** Delivers no earlier than this long from now: milliseconds, or a text such as `'1s'` or `'5 minutes'`. */
  readonly delay?: string | number;
  /**
   * Smaller is delivered first.
   * @default 0
   */
  readonly priority?: number;
}

export interface BrokerQueueConsumeOptions {
  /**
   * How many handlers run at a time.
   * @default 1
   */
  readonly maxParallel?: number;
}

/** What becomes of a message that is produced again. */
export interface Processing {
  readonly process: QueueMessageProcessing;
  readonly intervalMs: number;
  readonly hash: string | number | undefined;
}

const DEFAULT_PROCESSING: Processing = {
  process: QueueMessageProcessing.atLeastOnce,
  intervalMs: 300_000,
  hash: undefined,
};

/** The options of a channel, parted. */
export interface ParsedChannelOptions {
  readonly processing: Processing;
  readonly schema: StandardSchemaV1 | undefined;
  /** All that Deepkit has no word for. */
  readonly rest: ChannelOptions<undefined>;
}

/** @throws TypeError, RangeError */
export function parseChannelOptions(options: BrokerQueueChannelOptions): ParsedChannelOptions {
  const { process: _process, deduplicationInterval: _interval, hash: _hash, schema, ...rest } = options;
  return { processing: processingOver(DEFAULT_PROCESSING, options), schema, rest };
}

/** The processing, with what the options name. @throws TypeError, RangeError */
export function processingOver(processing: Processing, options: BrokerQueueMessageProcessingOptions): Processing {
  const { process = processing.process, deduplicationInterval, hash = processing.hash } = options;
  if (process !== QueueMessageProcessing.exactlyOnce && process !== QueueMessageProcessing.atLeastOnce) {
    throw new TypeError(`Cannot use "${String(process)}" as "process": it must be one of QueueMessageProcessing`);
  }
  if (hash !== undefined && typeof hash !== 'string' && typeof hash !== 'number') {
    throw new TypeError(`Cannot use ${typeof hash} as "hash": it must be a text or a number`);
  }
  const intervalMs =
    deduplicationInterval === undefined
      ? processing.intervalMs
      : millisecondsOf(deduplicationInterval, 'deduplicationInterval');
  return { process, intervalMs, hash };
}

/** The options of Holdfast's channel. */
export function channelOptions(rest: MessageRules, { process, intervalMs }: Processing): ChannelOptions<undefined> {
  if (process === QueueMessageProcessing.atLeastOnce) return rest;
  return { ...rest, process: 'exactlyOnce', deduplicationInterval: intervalMs };
}

/** The options of Holdfast's `produce`. @throws TypeError, RangeError */
export function produceOptions(options: BrokerQueueProduceOptions, { process, hash }: Processing): ProduceOptions {
  refuseUnknown(options, ['process', 'deduplicationInterval', 'hash', 'delay', 'priority'], 'produce');
  const { delay, priority } = options;
  return {
    ...(delay === undefined ? {} : { delay: millisecondsOf(delay, 'delay') }),
    ...(priority === undefined ? {} : { priority }),
    // A number is no text that looks like it.
    ...(hash === undefined || process === QueueMessageProcessing.atLeastOnce
      ? {}
      : { dedupeKey: JSON.stringify(hash) }),
  };
}
