/**
 * The instances that this process has open, whichever copy of the package opened them: a worker process drains them
 * without their owners' help, and tells its supervisor which channels they listen to.
 */
import type { Client } from '../client/client.ts';
import type { HoldfastError } from '../model/errors.ts';
import { drainWithin } from './holdfast.ts';

/** An instance as the process that it lives in sees it. */
export interface OpenInstance {
  /** What to open for the same store: `file:` and an absolute path, the address of a server, or `memory:`. */
  readonly url: string;
  readonly space: string;
  /** The channels that it has had consumers of, in the order in which they came. */
  readonly channels: readonly string[];
  /** How many messages it was handed so far, and how many of them it holds. */
  readonly work: { readonly deliveries: number; readonly held: number };
  /** Why it can go on no more, unless it was closed. */
  readonly failure: HoldfastError | undefined;
  /** Resolves when the broker has applied all that was asked for so far, such as to open a consumer. */
  applied(): Promise<void>;
  /** Takes no more messages; what still runs after the grace goes back uncounted. The instance stays open. */
  drain(graceMs: number): Promise<void>;
  close(): Promise<void>;
}

interface Registry {
  readonly instances: Set<OpenInstance>;
  readonly listeners: Set<() => void>;
}

/** Other copies of the package find it by this name. To change what it holds, change the name. */
const NAME = Symbol.for('holdfast.instances.1');

const holder = globalThis as { [NAME]?: Registry };
const registry: Registry = (holder[NAME] ??= { instances: new Set(), listeners: new Set() });

/** All instances that are open. */
export function openInstances(): readonly OpenInstance[] {
  return [...registry.instances];
}

/** Calls back when an instance was opened or closed, has failed, or listens to another channel. */
export function onInstances(listener: () => void): void {
  registry.listeners.add(listener);
}

/** Adds an instance; what it gives takes it away again. */
export function addInstance(client: Client, url: string, space: string, close: () => Promise<void>): () => void {
  const instance: OpenInstance = {
    url,
    space,
    get channels() {
      return client.consumedChannels;
    },
    get work() {
      return client.work;
    },
    get failure() {
      return client.failure?.code === 'CLOSED' ? undefined : client.failure;
    },
    async applied() {
      await client.request({ kind: 'inspect', what: 'channels' });
    },
    drain: (graceMs) => drainWithin(client, graceMs),
    close,
  };
  registry.instances.add(instance);
  client.onConsume(announce);
  client.onFailure(announce);
  announce();
  return () => {
    if (registry.instances.delete(instance)) announce();
  };
}

function announce(): void {
  for (const listener of registry.listeners) listener();
}
