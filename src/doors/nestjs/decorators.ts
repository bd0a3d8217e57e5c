/** What classes of an application are marked with. */
import { Inject, Injectable, type Scope } from '@nestjs/common';
import { type DiscoverableDecorator, DiscoveryService } from '@nestjs/core';
import type { ConsumeOptions } from '../../api/consumer.ts';
import type { EventsTrimmed, JournalEvent } from '../../api/events.ts';
import type { HandlerContext } from '../../api/handler-context.ts';
import type { EventKind } from '../../model/views.ts';
import { getChannelToken, getHoldfastToken } from './tokens.ts';

/** Injects a channel that `HoldfastModule.registerChannel` has registered. */
export function InjectChannel(channel: string, connection?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getChannelToken(channel, connection));
}

/** Injects the instance of Holdfast: for KV, topics, flows, schedules and whatever else is no channel. */
export function InjectHoldfast(connection?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getHoldfastToken(connection));
}

export interface ProcessorOptions extends Omit<ConsumeOptions, 'signal'> {
  /** The connection of the channel. @default 'default' */
  readonly connection?: string;
  /**
   * `Scope.REQUEST` for an instance of its own for each message. It is so in any case where the class, or something that is injected
   * into it, is request-scoped.
   */
  readonly scope?: Scope;
}

/** A processor as its decorator has it. */
export interface ProcessorMark extends Omit<ProcessorOptions, 'scope'> {
  readonly channel: string;
}

/** A listener as its decorator has it. */
export interface ListenerMark {
  readonly kinds: readonly EventKind[];
  readonly channel: string | undefined;
  readonly connection: string | undefined;
}

export const processorMark: DiscoverableDecorator<ProcessorMark> = DiscoveryService.createDecorator<ProcessorMark>();
export const processMark: DiscoverableDecorator<true> = DiscoveryService.createDecorator<true>();
export const listenerMark: DiscoverableDecorator<ListenerMark> = DiscoveryService.createDecorator<ListenerMark>();

/** Marks a provider that consumes a channel: with its method that has `@Process()`. */
export function Processor(channel: string, { scope, ...options }: ProcessorOptions = {}): ClassDecorator {
  const mark = processorMark({ ...options, channel });
  return (target) => {
    // Without a scope of its own here, what `@Injectable` says below stands.
    if (scope !== undefined) Injectable({ scope })(target);
    mark(target);
  };
}

/** A decorator of methods that are at least like this. */
export type MethodLike<Least> = <Own extends Least>(
  target: object,
  key: string | symbol,
  descriptor: TypedPropertyDescriptor<Own>,
) => void;

/**
 * Marks the method of a processor that handles a message, as a handler of `consume` does: what it returns is the result, what it throws
 * fails the attempt.
 */
export function Process(): MethodLike<(message: never, context: HandlerContext) => unknown> {
  return mark(processMark(true));
}

export interface OnChannelEventOptions {
  /** The channel that it listens to. @default that of the processor which the method belongs to */
  readonly channel?: string;
  /** The connection of the channel. @default that of the processor, or 'default' */
  readonly connection?: string;
}

/**
 * Marks a method, of a processor or of any other provider, that hears what happens to a channel and its messages, in whatever process.
 * It hears one event after the other, from the start of the application on; what it throws is logged.
 */
export function OnChannelEvent<const What extends EventKind>(
  kinds: What | readonly What[],
  { channel, connection }: OnChannelEventOptions = {},
): MethodLike<(event: Exclude<JournalEvent<What>, EventsTrimmed>) => unknown> {
  const list: readonly What[] = typeof kinds === 'string' ? [kinds] : kinds;
  return mark(listenerMark({ kinds: list, channel, connection }));
}

function mark<Least>(decorator: ReturnType<DiscoverableDecorator<unknown>>): MethodLike<Least> {
  return (target, key, descriptor) => decorator(target, key, descriptor);
}
