/** What the cases of the API's conformance suite share. */
import assert from 'node:assert/strict';
import type { Channel } from '../api/channel.ts';
import type { Holdfast } from '../api/holdfast.ts';
import type { ChannelOptions } from '../api/options.ts';
import { systemClock } from '../model/clock.ts';
import { type ErrorCode, HoldfastError } from '../model/errors.ts';
import { breathe } from './settled.ts';

/** What a case gets. */
export interface ApiBench {
  readonly hf: Holdfast;
  /** Opens another instance on the same store. */
  readonly open: () => Promise<Holdfast>;
  /** The name of a channel that no other case uses. */
  readonly nameOf: (name: string) => string;
  /** Such a channel of the first instance. */
  readonly channel: <Message, Result = unknown>(
    name: string,
    options?: ChannelOptions<undefined>,
  ) => Channel<Message, Message, Result>;
  /** No handler runs again that has ended well. */
  readonly runsOnce: boolean;
}

/** A case as it is written in the files beside this one. */
export type ApiCase = readonly [name: string, body: (bench: ApiBench) => Promise<void>];

/** The id of a message that nobody has produced. */
export const NOBODY = '01900000-0000-7000-8000-000000000000';

/** How long something may take that should happen at once, in milliseconds. */
const PATIENCE_MS = 20_000;

/** Waits until it is so. @throws Error when it takes too long */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const givesUpAt = systemClock.monotonicMs() + PATIENCE_MS;
  while (!(await isSo())) {
    if (systemClock.monotonicMs() > givesUpAt) throw new Error(`Cannot wait any longer for ${what}`);
    await breathe();
  }
}

/** Asserts that an object has these fields with these values; of nested plain objects likewise. */
export function assertLike(actual: unknown, expected: object): void {
  assert.ok(typeof actual === 'object' && actual !== null, `Expected an object, found ${String(actual)}`);
  for (const [key, wanted] of Object.entries(expected)) {
    const found: unknown = (actual as Readonly<Record<string, unknown>>)[key];
    if (isPlain(wanted)) assertLike(found, wanted);
    else assert.deepEqual(found, wanted, `In "${key}" of ${JSON.stringify(actual, shown)}`);
  }
}

/** A condition for `assert.rejects`. */
export function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof HoldfastError && error.code === code;
}

/** The messages of a channel in one state. */
export async function messagesIn<Message>(
  channel: Channel<Message, Message, unknown>,
  state: Parameters<typeof channel.list>[0],
): Promise<Message[]> {
  return (await channel.list(state, { limit: 100 })).map(({ message }) => message);
}

/** A handler that waits until it is let go, and what it has been given. */
export class Gate {
  readonly started: unknown[] = [];
  readonly #waiting: (() => void)[] = [];

  /** Called by the handler; resolves when somebody opens the gate. */
  enter(message: unknown): Promise<void> {
    this.started.push(message);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Lets all handlers go that wait by now. */
  open(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function shown(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}
