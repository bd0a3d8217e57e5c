import { describe, expect, test } from 'vitest';
import { type Happening, HAPPENINGS, nextState, type State, STATES } from '#holdfast/model/states.js';

/** Every legal transition, written out a second time: a change of the lifecycle has to be made in both places. */
const LEGAL: readonly (readonly [from: State, happening: Happening, to: State])[] = [
  ['ready', 'claimed', 'leased'],
  ['ready', 'replaced', 'cancelled'],
  ['ready', 'cancelled', 'cancelled'],
  ['ready', 'expired', 'dead'],
  ['delayed', 'due', 'ready'],
  ['delayed', 'promoted', 'ready'],
  ['delayed', 'replaced', 'cancelled'],
  ['delayed', 'cancelled', 'cancelled'],
  ['delayed', 'expired', 'dead'],
  ['leased', 'acked', 'completed'],
  ['leased', 'nacked', 'delayed'],
  ['leased', 'released', 'ready'],
  ['leased', 'leaseLost', 'ready'],
  ['leased', 'snoozed', 'delayed'],
  ['leased', 'failed', 'dead'],
  ['leased', 'cancelled', 'cancelled'],
  ['waiting', 'unblocked', 'ready'],
  ['waiting', 'postponed', 'delayed'],
  ['waiting', 'replaced', 'cancelled'],
  ['waiting', 'cancelled', 'cancelled'],
  ['waiting', 'expired', 'dead'],
  ['waiting', 'failed', 'dead'],
  ['ready', 'givenUp', 'waiting'],
  ['delayed', 'givenUp', 'waiting'],
  ['leased', 'givenUp', 'waiting'],
  ['waiting', 'givenUp', 'waiting'],
  ['ready', 'blocked', 'waiting'],
  ['delayed', 'blocked', 'waiting'],
  ['leased', 'blocked', 'waiting'],
  ['dead', 'redriven', 'ready'],
  ['completed', 'retried', 'ready'],
  ['dead', 'retried', 'ready'],
  ['cancelled', 'retried', 'ready'],
  ['ready', 'updated', 'ready'],
  ['ready', 'postponed', 'delayed'],
  ['delayed', 'updated', 'delayed'],
  ['delayed', 'postponed', 'delayed'],
  ['waiting', 'updated', 'waiting'],
];

describe('nextState()', () => {
  for (const from of STATES) {
    for (const happening of HAPPENINGS) {
      const to = LEGAL.find(([state, what]) => state === from && what === happening)?.[2];
      test(`${to === undefined ? 'refuses' : 'allows'} "${happening}" of a message that is ${from}`, () => {
        expect(nextState(from, happening)).toBe(to);
      });
    }
  }
});
