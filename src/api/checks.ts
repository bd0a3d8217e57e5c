/** Checks of what a caller gives, in words that say what is allowed. */
import { isWellFormed } from '../codec/binary-types.ts';
import { MAX_DUE_AT, MAX_LABEL_CHARACTERS } from '../model/block.ts';

/** @throws TypeError, RangeError */
export function checkLabel(name: string, text: string): void {
  checkText(name, text, MAX_LABEL_CHARACTERS);
}

/** Checks a text of 1 to `most` characters. @throws TypeError, RangeError */
export function checkText(name: string, text: string, most: number): void {
  if (typeof text !== 'string') throw new TypeError(`Cannot use ${typeof text} as "${name}": it must be a text`);
  if (text.length === 0 || text.length > most || !isWellFormed(text)) {
    throw new RangeError(
      `Cannot use ${JSON.stringify(text.slice(0, 300))} as "${name}": it must have from 1 to ${most} characters, and no half of a surrogate pair`,
    );
  }
}

/** @throws TypeError, RangeError */
export function checkChannelName(name: string): void {
  if (typeof name !== 'string') throw new TypeError(`Cannot use ${typeof name} as a channel name: it must be a text`);
  if (name.length === 0 || name.length > 255) {
    throw new RangeError(`Cannot use a channel name of ${name.length} characters: it must have from 1 to 255`);
  }
  if (!isWellFormed(name)) {
    throw new RangeError(
      `Cannot use ${JSON.stringify(name)} as a channel name: half of a surrogate pair stands alone in it`,
    );
  }
}

/** @throws TypeError */
export function checkOptionsObject(options: object, what: string): void {
  if (typeof options === 'object' && options !== null) return;
  throw new TypeError(`Cannot use ${String(options)} as ${what} options: they must be an object`);
}

/** @throws TypeError */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new TypeError('Cannot use "signal": it must be an AbortSignal');
}

/** @throws TypeError naming the option that is unknown, and those that are known */
export function refuseUnknown(options: object, known: readonly string[], what: string): void {
  checkOptionsObject(options, what);
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new TypeError(`Cannot use "${unknown}" as an option of "${what}": known are ${known.join(', ')}`);
}

/** @throws RangeError */
export function wholeNumber(value: number, name: string, from: number, to: number): number {
  if (Number.isInteger(value) && value >= from && value <= to) return value;
  throw new RangeError(`Cannot use ${String(value)} as "${name}": it must be a whole number from ${from} to ${to}`);
}

export function oneOf<T extends string>(value: T, name: string, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw new TypeError(`Cannot use "${String(value)}" as "${name}": it must be one of ${allowed.join(', ')}`);
}

/** @throws TypeError */
export function resolveMoment(moment: Date | number | undefined, name: string): number | undefined {
  if (moment === undefined) return undefined;
  const isMoment = (typeof moment === 'number' || moment instanceof Date) && Math.abs(Number(moment)) <= MAX_DUE_AT;
  if (isMoment) return Number(moment);
  throw new TypeError(`Cannot use "${name}": it must be a valid Date or a time in epoch milliseconds`);
}
