/** Trying again what met a conflict. */

/** So many tries follow each other at once; behind them pauses spread those who are in each other's way. */
const AT_ONCE = 10;
const LONGEST_PAUSE_MS = 64;

/** The pause before the next try, behind so many, in milliseconds. @param fraction a random number from 0 to 1 */
export function conflictPauseMs(tries: number, fraction: number): number {
  if (tries < AT_ONCE) return 0;
  return Math.min(2 ** (tries - AT_ONCE), LONGEST_PAUSE_MS) * fraction;
}
