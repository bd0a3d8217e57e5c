/** An instance: the channels of one store, seen through one session. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Client } from '../client/client.ts';
import { refusal } from '../client/outbox.ts';
import { Channel } from './channel.ts';
import { type ChannelOptions, checkChannelName, resolveChannelOptions } from './options.ts';

export interface Holdfast {
  /**
   * A channel whose messages are of type `Message`; a compile-time promise, for every process that uses the name.
   *
   * @throws TypeError, RangeError for an option that cannot be used
   */
  channel<Message, Result = unknown>(
    name: string,
    options?: ChannelOptions<undefined>,
  ): Channel<Message, Message, Result>;
  /** A channel whose messages are checked by a schema, which also gives them their type. */
  channel<Schema extends StandardSchemaV1, Result = unknown>(
    name: string,
    options: ChannelOptions<Schema> & { readonly schema: Schema },
  ): Channel<StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>, Result>;
  /** The names of all channels, in order. */
  channels(): Promise<string[]>;
  /** What an acknowledged write survives: `memory` nothing, `disk` a power cut, `replicated` the loss of a machine. */
  readonly durability: 'memory' | 'disk' | 'replicated';
  /** Drains all consumers, waits for what is unanswered, and lets the store go. Safe twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** @param release lets the broker go, once the client has said goodbye */
export function createHoldfast(client: Client, release: () => Promise<void>): Holdfast {
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      await client.drainConsumers();
      await client.idle();
      client.close();
      await release();
    })();
    return closing;
  };
  return {
    channel: (name: string, options: ChannelOptions = {}) => {
      checkChannelName(name);
      return new Channel<never, never, never>(client, name, resolveChannelOptions(options));
    },
    async channels() {
      const reply = await client.request({ kind: 'inspect', what: 'channels' });
      if (reply.kind !== 'value') throw refusal(reply);
      return reply.value as string[];
    },
    get durability() {
      return client.durability;
    },
    close,
    [Symbol.asyncDispose]: close,
  } as Holdfast;
}
