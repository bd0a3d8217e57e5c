/** The client of an instance, for doors that have commands of their own. */
import type { Client } from '../client/client.ts';

/** Where an instance keeps its client. */
export const CLIENT: unique symbol = Symbol('holdfast.client');

/** The client of an instance of this copy of the package; `undefined` for anything else. */
export function clientOf(value: unknown): Client | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return (value as { readonly [CLIENT]?: Client })[CLIENT];
}
