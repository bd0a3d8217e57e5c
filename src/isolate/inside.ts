/** What runs inside of an isolate: loads the module and runs its handler on the messages that come. */
import { decode, encode } from '../codec/bson.ts';
import { parseDuration } from '../model/duration.ts';
import { HoldfastError } from '../model/errors.ts';
import type { ChildPage } from '../model/flow-views.ts';
import { failureOf } from '../api/failure.ts';
import { MAX_PROGRESS_BYTES } from '../api/handler-context.ts';
import type { IsolatedContext, IsolatedHandler, IsolatedScope } from '../api/isolated.ts';
import { readChildren } from '../api/flow-children.ts';
import { createNode } from '../api/flow-nodes.ts';
import type {
  AttemptFacts,
  CallAnswer,
  CallResult,
  ChildByName,
  ContextCall,
  FromIsolate,
  HandlerEnd,
  LoadOrder,
  ProducedByName,
  ToIsolate,
} from '../api/isolate-messages.ts';
import { checkChannelName } from '../api/checks.ts';
import { checkProduceOptions } from '../api/options.ts';
import { HandlerOutcome } from '../api/outcomes.ts';
import { scoped } from '../api/scope.ts';
import { TransactionEntries } from '../api/transaction-entries.ts';

type Say = (message: FromIsolate) => void;

/** Serves a consumer: what this gives takes what the consumer says. */
export function serve(say: Say, loading: (order: LoadOrder) => void): (message: ToIsolate) => void {
  let handler: IsolatedHandler<unknown, unknown> | undefined;
  let current: { readonly run: number; readonly controller: AbortController } | undefined;
  const calls = new Calls(say);

  const load = async (order: LoadOrder): Promise<void> => {
    loading(order);
    try {
      handler = handlerOf((await import(order.module)) as HandlerModule);
      say({ kind: 'loaded' });
    } catch (error) {
      say({ kind: 'unloadable', failure: failureOf(error) });
    }
  };

  const run = async (number: number, message: Uint8Array, facts: AttemptFacts): Promise<void> => {
    const controller = new AbortController();
    current = { run: number, controller };
    const call = (what: ContextCall): Promise<CallResult> => calls.make(number, what);
    const gathered: Gathered = {
      produced: [],
      children: [],
      entries: new TransactionEntries(async (key) => (await call({ kind: 'get', key })).record),
    };
    const context = contextOf(facts, controller.signal, gathered, call);
    say({
      kind: 'ended',
      run: number,
      end: await endOf(handler as IsolatedHandler<unknown, unknown>, message, context, gathered),
    });
  };

  return (message) => {
    switch (message.kind) {
      case 'load':
        void load(message);
        break;
      case 'run':
        void run(message.run, message.message, message.facts);
        break;
      case 'stop':
        if (current?.run === message.run) current.controller.abort(new HoldfastError(message.code, message.message));
        break;
      case 'answer':
        calls.answered(message.call, message.answer);
        break;
    }
  };
}

/** What the module of a handler exports. */
interface HandlerModule {
  readonly default?: unknown;
  readonly scope?: unknown;
}

function handlerOf({ default: exported, scope }: HandlerModule): IsolatedHandler<unknown, unknown> {
  if (typeof exported !== 'function') throw new TypeError('Its default export is not a function');
  const handler = exported as IsolatedHandler<unknown, unknown>;
  return scope === undefined ? handler : scoped(scope as IsolatedScope<unknown, unknown>, handler);
}

/** What a handler has gathered to commit with its ack. */
interface Gathered {
  readonly produced: ProducedByName[];
  readonly children: ChildByName[];
  readonly entries: TransactionEntries;
}

async function endOf(
  handler: IsolatedHandler<unknown, unknown>,
  message: Uint8Array,
  context: IsolatedContext,
  { produced, children, entries: { mutations } }: Gathered,
): Promise<HandlerEnd> {
  try {
    const returned = await handler(decode(message), context);
    if (returned instanceof HandlerOutcome) {
      if (returned.kind === 'wait') return { kind: 'waits', children, produced, mutations };
      const { kind, delayMs, reason } = returned;
      return { kind: 'outcome', outcome: { kind, delayMs, reason } };
    }
    if (children.length > 0) throw new TypeError('Cannot end with new children: return waitForChildren()');
    return { kind: 'returned', result: returned === undefined ? undefined : encode(returned), produced, mutations };
  } catch (error) {
    return { kind: 'threw', failure: failureOf(error) };
  }
}

function contextOf(
  facts: AttemptFacts,
  signal: AbortSignal,
  { produced, children, entries }: Gathered,
  call: (what: ContextCall) => Promise<CallResult>,
): IsolatedContext {
  return {
    ...facts,
    signal,
    tx: {
      produce(channel, message, options) {
        checkChannelName(channel);
        if (options !== undefined) checkProduceOptions(options);
        produced.push({ channel, message: encode(message), options });
      },
      get: (key) => entries.get(key),
      set: (key, value, options) => entries.set(key, value, options),
      delete: (key) => entries.delete(key),
      sum: (key, n) => entries.sum(key, n),
    },
    children: (channel) => readChildren(async (offset) => pageOf(await call({ kind: 'children', offset })), channel),
    addChild(channel, message, options = {}) {
      checkChannelName(channel);
      // What else is wrong with them is found here as well, where the handler can catch it.
      createNode({ name: channel, prepare: notHere }, message, options);
      children.push({ channel, message: encode(message), options });
    },
    async progress(value) {
      await call({ kind: 'progress', value: encode(value, { maxBytes: MAX_PROGRESS_BYTES }) });
    },
    async log(line) {
      if (typeof line !== 'string') throw new TypeError(`Cannot log ${typeof line}: a line must be a text`);
      await call({ kind: 'log', line });
    },
    async extend(duration) {
      await call({ kind: 'extend', forMs: parseDuration(duration, 'duration') });
    },
  };
}

function pageOf({ page }: CallResult): ChildPage {
  return page ?? { children: [], next: undefined };
}

function notHere(): never {
  throw new TypeError('Cannot prepare a message in an isolate');
}

/** Calls of a handler's context that the consumer has not answered yet. */
class Calls {
  readonly #say: Say;
  readonly #waiting = new Map<
    number,
    { readonly resolve: (result: CallResult) => void; readonly reject: (error: Error) => void }
  >();
  #next = 1;

  constructor(say: Say) {
    this.#say = say;
  }

  make(run: number, what: ContextCall): Promise<CallResult> {
    const call = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject });
      this.#say({ kind: 'call', run, call, what });
    });
  }

  answered(call: number, answer: CallAnswer): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (answer.refusal === undefined) return waiting?.resolve(answer.result);
    const { code, name, message } = answer.refusal;
    waiting?.reject(
      code === undefined ? Object.assign(new Error(message), { name }) : new HoldfastError(code, message),
    );
  }
}
