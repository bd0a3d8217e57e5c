/** Scopes: what a handler needs for one run, opened before it and disposed of behind it. Containers of any kind come in here. */
import { describe, NotedError } from './failure.ts';
import { HandlerOutcome } from './outcomes.ts';

/** Opens a scope, for what the handler is given and its context. */
export type OpenScope<Given, Context, Scope> = (given: Given, context: Context) => Scope | Promise<Scope>;

/** The context of a handler that runs in a scope. */
export type WithScope<Context, Scope> = Context & {
  /** What the option `scope` has given for this run. */
  readonly scope: Scope;
};

type Handler<Given, Context, Returned> = (given: Given, context: Context) => Returned | Promise<Returned>;

/** A scope could not be disposed of: the attempt has failed, of what the handler threw if it did. */
export class UndisposedError extends NotedError {}

/** A handler of one message that runs in a scope of its own each time. */
export function scoped<Given, Context extends { readonly signal: AbortSignal }, Scope, Returned>(
  open: OpenScope<Given, Context, Scope>,
  handler: Handler<Given, WithScope<Context, Scope>, Returned>,
): Handler<Given, Context, Returned | HandlerOutcome> {
  checkScope(open);
  return runIn(open, handler, (returned, note) => {
    if (!(returned instanceof HandlerOutcome)) return undefined;
    const { kind, delayMs, reason } = returned;
    // It said itself that the attempt has failed, and how to go on.
    return kind === 'retry' || kind === 'deadLetter'
      ? new HandlerOutcome(kind, delayMs, `${reason} (${note})`)
      : undefined;
  });
}

/** A handler of a batch that runs in a scope of its own each time. */
export function scopedBatch<Given, Context extends { readonly signal: AbortSignal }, Scope, Returned>(
  open: OpenScope<Given, Context, Scope>,
  handler: Handler<Given, WithScope<Context, Scope>, Returned>,
): Handler<Given, Context, Returned> {
  checkScope(open);
  return runIn<Given, Context, Scope, Returned, never>(open, handler, () => undefined);
}

/** @throws TypeError for what opens no scope */
function checkScope(open: unknown): void {
  if (typeof open !== 'function') {
    throw new TypeError(`Cannot use ${typeof open} as "scope": it must be a function that opens a scope`);
  }
}

/** @param standing what of that which was returned stands all the same when the scope cannot be disposed of */
function runIn<Given, Context extends { readonly signal: AbortSignal }, Scope, Returned, Standing>(
  open: OpenScope<Given, Context, Scope>,
  handler: Handler<Given, WithScope<Context, Scope>, Returned>,
  standing: (returned: Returned, note: string) => Standing | undefined,
): (given: Given, context: Context) => Promise<Returned | Standing> {
  return async (given, context) => {
    const scope = await open(given, context);
    let returned: Returned;
    try {
      // Whoever stopped it meanwhile has not waited for a handler to begin.
      context.signal.throwIfAborted();
      returned = await handler(given, Object.assign(context, { scope }));
    } catch (error) {
      await disposeOf(scope, (failed) => {
        throw new UndisposedError(error, noteOn(failed));
      });
      throw error;
    }
    return (
      (await disposeOf(scope, (failed) => {
        const left = standing(returned, noteOn(failed));
        if (left === undefined) throw new UndisposedError(failed, 'when its scope was disposed of');
        return left;
      })) ?? returned
    );
  };
}

function noteOn(error: unknown): string {
  return `and its scope could not be disposed of: ${describe(error instanceof Error ? error.message : error)}`;
}

async function disposeOf<Left>(scope: unknown, failed: (error: unknown) => Left): Promise<Left | undefined> {
  try {
    await dispose(scope);
    return undefined;
  } catch (error) {
    return failed(error);
  }
}

/** Explicit resource management comes first; containers that are older have a method of this name. */
export function dispose(scope: unknown): unknown {
  if ((typeof scope !== 'object' && typeof scope !== 'function') || scope === null) return undefined;
  const own = scope as { [Symbol.asyncDispose]?: unknown; [Symbol.dispose]?: unknown; dispose?: unknown };
  const found = [own[Symbol.asyncDispose], own[Symbol.dispose]].find((one) => typeof one === 'function') ?? own.dispose;
  return typeof found === 'function' ? (found as () => unknown).call(scope) : undefined;
}
