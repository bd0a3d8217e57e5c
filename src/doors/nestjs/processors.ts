/** Runs the processors of an application: finds them, consumes for them, and drains them before what they work with is gone. */
import type { OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { ContextIdFactory, type DiscoveryService, MetadataScanner, ModuleRef } from '@nestjs/core';
import type { Channel } from '../../api/channel.ts';
import type { Consumer } from '../../api/consumer.ts';
import type { HandlerContext } from '../../api/handler-context.ts';
import type { JournalEvent } from '../../api/events.ts';
import type { Connection } from './connection.ts';
import { listenerMark, type ListenerMark, processMark, processorMark, type ProcessorMark } from './decorators.ts';
import { systemClock } from '../../model/clock.ts';
import { DEFAULT_CONNECTION, getChannelToken } from './tokens.ts';

type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];
type AnyChannel = Channel<unknown>;
type Methods = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

/** What `@Inject(REQUEST)` gives to a request-scoped provider while a message is handled. */
export interface MessageRequest<Message = unknown> {
  readonly message: Message;
  readonly context: HandlerContext;
}

/** A class of the application that has methods for channels. */
interface Found {
  readonly wrapper: Wrapper;
  readonly name: string;
  readonly mark: ProcessorMark | undefined;
  readonly handlers: readonly string[];
  readonly listeners: readonly { readonly method: string; readonly mark: ListenerMark }[];
}

export class Processors implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #name: string;
  readonly #connection: Connection;
  readonly #discovery: DiscoveryService;
  readonly #consumers: Consumer[] = [];
  readonly #listening = new AbortController();
  #failure: string | undefined;
  #drained: Promise<void> | undefined;

  constructor(name: string, connection: Connection, discovery: DiscoveryService) {
    this.#name = name;
    this.#connection = connection;
    this.#discovery = discovery;
  }

  /** Why the processors do not do their work; `undefined` when they do. */
  get trouble(): string | undefined {
    return this.#drained === undefined ? this.#failure : 'The application shuts down';
  }

  /** How many there are. */
  get consumers(): number {
    return this.#consumers.length;
  }

  /** When all providers are there, and have heard of it. */
  async onApplicationBootstrap(): Promise<void> {
    const found = this.#discovery.getProviders().flatMap((wrapper) => find(wrapper) ?? []);
    // Whoever listens hears of the first message.
    for (const one of found) this.#listen(one);
    for (const one of found) await this.#process(one);
  }

  async onModuleDestroy(): Promise<void> {
    await this.#drain();
  }

  #listen({ wrapper, name, mark, listeners }: Found): void {
    for (const { method, mark: listener } of listeners) {
      const { connection = mark?.connection ?? DEFAULT_CONNECTION, channel = mark?.channel, kinds } = listener;
      if (connection !== this.#name) continue;
      if (channel === undefined) {
        throw new TypeError(
          `Cannot listen in "${name}.${method}": give @OnChannelEvent a channel, or make it a processor`,
        );
      }
      if (isOfMessages(wrapper)) {
        throw new TypeError(`Cannot listen in "${name}.${method}": an instance of it is there only for a message`);
      }
      const events = this.#channelFor(wrapper, channel).events({ kinds, signal: this.#listening.signal });
      void this.#hear(events, `${name}.${method}`, (event) => (wrapper.instance as Methods)[method]?.(event));
    }
  }

  async #hear(
    events: AsyncIterable<JournalEvent>,
    name: string,
    listener: (event: JournalEvent) => unknown,
  ): Promise<void> {
    const { logger } = this.#connection;
    try {
      for await (const event of events) {
        if (event.kind === 'trimmed') logger.warn(`Events are missing in "${name}": it is too slow for them`);
        else await this.#tell(listener, event, name);
      }
    } catch (error) {
      if (!this.#listening.signal.aborted) logger.error(`Cannot listen in "${name}" any more`, stackOf(error));
    }
  }

  async #tell(listener: (event: JournalEvent) => unknown, event: JournalEvent, name: string): Promise<void> {
    try {
      await listener(event);
    } catch (error) {
      this.#connection.logger.error(`An event was not heard in "${name}"`, stackOf(error));
    }
  }

  async #process({ wrapper, name, mark, handlers }: Found): Promise<void> {
    if (mark === undefined || (mark.connection ?? DEFAULT_CONNECTION) !== this.#name) return;
    const [method, second] = handlers;
    if (method === undefined)
      throw new TypeError(`Cannot process "${mark.channel}": no method of "${name}" has @Process()`);
    if (second !== undefined) {
      throw new TypeError(
        `Cannot process "${mark.channel}": "${name}" has @Process() at "${method}" and at "${second}"`,
      );
    }
    const { channel, connection: _connection, ...options } = mark;
    const { logger } = this.#connection;
    const onError = (error: Error): void => logger.warn(error.message);
    const consumer = await consume(this.#channelFor(wrapper, channel), wrapper, method, { onError, ...options });
    this.#consumers.push(consumer);
    consumer.stopped.catch((error: Error) => {
      this.#failure = `Consumer of "${channel}" has stopped: ${error.message}`;
      logger.error(this.#failure, error.stack);
    });
    this.#drainBefore(wrapper);
  }

  /** That which the processor's own module has registered or imported, or that of any other one. */
  #channelFor(wrapper: Wrapper, channel: string): AnyChannel {
    try {
      return moduleRefOf(wrapper).get<AnyChannel>(getChannelToken(channel, this.#name), { strict: false });
    } catch (cause) {
      const remedy = `import HoldfastModule.registerChannel({ name: '${channel}' })`;
      throw new TypeError(`Cannot find channel "${channel}" of connection "${this.#name}": ${remedy}`, { cause });
    }
  }

  /**
   * Modules are destroyed from the root on, and this one, which is global, is the last. A handler needs what is injected into it for as
   * long as it runs: so the first module with a processor drains them all, before any of its own providers is destroyed.
   */
  #drainBefore({ host }: Wrapper): void {
    const token = `holdfast:${this.#name}:drain`;
    if (host === undefined || host.getProviderByKey(token) !== undefined) return;
    host.addProvider({ provide: token, useValue: { onModuleDestroy: () => this.#drain() } });
    const hook = host.getProviderByKey(token) as Wrapper;
    hook.hierarchyLevel = Number.MAX_SAFE_INTEGER;
  }

  #drain(): Promise<void> {
    this.#drained ??= (async () => {
      const { graceMs } = this.#connection;
      const closeAll = (): void => this.#consumers.forEach((consumer) => void consumer.close());
      const cancel = graceMs === undefined ? () => {} : systemClock.timer(graceMs, closeAll);
      await Promise.all(this.#consumers.map((consumer) => consumer.drain()));
      cancel();
      this.#listening.abort();
    })();
    return this.#drained;
  }
}

async function consume(
  channel: AnyChannel,
  wrapper: Wrapper,
  method: string,
  options: Omit<ProcessorMark, 'channel' | 'connection'>,
): Promise<Consumer> {
  if (!isOfMessages(wrapper)) {
    const instance = wrapper.instance as Methods;
    return channel.consume((message, context) => instance[method]?.(message, context), options);
  }
  const scope = (message: unknown, context: HandlerContext): Promise<Methods> => resolve(wrapper, { message, context });
  return channel.consume((message, context) => context.scope[method]?.(message, context), { ...options, scope });
}

/** An instance for one message, and of all that is request-scoped below it. */
async function resolve(wrapper: Wrapper, request: MessageRequest): Promise<Methods> {
  const moduleRef = moduleRefOf(wrapper);
  const contextId = ContextIdFactory.getByRequest(request);
  moduleRef.registerRequestByContextId(request, contextId);
  return moduleRef.resolve<Methods>(wrapper.token as string, contextId);
}

function isOfMessages(wrapper: Wrapper): boolean {
  return wrapper.isTransient || !wrapper.isDependencyTreeStatic();
}

function moduleRefOf({ host }: Wrapper): ModuleRef {
  return host?.getProviderByKey<ModuleRef>(ModuleRef).instance as ModuleRef;
}

const scanner = new MetadataScanner();

/** What the class of a provider is marked with. */
function find(wrapper: Wrapper): Found | undefined {
  const prototype = wrapper.isAlias ? undefined : prototypeOf(wrapper);
  if (prototype === undefined) return undefined;
  const mark = markOf<ProcessorMark>(processorMark, prototype.constructor);
  const methods = scanner.getAllMethodNames(prototype);
  const own = (method: string): object => (prototype as Methods)[method] as object;
  const handlers = methods.filter((method) => markOf(processMark, own(method)) !== undefined);
  const listeners = methods.flatMap((method) => {
    const listener = markOf<ListenerMark>(listenerMark, own(method));
    return listener === undefined ? [] : [{ method, mark: listener }];
  });
  if (mark === undefined && listeners.length === 0) return undefined;
  return { wrapper, name: prototype.constructor.name, mark, handlers, listeners };
}

/** That of a class; a factory, and what makes no object, has none. */
function prototypeOf({ instance, metatype }: Wrapper): object | undefined {
  const made = instance as unknown;
  if (typeof made === 'object' && made !== null) return (Object.getPrototypeOf(made) as object | null) ?? undefined;
  return (metatype?.prototype ?? undefined) as object | undefined;
}

function markOf<Mark>({ KEY }: { readonly KEY: string }, of: object): Mark | undefined {
  return Reflect.getMetadata(KEY, of) as Mark | undefined;
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : String(error);
}
