/** What is done to single messages that are stored: cancel, retry, remove, update. */
import type { Client } from '../client/client.ts';
import { CODEC_BSON, type CodecLimits, encode } from '../codec/bson.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import type { CancelOptions as CancelFields, Change } from '../model/life.ts';
import { MAX_REASON_CHARACTERS } from '../model/life.ts';
import { type MessageId, parseMessageId } from '../model/message-id.ts';
import { oneOf, refuseUnknown } from './checks.ts';
import { checkChange } from './options.ts';
import { ask } from './stored.ts';

export interface CancelOptions {
  /** Why, for the history of the message and whoever waits for its result; up to 200 characters. */
  readonly reason?: string;
  /**
   * How long a handler that runs may take to end. Its signal fires at once, with a `CancelledError` that tells how long it has; what it
   * does in time counts: if it returns, the message is completed. Then its lease is gone and, in an isolate, so is the isolate.
   * @default none: what it does counts no more at once, and an isolate has a second to end
   */
  readonly deadline?: Duration;
  /**
   * What becomes of the messages that this one waits for: with `cancel` those that have not ended are cancelled as well, and
   * so on downwards, but for what others wait for.
   * @default 'leave'
   */
  readonly children?: 'leave' | 'cancel';
}

export interface RetryOptions {
  /**
   * `'reset'` counts failed attempts anew, `'keep'` counts on: of a message that has had all of its attempts, the next failure is the last.
   * @default 'reset'
   */
  readonly attempts?: 'reset' | 'keep';
}

/** When a message that waits is handed out. */
export interface ChangeOptions {
  /** Delivers no earlier than this long from now; 0 makes a delayed message ready. */
  readonly delay?: Duration;
  /** Delivers no earlier than this moment of the wall clock. */
  readonly dueAt?: Date | number;
  /** Smaller is delivered first. With another one it goes behind those that have it. */
  readonly priority?: number;
  /** Puts a message that is ready before those of its priority. */
  readonly lifo?: boolean;
}

export interface UpdateOptions<Message> extends ChangeOptions {
  /** What the message is from now on. Its dedupe key stays what it was. */
  readonly message?: Message;
}

const CHANGES = ['delay', 'dueAt', 'priority', 'lifo'] as const;

/** @throws TypeError, RangeError */
export function cancelFields(options: CancelOptions, known: readonly string[] = []): CancelFields {
  refuseUnknown(options, ['reason', 'deadline', ...known], 'cancel');
  const { reason, deadline } = options;
  if (reason !== undefined && (typeof reason !== 'string' || reason.length > MAX_REASON_CHARACTERS)) {
    throw new TypeError(`Cannot use "reason": it must be a text of at most ${MAX_REASON_CHARACTERS} characters`);
  }
  return { reason, deadlineMs: deadline === undefined ? undefined : parseDuration(deadline, 'deadline') };
}

/** @throws TypeError, RangeError */
export function retryFields(options: RetryOptions, known: readonly string[] = []): { attempts: 'reset' | 'keep' } {
  refuseUnknown(options, ['attempts', ...known], 'retry');
  return { attempts: oneOf(options.attempts ?? 'reset', 'attempts', ['reset', 'keep'] as const) };
}

/** @throws TypeError, RangeError; also when there is nothing to change */
export function changeFields(options: ChangeOptions, known: readonly string[] = []): Change {
  refuseUnknown(options, [...CHANGES, ...known], 'update');
  checkChange(options);
  const { delay, dueAt, priority, lifo } = options;
  return {
    delayMs: delay === undefined ? undefined : parseDuration(delay, 'delay'),
    dueAt: dueAt === undefined ? undefined : Number(dueAt),
    priority,
    lifo,
  };
}

/** @throws TypeError when nothing is to be changed */
export function requireChange(options: object, known: readonly string[] = CHANGES): void {
  if (known.some((name) => (options as Readonly<Record<string, unknown>>)[name] !== undefined)) return;
  throw new TypeError(`Cannot update nothing: give one of ${known.join(', ')}`);
}

export async function cancelMessage(client: Client, id: MessageId, options: CancelOptions = {}): Promise<void> {
  const fields = cancelFields(options, ['children']);
  const children = oneOf(options.children ?? 'leave', 'children', ['leave', 'cancel'] as const) === 'cancel';
  await ask(client, { kind: 'manage', id: parseMessageId(id), action: 'cancel', children, ...fields });
}

export async function retryMessage(client: Client, id: MessageId, options: RetryOptions = {}): Promise<void> {
  const fields = retryFields(options);
  await ask(client, { kind: 'manage', id: parseMessageId(id), action: 'retry', ...fields });
}

export async function updateMessage(
  client: Client,
  id: MessageId,
  options: UpdateOptions<unknown>,
  limits?: CodecLimits,
): Promise<void> {
  const change = changeFields(options, ['message']);
  const isReplaced = 'message' in options;
  if (!isReplaced) requireChange(options, [...CHANGES, 'message']);
  const payload = isReplaced ? { codec: CODEC_BSON, bytes: encode(options.message, limits) } : undefined;
  await ask(client, { kind: 'update', id: parseMessageId(id), ...change, payload });
}
