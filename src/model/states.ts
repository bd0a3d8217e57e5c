/** The states of a message and the one table of legal transitions. `docs/lifecycle.md` draws it. */

export const STATES = ['ready', 'delayed', 'leased', 'waiting', 'completed', 'dead', 'cancelled'] as const;

/**
 * - `ready`: can be claimed.
 * - `delayed`: waits for its time.
 * - `leased`: a consumer holds it.
 * - `waiting`: waits for other messages to end, or has been given up and waits for the commit that says so in KV.
 * - `completed`, `dead`, `cancelled`: ended, kept as long as the retention says.
 */
export type State = (typeof STATES)[number];

export type LiveState = 'ready' | 'delayed' | 'leased' | 'waiting';
export type EndedState = 'completed' | 'dead' | 'cancelled';

/**
 * What happens to messages; the journal and the events use the same words. Records name them by their places here, so a new
 * one stands behind all others.
 */
export const HAPPENINGS = [
  'produced',
  'due',
  'promoted',
  'unblocked',
  'postponed',
  'claimed',
  'acked',
  'nacked',
  'released',
  'leaseLost',
  'snoozed',
  'failed',
  'expired',
  'cancelled',
  'redriven',
  'replaced',
  'purged',
  'moved',
  'givenUp',
  'progress',
  'logged',
  'updated',
  'retried',
  'removed',
  'blocked',
] as const;

export type Happening = (typeof HAPPENINGS)[number];

/**
 * What happens to a channel as a whole. Records name them by their places here, too.
 *
 * - `paused`, `resumed`: somebody said so, and it was not so before.
 * - `cleared`: a purge has deleted all that it was to delete.
 * - `drained`: no message of it waits or runs any more.
 * - `configured`: its settings were changed.
 */
export const CHANNEL_HAPPENINGS = ['paused', 'resumed', 'cleared', 'drained', 'configured'] as const;

export type ChannelHappening = (typeof CHANNEL_HAPPENINGS)[number];

const TRANSITIONS: Readonly<Record<State, Partial<Record<Happening, State>>>> = {
  ready: {
    claimed: 'leased',
    updated: 'ready',
    postponed: 'delayed',
    replaced: 'cancelled',
    cancelled: 'cancelled',
    expired: 'dead',
    givenUp: 'waiting',
    blocked: 'waiting',
  },
  delayed: {
    due: 'ready',
    promoted: 'ready',
    updated: 'delayed',
    postponed: 'delayed',
    replaced: 'cancelled',
    cancelled: 'cancelled',
    expired: 'dead',
    givenUp: 'waiting',
    blocked: 'waiting',
  },
  leased: {
    acked: 'completed',
    nacked: 'delayed',
    released: 'ready',
    leaseLost: 'ready',
    snoozed: 'delayed',
    failed: 'dead',
    cancelled: 'cancelled',
    givenUp: 'waiting',
    blocked: 'waiting',
  },
  waiting: {
    unblocked: 'ready',
    postponed: 'delayed',
    updated: 'waiting',
    replaced: 'cancelled',
    cancelled: 'cancelled',
    expired: 'dead',
    failed: 'dead',
    givenUp: 'waiting',
  },
  completed: { retried: 'ready' },
  dead: { redriven: 'ready', retried: 'ready' },
  cancelled: { retried: 'ready' },
};

/** The state after `happening`, or `undefined` when the table does not allow it. */
export function nextState(state: State, happening: Happening): State | undefined {
  return TRANSITIONS[state][happening];
}
