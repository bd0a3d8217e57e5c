/** The messages of a torture run; everything about one follows from its number, so that any change is seen. */
import type { ProduceOptions } from 'holdfast';

export interface Work {
  readonly number: number;
  readonly body: Uint8Array;
}

/** What the handler of a message produces with its ack. */
export interface Effect {
  readonly number: number;
}

/** Now and then one is so large that the store puts it in pages of its own. */
const LARGE_BODY_BYTES = 9_000;

export function bodyOf(number: number): Uint8Array {
  const length = number % 29 === 7 ? LARGE_BODY_BYTES + number : (number * 7) % 300;
  const body = new Uint8Array(length);
  for (let i = 0; i < length; i++) body[i] = (number * 31 + i * 7) & 0xff;
  return body;
}

export function isIntact({ number, body }: Work): boolean {
  return Buffer.compare(body, bodyOf(number)) === 0;
}

/** Accounts between which handlers move money. All are empty at first, and may be overdrawn. */
export const ACCOUNTS = 20;

export interface Transfer {
  readonly from: number;
  readonly to: number;
  readonly amount: number;
}

/** What the handler of a message moves with its ack. */
export function transferOf(number: number): Transfer {
  const from = number % ACCOUNTS;
  return { from, to: (from + 1 + (number % (ACCOUNTS - 1))) % ACCOUNTS, amount: 1 + (number % 97) };
}

/** Whether a message is produced by a transaction that counts it. */
export function isCounted(number: number): boolean {
  return number % 7 === 3;
}

export function resultOf(number: number): number {
  return number * 2 + 1;
}

export function optionsOf(number: number): ProduceOptions | undefined {
  switch (number % 5) {
    case 1:
      return { delay: 1 + (number % 200) };
    case 2:
      return { priority: (number % 7) - 3 };
    case 3:
      return { lifo: true };
    default:
      return undefined;
  }
}
