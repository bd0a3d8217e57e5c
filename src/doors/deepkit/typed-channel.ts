/** A channel of Holdfast as the door uses it: opened when it is used, and checked by a runtime type or a schema. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Handler } from '../../api/attempt.ts';
import type { Channel } from '../../api/channel.ts';
import type { Consumer } from '../../api/consumer.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import type { ChannelOptions } from '../../api/options.ts';
import type { Receipt } from '../../api/receipt.ts';
import { checkMessage } from '../../api/schema.ts';
import {
  type BrokerQueueProduceOptions,
  channelOptions,
  type ParsedChannelOptions,
  type Processing,
  processingOver,
  produceOptions,
} from './options.ts';
import { NO_SCHEMAS, type Schemas, schemasOf } from './runtime-type.ts';

type AnyChannel = Channel<unknown, unknown, unknown>;

export class TypedChannel {
  readonly #name: string;
  readonly #holdfast: () => Promise<Holdfast>;
  readonly #options: ParsedChannelOptions;
  readonly #type: unknown;
  /** To produce to, by how messages are treated that are produced again. */
  readonly #producing = new Map<string, AnyChannel>();
  #schemas: Schemas | undefined;

  constructor(name: string, holdfast: () => Promise<Holdfast>, options: ParsedChannelOptions, type: unknown) {
    this.#name = name;
    this.#holdfast = holdfast;
    this.#options = options;
    this.#type = type;
  }

  /** @throws as `produce` of Holdfast's channel */
  async produce(message: unknown, options: BrokerQueueProduceOptions): Promise<Receipt> {
    const processing = processingOver(this.#options.processing, options);
    const produce = produceOptions(options, processing);
    const channel = this.#channelToProduceTo(await this.#holdfast(), processing);
    return channel.produce(await this.#stored(message), Object.keys(produce).length === 0 ? undefined : produce);
  }

  /** @throws as `consume` of Holdfast's channel */
  async consume(handler: Handler<unknown, unknown>, concurrency: number): Promise<Consumer> {
    const channel = this.#open(
      await this.#holdfast(),
      this.#options.processing,
      this.#options.schema ?? this.#byType.consumed,
    );
    return channel.consume(handler, { concurrency });
  }

  /** What is stored of a message: a channel of Holdfast checks what goes in, and stores it as it is. @throws InvalidMessageError */
  #stored(message: unknown): unknown {
    const { produced } = this.#byType;
    return produced === undefined ? message : checkMessage(produced, this.#name, message);
  }

  #channelToProduceTo(holdfast: Holdfast, processing: Processing): AnyChannel {
    const key = `${processing.process} ${processing.intervalMs}`;
    let channel = this.#producing.get(key);
    if (channel === undefined) {
      channel = this.#open(holdfast, processing, this.#options.schema);
      this.#producing.set(key, channel);
    }
    return channel;
  }

  #open(holdfast: Holdfast, processing: Processing, schema: StandardSchemaV1 | undefined): AnyChannel {
    const options: ChannelOptions<undefined> = channelOptions(this.#options.rest, processing);
    return schema === undefined
      ? holdfast.channel<unknown>(this.#name, options)
      : holdfast.channel(this.#name, { ...options, schema });
  }

  /** Not before they are used: the modules of an application may import each other in a circle, and types come with them. */
  get #byType(): Schemas {
    this.#schemas ??= this.#options.schema === undefined ? schemasOf(this.#type, this.#name) : NO_SCHEMAS;
    return this.#schemas;
  }
}
