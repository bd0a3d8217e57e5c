/** Asserting that a message is there. */
import { AssertionError } from 'node:assert';
import { inspect, isDeepStrictEqual } from 'node:util';
import type { Channel } from '../api/channel.ts';
import { STATES } from '../model/states.ts';
import type { StoredMessage } from '../api/stored.ts';

/**
 * What a message must be like: a function that says so, or a value. Of a plain object only the fields that are named
 * must match, and theirs likewise; everything else must be equal.
 */
export type Matcher<Message> = ((message: Message) => boolean) | Partial<Message> | Message;

/** How many messages of each state are looked at, and shown when none matches. */
const LOOKED_AT = 100;
const SHOWN = 20;

/**
 * Gives the first message of a channel that matches, in any state; throws an `AssertionError` that lists what is there
 * when none does.
 *
 * ```ts
 * await signUp({ name: 'Ada' });
 * const mail = await expectProduced(mails, { to: 'Ada', template: 'welcome' });
 * expect(mail.state).toBe('ready');
 * ```
 */
export async function expectProduced<Input, Message, Result>(
  channel: Channel<Input, Message, Result>,
  matcher: Matcher<Message>,
): Promise<StoredMessage<Message>> {
  const there: StoredMessage<Message>[] = [];
  for (const state of STATES) there.push(...(await channel.list(state, { limit: LOOKED_AT })));
  const found = there.find(({ message }) => matches(message, matcher));
  if (found !== undefined) return found;
  throw new AssertionError({
    message: `${failure(channel.name, matcher)}\n${list(there)}`,
    expected: matcher,
    actual: there.map(({ message }) => message),
    operator: 'expectProduced',
    stackStartFn: expectProduced,
  });
}

function failure(name: string, matcher: unknown): string {
  const wanted = typeof matcher === 'function' ? 'the function' : show(matcher);
  return `No message in "${name}" matches ${wanted}`;
}

function list(there: readonly StoredMessage<unknown>[]): string {
  if (there.length === 0) return 'The channel is empty';
  const lines = there.slice(0, SHOWN).map(({ state, message }) => `  ${state.padEnd(9)}  ${show(message)}`);
  const more = there.length > SHOWN ? [`  and ${there.length - SHOWN} more`] : [];
  return ['It holds:', ...lines, ...more].join('\n');
}

function show(value: unknown): string {
  return inspect(value, { breakLength: Infinity, depth: 4 });
}

function matches(value: unknown, matcher: unknown): boolean {
  if (typeof matcher === 'function') return (matcher as (value: unknown) => boolean)(value);
  if (!isPlain(matcher)) return isDeepStrictEqual(value, matcher);
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(matcher).every(([key, wanted]) => matches((value as Record<string, unknown>)[key], wanted));
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
