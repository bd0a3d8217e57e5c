/**
 * What the door uses of Deepkit, in the words of its declarations, so that the package is built without Deepkit and its 170 MB. `test/deepkit`
 * compiles the door against Deepkit itself.
 */
declare module '@deepkit/type' {
  export type Type = { readonly kind: number };
  export interface ValidationErrorItem {
    readonly path: string;
    readonly message: string;
  }
  export interface TemplateState {
    readonly accessor: string;
    addSetter(code: string): void;
    convert(callback: (value: never) => unknown): void;
  }
  export interface TemplateRegistry {
    register(kind: number, template: (type: Type, state: TemplateState) => void): void;
    registerClass(classType: new () => object, template: (type: Type, state: TemplateState) => void): void;
  }
  export class EmptySerializer {
    constructor(name?: string);
    serializeRegistry: TemplateRegistry;
    deserializeRegistry: TemplateRegistry;
  }
  export const ReflectionKind: { readonly never: number; readonly any: number; readonly unknown: number };
  export function resolveReceiveType(type?: unknown): Type;
  export function validateFunction(serializer: undefined, type: Type): (value: unknown) => ValidationErrorItem[];
  export function serializeFunction(
    serializer: EmptySerializer,
    namingStrategy: undefined,
    type: Type,
  ): (value: unknown) => unknown;
  export function deserializeFunction(
    serializer: EmptySerializer,
    namingStrategy: undefined,
    type: Type,
  ): (value: unknown) => unknown;
}

declare module '@deepkit/broker' {
  import type { Type } from '@deepkit/type';

  export type Release = () => Promise<void>;
  export interface BrokerAdapterQueueProduceOptionsResolved {
    process: number;
    deduplicationInterval: number;
    hash?: string | number;
    delay?: number;
    priority?: number;
  }
  export interface BrokerAdapterQueue {
    disconnect(): Promise<void>;
    consume(
      name: string,
      callback: (message: BrokerQueueMessage<unknown>) => Promise<void>,
      options: { maxParallel: number },
      type: Type,
    ): Promise<Release>;
    produce(
      name: string,
      message: unknown,
      type: Type,
      options?: BrokerAdapterQueueProduceOptionsResolved,
    ): Promise<void>;
  }
  export class BrokerQueueMessage<T> {
    state: 'pending' | 'done' | 'failed';
    error?: Error;
    tries: number;
    delayed: number;
    channel: string;
    data: T;
    constructor(channel: string, data: T);
    failed(error: Error): void;
    delay(seconds: number): void;
  }
  export class BrokerQueue {
    constructor(adapter: BrokerAdapterQueue);
  }
}

declare module '@deepkit/event' {
  export interface EventToken {
    listen(callback: (event: never) => void | Promise<void>): EventListener;
  }
  export interface EventListener {
    readonly eventToken: EventToken;
  }
}

declare module '@deepkit/app' {
  import type { EventListener } from '@deepkit/event';

  export interface RootModuleDefinition {
    name?: string;
    imports?: AppModule[];
  }
  export class AppModule {
    constructor(config?: object, options?: RootModuleDefinition);
    providers: unknown[];
    exports: unknown[];
    addListener(...listeners: EventListener[]): this;
  }
  export class App<T extends RootModuleDefinition> {
    constructor(appModuleOptions: T);
    run(argv?: unknown[], bin?: string[]): Promise<void>;
  }
}

declare module '@deepkit/framework' {
  import type { AppModule } from '@deepkit/app';
  import type { EventToken } from '@deepkit/event';

  export const onServerShutdown: EventToken;
  export class FrameworkModule extends AppModule {
    constructor(options?: object);
  }
}
