/** The numbers that `sum`, `min` and `max` work on, for whoever makes them. */
export { KvU64 } from '../../codec/kv-u64.ts';
