/** Schedules. */
import { type Invariant, stateless } from './invariant.ts';

export const SCHEDULES: readonly Invariant[] = [
  stateless(
    'S15',
    'Ticks: each comes exactly once and in its time, with its record, and none is missing that is to come',
    (_record, { schedules }) => schedules.problem,
  ),
];
