/** What an application has marked for this module: processors, and methods that listen. */
import { type DiscoveryService, MetadataScanner, ModuleRef } from '@nestjs/core';
import { listenerMark, type ListenerMark, processMark, processorMark, type ProcessorMark } from './decorators.ts';

/** A provider as Nest keeps it. */
export type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

/** An instance of a class whose methods are called by name. */
export type Methods = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

/** A class of the application that has methods for channels. */
export interface Found {
  readonly wrapper: Wrapper;
  readonly name: string;
  readonly mark: ProcessorMark | undefined;
  readonly handlers: readonly string[];
  readonly listeners: readonly { readonly method: string; readonly mark: ListenerMark }[];
}

const scanner = new MetadataScanner();

/** What the class of a provider is marked with. */
export function find(wrapper: Wrapper): Found | undefined {
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
  if (mark === undefined && listeners.length === 0 && handlers.length === 0) return undefined;
  return { wrapper, name: prototype.constructor.name, mark, handlers, listeners };
}

/** That of a class; a factory, and what is no instance of a class, has none. */
function prototypeOf({ instance, metatype }: Wrapper): object | undefined {
  const made = instance as unknown;
  const isMade = typeof made === 'object' && made !== null;
  const prototype = (isMade ? Object.getPrototypeOf(made) : metatype?.prototype) as object | null | undefined;
  return typeof prototype?.constructor === 'function' ? prototype : undefined;
}

function markOf<Mark>({ KEY }: { readonly KEY: string }, of: object): Mark | undefined {
  return Reflect.getMetadata(KEY, of) as Mark | undefined;
}

/** Whether instances of it are made for a message each. */
export function isOfMessages(wrapper: Wrapper): boolean {
  return wrapper.isTransient || !wrapper.isDependencyTreeStatic();
}

/** That of the module to which it belongs. */
export function moduleRefOf({ host }: Wrapper): ModuleRef {
  return host?.getProviderByKey<ModuleRef>(ModuleRef).instance as ModuleRef;
}
