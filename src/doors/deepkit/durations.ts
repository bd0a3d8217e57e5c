/** Durations as Deepkit's options have them: `'1s'`, `'5m'`, and in words, `'2 minutes'`, `'1 day'`. */
import { parseDuration } from '../../model/duration.ts';

const PATTERN = /^(\d*\.?\d+) *([a-z]+)?$/i;

/** How each unit may be written, and how long it is in milliseconds. */
const UNITS: readonly (readonly [name: RegExp, ms: number])[] = [
  [/^(?:ms|msecs?|milliseconds?)$/, 1],
  [/^(?:s|secs?|seconds?)$/, 1_000],
  [/^(?:m|mins?|minutes?)$/, 60_000],
  [/^(?:h|hrs?|hours?)$/, 3_600_000],
  [/^(?:d|days?)$/, 86_400_000],
  [/^(?:w|weeks?)$/, 7 * 86_400_000],
  [/^(?:y|yrs?|years?)$/, 365.25 * 86_400_000],
];

/** The duration in whole milliseconds. @throws TypeError, RangeError */
export function millisecondsOf(duration: string | number, name: string): number {
  if (typeof duration !== 'string') return parseDuration(duration, name);
  const [, amount, unit = 'ms'] = PATTERN.exec(duration.trim()) ?? [];
  const ms = UNITS.find(([names]) => names.test(unit.toLowerCase()))?.[1];
  if (amount === undefined || ms === undefined) {
    throw new TypeError(
      `Cannot read "${duration}" as "${name}": write a number and a unit, such as '1s' or '5 minutes'`,
    );
  }
  return parseDuration(Number(amount) * ms, name);
}
