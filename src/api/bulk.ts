/** Bulks: something that the broker does to all messages that a filter holds for, whatever becomes of whoever asked. */
import type { Client } from '../client/client.ts';
import { refusal } from '../client/outbox.ts';
import { BULK_ACTIONS, BULK_STATES, type BulkAction } from '../model/filter.ts';
import type { BulkView } from '../model/life.ts';
import { HoldfastError } from '../model/errors.ts';
import {
  cancelFields,
  type CancelOptions,
  changeFields,
  type ChangeOptions,
  requireChange,
  retryFields,
  type RetryOptions,
} from './life.ts';
import { checkSignal, oneOf, refuseUnknown, wholeNumber } from './checks.ts';
import { filterOf, type FilterOptions } from './search.ts';
import { ask } from './stored.ts';
import { unlessAborted } from './waiting.ts';

/** What a bulk is told beside its filter: what the same action on one message takes. */
export type BulkOptions<Action extends BulkAction = BulkAction> = {
  /** After so many messages, those that come first, it ends. @default as many as there are */
  readonly limit?: number;
} & (Action extends 'cancel'
  ? Omit<CancelOptions, 'children'>
  : Action extends 'retry'
    ? RetryOptions
    : Action extends 'update'
      ? ChangeOptions
      : unknown);

/** A bulk that was begun. It goes on without this, and `admin.bulk(id)` finds it again. */
export interface Bulk {
  readonly id: number;
  /** How far it is. @throws HoldfastError `NOT_FOUND` when a hundred others have ended since it did */
  progress(): Promise<BulkView>;
  /** Ends it where it stands; what it has done stays. */
  stop(): Promise<void>;
  /** Resolves when it has ended. @throws the signal's reason when it fires; HoldfastError `CLOSED` */
  done(options?: { readonly signal?: AbortSignal }): Promise<BulkView>;
}

/** @throws TypeError, RangeError for an action, a filter or options that cannot be used */
export async function startBulk<Action extends BulkAction>(
  client: Client,
  channel: string,
  action: Action,
  filter: FilterOptions,
  options: BulkOptions<Action>,
): Promise<Bulk> {
  oneOf(action, 'action', BULK_ACTIONS);
  const states = BULK_STATES[action];
  const checked = filterOf(filter, states, 'bulk');
  if (action === 'remove' && filter.state === undefined) {
    throw new TypeError(`Cannot remove messages of any state: say with "state" of which of ${states.join(', ')}`);
  }
  const { limit } = options;
  const command = {
    kind: 'bulk',
    channel,
    action,
    filter: checked,
    limit: limit === undefined ? undefined : wholeNumber(limit, 'limit', 1, 2 ** 40),
    ...fieldsOf(action, options),
  } as const;
  return bulkOf(client, Number(await ask(client, command)));
}

/** Bulks that run, and the last ones that have ended, the oldest first. */
export async function listBulks(client: Client, channel: string | undefined): Promise<BulkView[]> {
  return (await ask(client, { kind: 'inspect', what: 'bulks', bulk: undefined, channel, tell: false })) as BulkView[];
}

/** @throws TypeError, RangeError for what is no number of a bulk */
export function bulkOf(client: Client, id: number): Bulk {
  wholeNumber(id, 'id', 1, Number.MAX_SAFE_INTEGER);
  const look = async (tell: boolean): Promise<BulkView> => {
    const reply = await client.request({ kind: 'inspect', what: 'bulks', bulk: id, channel: undefined, tell });
    if (reply.kind !== 'value') throw refusal(reply);
    const [view] = reply.value as BulkView[];
    if (view === undefined) throw new HoldfastError('NOT_FOUND', `No bulk has the number ${id} any more`);
    return view;
  };
  return {
    id,
    progress: () => look(false),
    async stop() {
      await ask(client, { kind: 'stopBulk', bulk: id });
    },
    async done(options = {}) {
      refuseUnknown(options, ['signal'], 'done');
      const { signal } = options;
      checkSignal(signal);
      for (;;) {
        signal?.throwIfAborted();
        const { ended, stop } = client.waits.bulkEnd(id);
        try {
          const view = await look(true);
          if (view.state !== 'running') return view;
          await unlessAborted(ended, stop, signal);
        } finally {
          stop();
        }
      }
    },
  };
}

function fieldsOf(action: BulkAction, options: BulkOptions): object {
  switch (action) {
    case 'cancel':
      return cancelFields(options as CancelOptions, ['limit']);
    case 'retry':
      return retryFields(options as RetryOptions, ['limit']);
    case 'update':
      requireChange(options);
      return changeFields(options as ChangeOptions, ['limit']);
    case 'promote':
    case 'remove':
      refuseUnknown(options, ['limit'], action);
      return {};
  }
}
