/**
 * Recurrence: the times at which something comes again, as a pure function of its rule. Times are in epoch milliseconds.
 *
 * Cron patterns are read by croner, whose rule for the changes of a time zone's offset is ours:
 *
 * - A pattern that names one time of the day (`30 2 * * *`) comes once on every day that it names. Where the clocks are set
 *   forward over that time it comes at the first moment behind the gap; where it comes twice, at the first of both.
 * - Every other pattern (such as one for each quarter of an hour) comes at every moment whose local time fits: not in a gap, and twice where the clocks
 *   show the same times twice.
 */
import { createRequire } from 'node:module';
import type * as Croner from 'croner';

export type Recurrence =
  | {
      /** Five fields, from minute to day of the week; six with seconds in front; seven with the year behind. Or `@daily` and the like. */
      readonly cron: string;
      /** A name of the IANA database. */
      readonly timeZone: string;
    }
  | {
      /** How far apart the times are. */
      readonly everyMs: number;
      /** One of them. */
      readonly anchorAt: number;
    };

/** The shortest distance of times that are so far apart, in milliseconds. */
export const MIN_EVERY_MS = 1;

export const MAX_CRON_CHARACTERS = 255;
const MAX_TIME_ZONE_CHARACTERS = 64;

/** The first time after this one; `undefined` when there is none. */
export function nextTime(recurrence: Recurrence, after: number): number | undefined {
  if ('cron' in recurrence)
    return cronOf(recurrence)
      .nextRun(new Date(Math.floor(after)))
      ?.getTime();
  const { everyMs, anchorAt } = recurrence;
  return anchorAt + (Math.floor((after - anchorAt) / everyMs) + 1) * everyMs;
}

/** The last of the times from `from`, which is one of them, up to `upTo`. */
export function latestTime(recurrence: Recurrence, from: number, upTo: number): number {
  if (upTo <= from) return from;
  if ('everyMs' in recurrence) return (nextTime(recurrence, upTo) as number) - recurrence.everyMs;
  // What follows a moment follows all moments up to it as well, so the last one is found by halving.
  let latest = from;
  let [low, high] = [from / CRON_STEP_MS, Math.floor(upTo / CRON_STEP_MS)];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const next = nextTime(recurrence, middle * CRON_STEP_MS) ?? Infinity;
    if (next > upTo) high = middle;
    else {
      latest = next;
      low = next / CRON_STEP_MS;
    }
  }
  return latest;
}

/** Cron patterns name whole seconds. */
const CRON_STEP_MS = 1_000;

/**
 * Checks what a user has written.
 *
 * @throws TypeError, RangeError that says what is wrong and what is allowed
 */
export function checkCron(cron: string, timeZone: string): void {
  checkText(cron, 'cron', MAX_CRON_CHARACTERS);
  checkText(timeZone, 'timeZone', MAX_TIME_ZONE_CHARACTERS);
  if (!isTimeZone(timeZone)) {
    throw new RangeError(
      `Cannot use "${timeZone}" as "timeZone": it must be a name of the IANA time zone database, such as "Europe/Berlin" or "UTC"`,
    );
  }
  const fields = cron.trim().split(/\s+/).length;
  // croner takes a date too, for something that happens once.
  if (!cron.trim().startsWith('@') && (fields < 5 || fields > 7)) {
    throw new RangeError(`Cannot use "${cron}" as "cron": it has ${fields} fields; ${ALLOWED}`);
  }
  let parsed: Croner.Cron;
  try {
    parsed = cronOf({ cron, timeZone });
  } catch (error) {
    const reason = (error as Error).message.replace('CronPattern: ', '').replace(/\.$/, '');
    throw new RangeError(`Cannot use "${cron}" as "cron": ${reason}; ${ALLOWED}`, { cause: error });
  }
  if (parsed.nextRun(new Date(0)) === null) {
    throw new RangeError(`Cannot use "${cron}" as "cron": no day of any year fits it; ${ALLOWED}`);
  }
}

const ALLOWED =
  'write five fields (minute, hour, day, month, weekday), six with the second in front, seven with the year behind, or @hourly, @daily, @weekly, @monthly, @yearly';

function checkText(text: string, name: string, most: number): void {
  if (typeof text !== 'string') throw new TypeError(`Cannot use ${typeof text} as "${name}": it must be a text`);
  if (text.length > most) {
    throw new RangeError(`Cannot use ${text.length} characters as "${name}": it must have at most ${most}`);
  }
}

/** Offsets such as `+01:00` are no time zones: only newer engines know them, and they know no daylight saving. */
function isTimeZone(name: string): boolean {
  if (timeZones.has(name)) return true;
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
  } catch {
    return false;
  }
  if (timeZones.size < MAX_TIME_ZONES) timeZones.add(name);
  return true;
}

/** Names that were found to be good: to ask for one takes longer than all else. There are about 600, in any case of letters. */
const MAX_TIME_ZONES = 1_000;
const timeZones = new Set<string>();

/** The patterns that were used last: reading one takes longer than finding its next time, and each takes 80 KB. */
const MAX_PATTERNS = 32;
const patterns = new Map<string, Croner.Cron>();

/** Read with the first pattern: most programs have none, and some platforms find packages only when they are asked for. */
let croner: typeof Croner | undefined;

function cronOf({ cron, timeZone }: Extract<Recurrence, { readonly cron: string }>): Croner.Cron {
  const name = `${timeZone}\0${cron}`;
  let found = patterns.get(name);
  if (found === undefined) {
    croner ??= createRequire(import.meta.url)('croner') as typeof Croner;
    found = new croner.Cron(cron, { timezone: timeZone, paused: true });
    const [oldest] = patterns.keys();
    if (patterns.size >= MAX_PATTERNS && oldest !== undefined) patterns.delete(oldest);
  } else {
    patterns.delete(name);
  }
  patterns.set(name, found);
  return found;
}
