/** What a consumer and its isolates say to each other: plain data, payloads as BSON. */
import type { Failure } from '../model/failure.ts';
import type { ErrorCode } from '../model/errors.ts';
import type { ChildPage } from '../model/flow-views.ts';
import type { KvMutation, KvRecord } from '../model/kv.ts';
import type { FlowNodeOptions } from './flow-nodes.ts';
import type { HandlerContext } from './handler-context.ts';
import type { ProduceOptions } from './options.ts';
import type { HandlerOutcome } from './outcomes.ts';

/** What a handler is told beside its message. */
export type AttemptFacts = Pick<
  HandlerContext,
  'id' | 'channel' | 'attempt' | 'token' | 'redelivered' | 'producedAt' | 'schedule'
>;

export interface LoadOrder {
  readonly kind: 'load';
  /** The address of the module. */
  readonly module: string;
  readonly parentPid: number;
  /** What a process may have in use, all in all; the bound of a thread is its parent's matter. */
  readonly memoryBytes: number | undefined;
}

export type ToIsolate =
  | LoadOrder
  | { readonly kind: 'run'; readonly run: number; readonly message: Uint8Array; readonly facts: AttemptFacts }
  | { readonly kind: 'stop'; readonly run: number; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'answer'; readonly call: number; readonly answer: CallAnswer };

/** Why a call of a handler's context was refused. */
export interface Refusal extends Failure {
  readonly code: ErrorCode | undefined;
}

export type FromIsolate =
  | { readonly kind: 'loaded' }
  | { readonly kind: 'unloadable'; readonly failure: Failure }
  | { readonly kind: 'call'; readonly run: number; readonly call: number; readonly what: ContextCall }
  | { readonly kind: 'ended'; readonly run: number; readonly end: HandlerEnd };

export type ContextCall =
  | { readonly kind: 'progress'; readonly value: Uint8Array }
  | { readonly kind: 'log'; readonly line: string }
  | { readonly kind: 'extend'; readonly forMs: number }
  /** Reads a page of the message's children. */
  | { readonly kind: 'children'; readonly offset: number }
  /** Reads an entry of KV for the transaction. */
  | { readonly kind: 'get'; readonly key: Uint8Array };

/** What came of a call: the entry of a `get`, the page of `children`. */
export interface CallResult {
  readonly record?: KvRecord | undefined;
  readonly page?: ChildPage;
}

export type CallAnswer = { readonly refusal: Refusal } | { readonly refusal: undefined; readonly result: CallResult };

/** How a handler ended. */
export type HandlerEnd =
  | {
      readonly kind: 'returned';
      /** Encoded; `undefined` when nothing was returned. */
      readonly result: Uint8Array | undefined;
      readonly produced: readonly ProducedByName[];
      readonly mutations: readonly KvMutation[];
    }
  | {
      /** It waits for its children. */
      readonly kind: 'waits';
      readonly children: readonly ChildByName[];
      readonly produced: readonly ProducedByName[];
      readonly mutations: readonly KvMutation[];
    }
  | { readonly kind: 'outcome'; readonly outcome: Pick<HandlerOutcome, 'kind' | 'delayMs' | 'reason'> }
  | { readonly kind: 'threw'; readonly failure: Failure };

export interface ChildByName extends Omit<ProducedByName, 'options'> {
  readonly options: FlowNodeOptions;
}

export interface ProducedByName {
  readonly channel: string;
  readonly message: Uint8Array;
  readonly options: ProduceOptions | undefined;
}
