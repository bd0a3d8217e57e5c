/** The store as an import needs it. */
import type { Holdfast } from '../../../api/holdfast.ts';
import { askQueue } from '../asking.ts';
import { connect } from '../connections.ts';
import type { ImportTarget } from './import.ts';

export function importTarget(hf: Holdfast): ImportTarget {
  const connection = connect(hf);
  return { call: (queue, method, args) => askQueue(connection, queue, method, args) };
}
