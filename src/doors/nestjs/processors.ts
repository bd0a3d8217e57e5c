/** Runs the processors of an application: finds them, consumes for them, and drains them before what they work with is gone. */
import type { OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { ContextIdFactory, type DiscoveryService } from '@nestjs/core';
import type { Channel } from '../../api/channel.ts';
import type { Consumer } from '../../api/consumer.ts';
import type { HandlerContext } from '../../api/handler-context.ts';
import type { JournalEvent } from '../../api/events.ts';
import { dispose } from '../../api/scope.ts';
import { systemClock } from '../../model/clock.ts';
import type { Connection } from './connection.ts';
import type { ProcessorMark } from './decorators.ts';
import { find, type Found, isOfMessages, type Methods, moduleRefOf, type Wrapper } from './found.ts';
import { DEFAULT_CONNECTION, getChannelToken, getProcessorsToken } from './tokens.ts';

type AnyChannel = Channel<unknown>;

/** What `@Inject(REQUEST)` gives to a request-scoped provider while a message is handled. */
export interface MessageRequest<Message = unknown> {
  readonly message: Message;
  readonly context: HandlerContext;
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
    for (const one of found) this.#check(one);
    // Whoever listens hears of the first message.
    for (const one of found) this.#listen(one);
    for (const one of found) await this.#process(one);
  }

  async onModuleDestroy(): Promise<void> {
    await this.#drain();
  }

  /** What belongs to no connection, or to no processor, would never be called, and nobody would know. */
  #check({ wrapper, name, mark, handlers, listeners }: Found): void {
    if (mark === undefined && handlers.length > 0) {
      throw new TypeError(`Cannot process in "${name}.${handlers[0]}": the class needs @Processor(channel)`);
    }
    const used = [...(mark === undefined ? [] : [mark]), ...listeners.map((listener) => listener.mark)];
    for (const { connection } of used) {
      if (connection === undefined || connection === this.#name) continue;
      try {
        moduleRefOf(wrapper).get(getProcessorsToken(connection), { strict: false });
      } catch (cause) {
        const remedy = `import HoldfastModule.forRoot({ connection: '${connection}' })`;
        throw new TypeError(`Cannot use connection "${connection}" in "${name}": ${remedy}`, { cause });
      }
    }
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
  // What is durable is shared by the messages that a strategy of the application's puts together.
  const isShared = wrapper.isDependencyTreeDurable();
  const scope = async (message: unknown, context: HandlerContext): Promise<InstanceScope> => {
    const instance = await resolve(wrapper, { message, context });
    return { instance, dispose: () => (isShared ? undefined : dispose(instance)) };
  };
  return channel.consume((message, context) => context.scope.instance[method]?.(message, context), {
    ...options,
    scope,
  });
}

/** An instance for one message, and how it is disposed of. */
interface InstanceScope {
  readonly instance: Methods;
  dispose(): unknown;
}

/** Makes an instance for one message, and of all that is request-scoped below it. */
async function resolve(wrapper: Wrapper, request: MessageRequest): Promise<Methods> {
  const moduleRef = moduleRefOf(wrapper);
  const contextId = ContextIdFactory.getByRequest(request);
  moduleRef.registerRequestByContextId(request, contextId);
  return moduleRef.resolve<Methods>(wrapper.token as string, contextId);
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : String(error);
}
