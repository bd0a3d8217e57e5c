/** Running a handler on exactly one message. */
import type { Handler, ScopedHandler } from '../api/attempt.ts';
import type { Channel } from '../api/channel.ts';
import { refuseUnknown } from '../api/checks.ts';
import type { Consumer, ScopedConsumeOptions } from '../api/consumer.ts';
import { NotedError } from '../api/failure.ts';
import { HandlerOutcome } from '../api/outcomes.ts';
import { scoped } from '../api/scope.ts';
import type { ChannelView } from '../model/views.ts';
import type { State } from '../model/states.ts';
import { breathe } from './settled.ts';

/** What became of the one message. */
export interface RunOutcome<Message> {
  readonly id: string;
  readonly message: Message;
  /** 1 for the first. */
  readonly attempt: number;
  /** What the handler returned; `undefined` when it threw or returned `retry`, `deadLetter` or `snooze`. */
  readonly result: unknown;
  /** The outcome that the handler returned instead of a result. */
  readonly outcome: HandlerOutcome['kind'] | undefined;
  /** What the handler threw. */
  readonly error: unknown;
  /** Where the message stands now; `undefined` when it is not kept. A message in a dead-letter channel is `ready`. */
  readonly state: State | undefined;
}

/**
 * Runs the next ready message of a channel through a handler, with everything that belongs to it (decoding, schema,
 * `tx`, settling), and says how it ended. The others stay where they are.
 *
 * ```ts
 * await mails.produce({ to: 'nobody' });
 * const run = await runOne(mails, sendMail);
 * expect(run.error).toMatchObject({ code: 'UNKNOWN_RECIPIENT' });
 * expect(run.state).toBe('delayed');   // it will be tried again
 * ```
 *
 * @throws Error when nothing is ready, or the channel is paused
 */
export async function runOne<Input, Message, Result>(
  channel: Channel<Input, Message, Result>,
  handler: Handler<Message, Result>,
): Promise<RunOutcome<Message>>;
/** Runs the next ready message of a channel through a handler, in a scope of its own; see {@link ScopedConsumeOptions}. */
export async function runOne<Input, Message, Result, Scope>(
  channel: Channel<Input, Message, Result>,
  handler: ScopedHandler<Message, Result, Scope>,
  options: Pick<ScopedConsumeOptions<Message, Scope>, 'scope'>,
): Promise<RunOutcome<Message>>;
export async function runOne<Input, Message, Result>(
  channel: Channel<Input, Message, Result>,
  handler: Handler<Message, Result> | ScopedHandler<Message, Result, never>,
  options: object = {},
): Promise<RunOutcome<Message>> {
  refuseUnknown(options, ['scope'], 'runOne');
  const { scope } = options as Partial<ScopedConsumeOptions<Message, never>>;
  const whole = (scope === undefined ? handler : scoped(scope, handler)) as Handler<Message, Result>;
  const view: ChannelView | null = await channel.inspect();
  if (view === null || view.ready === 0 || view.paused) {
    const why =
      view === null
        ? 'nobody has produced to it'
        : view.paused
          ? 'it is paused'
          : `none is ready, ${view.delayed} are delayed and ${view.leased} are with other consumers`;
    throw new Error(`Cannot run a message of "${channel.name}": ${why}`);
  }
  let ran: Omit<RunOutcome<Message>, 'state'> | undefined;
  const consumer: Consumer = await channel.consume(
    async (message, context) => {
      const { id, attempt } = context;
      // No other message comes: this is said to the broker before the end of this one.
      void consumer.drain();
      try {
        const returned = await whole(message, context);
        const outcome = returned instanceof HandlerOutcome ? returned.kind : undefined;
        ran = { id, message, attempt, result: outcome === undefined ? returned : undefined, outcome, error: undefined };
        return returned;
      } catch (thrown) {
        const error = thrown instanceof NotedError ? thrown.error : thrown;
        ran = { id, message, attempt, result: undefined, outcome: undefined, error };
        throw thrown;
      }
    },
    { concurrency: 1, prefetch: 0 },
  );
  await consumer.stopped;
  while (ran === undefined) await breathe();
  return { ...ran, state: (await channel.get(ran.id))?.state };
}
