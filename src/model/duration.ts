/** A span of time: milliseconds, or a number with a unit: `'250ms'`, `'1s'`, `'1.5m'`, `'2h'`, `'3d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** The longest duration, a hundred years of 365 days, in milliseconds. */
export const MAX_DURATION_MS: number = 100 * 365 * 86_400_000;

/**
 * Gives a duration in whole milliseconds, rounded up.
 *
 * @throws TypeError when it is neither a number nor a number with a unit.
 * @throws RangeError when it is negative, not finite, or above {@link MAX_DURATION_MS}.
 */
export function parseDuration(duration: Duration, name: string): number {
  const ms = typeof duration === 'string' ? parseText(duration, name) : duration;
  if (typeof ms !== 'number') {
    throw new TypeError(
      `Cannot use ${typeof ms} as "${name}": give milliseconds or a text such as '1s', '5m', '2h', '3d'`,
    );
  }
  if (!(ms >= 0 && ms <= MAX_DURATION_MS)) {
    throw new RangeError(`Cannot use ${ms} as "${name}": it must be from 0 to ${MAX_DURATION_MS} milliseconds`);
  }
  return Math.ceil(ms);
}

function parseText(text: string, name: string): number {
  const match = PATTERN.exec(text);
  if (match === null) {
    throw new TypeError(`Cannot read "${text}" as "${name}": write a number and one of ms, s, m, h, d, such as '1.5h'`);
  }
  return Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
}
