/** Channels that an application declares once: their names and options, and the types of messages and results. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Handler } from './attempt.ts';
import type { Channel } from './channel.ts';
import { checkChannelName, checkOptionsObject } from './checks.ts';
import { type ChannelOptions, resolveChannelOptions } from './options.ts';

/** Holds the types of a definition; there is no such value. */
declare const TYPES: unique symbol;

/** What a channel is made of, without an instance: `defineChannel` gives it. The types are as those of {@link Channel}. */
export interface ChannelDefinition<Input, Message = Input, Result = unknown> {
  readonly name: string;
  readonly options: ChannelOptions;
  readonly [TYPES]?: { readonly input: Input; readonly message: Message; readonly result: Result };
}

/** Definitions of channels by the names that the program has for them. */
export type ChannelMap = Readonly<Record<string, ChannelDefinition<unknown, unknown>>>;

/** The channels of these definitions, under the same names. */
export type Channels<Definitions extends ChannelMap> = {
  readonly [Key in keyof Definitions]: Definitions[Key] extends ChannelDefinition<
    infer Input,
    infer Message,
    infer Result
  >
    ? Channel<Input, Message, Result>
    : never;
};

/** The handler that a channel of this definition takes: `HandlerOf<typeof channels.emailSend>`. */
export type HandlerOf<Definition extends ChannelDefinition<unknown, unknown>> =
  Definition extends ChannelDefinition<infer _Input, infer Message, infer Result> ? Handler<Message, Result> : never;

/**
 * Declares a channel, for any number of programs and instances: what it takes is what `channel()` of an instance takes.
 *
 * ```ts
 * export const channels = {
 *   emailSend: defineChannel<Email, Sent>('email/send', { attempts: 8 }),
 *   orderPlaced: defineChannel('order/placed', { schema: Order }),
 * };
 * const hf = await open('file:./data', { channels });
 * await hf.channels.emailSend.produce({ to: 'ada@example.org' });
 * ```
 *
 * @throws TypeError, RangeError for a name or an option that cannot be used
 */
export function defineChannel<Message, Result = unknown>(
  name: string,
  options?: ChannelOptions<undefined>,
): ChannelDefinition<Message, Message, Result>;
/** Declares a channel whose messages are checked by a schema, which also gives them their type. */
export function defineChannel<Schema extends StandardSchemaV1, Result = unknown>(
  name: string,
  options: ChannelOptions<Schema> & { readonly schema: Schema },
): ChannelDefinition<StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>, Result>;
export function defineChannel(name: string, options: ChannelOptions = {}): ChannelDefinition<never, never> {
  checkChannelName(name);
  resolveChannelOptions(options);
  return Object.freeze({ name, options: Object.freeze({ ...options }) });
}

/** Checks what somebody gives as definitions. @throws TypeError, RangeError */
export function checkChannelMap(definitions: ChannelMap): void {
  checkOptionsObject(definitions, '"channels"');
  const keys = new Map<string, string>();
  for (const [key, definition] of Object.entries(definitions)) {
    if (UNASKED.has(key)) throw new TypeError(`Cannot use "${key}" in "channels": JavaScript gives it a meaning`);
    if (typeof definition?.name !== 'string' || typeof definition.options !== 'object' || definition.options === null) {
      throw new TypeError(`Cannot use "${key}" in "channels": make it with defineChannel`);
    }
    checkChannelName(definition.name);
    const other = keys.get(definition.name);
    if (other !== undefined) {
      throw new TypeError(`Cannot use "${other}" and "${key}" in "channels" both: they define "${definition.name}"`);
    }
    keys.set(definition.name, key);
  }
}

/** What the language looks for in any object that it waits for, or makes a text of. */
const UNASKED: ReadonlySet<string> = new Set(['then', 'toJSON']);

/**
 * The channels of these definitions, each made when it is first asked for. Asking for another one throws a TypeError.
 *
 * @param definitions were checked
 */
export function createChannels<Definitions extends ChannelMap>(
  definitions: Definitions,
  make: (definition: ChannelDefinition<unknown, unknown>) => Channel<never, never, never>,
): Channels<Definitions> {
  const channels = {};
  for (const [key, definition] of Object.entries(definitions)) {
    let channel: Channel<never, never, never> | undefined;
    Object.defineProperty(channels, key, { enumerable: true, get: () => (channel ??= make(definition)) });
  }
  return new Proxy(Object.freeze(channels) as Channels<Definitions>, {
    get(target, key) {
      if (typeof key === 'symbol' || key in target || UNASKED.has(key)) return Reflect.get(target, key) as unknown;
      throw new TypeError(`Cannot find the channel "${key}": ${remedy(Object.keys(definitions))}`);
    },
  });
}

/** How many names a message lists. */
const LISTED = 20;

function remedy(known: readonly string[]): string {
  if (known.length === 0) return 'give its definition to open as one of "channels"';
  const more = known.length > LISTED ? ` and ${known.length - LISTED} more` : '';
  return `known are ${known.slice(0, LISTED).join(', ')}${more}`;
}
