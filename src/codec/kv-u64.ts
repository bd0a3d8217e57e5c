/** An unsigned 64-bit integer as a value of KV. */

const MAX_U64: bigint = 2n ** 64n - 1n;

/** A value that `sum`, `min` and `max` work on; a sum goes on from 0 behind the largest. Frozen. */
export class KvU64 {
  readonly value: bigint;

  /** @throws TypeError for what is no bigint, RangeError for one that does not fit */
  constructor(value: bigint) {
    if (typeof value !== 'bigint') throw new TypeError(`Value must be a bigint: received ${typeof value}`);
    if (value < 0n) throw new RangeError(`Value must be a positive bigint: received ${value}`);
    if (value > MAX_U64) throw new RangeError('Value must fit in a 64-bit unsigned integer');
    this.value = value;
    Object.freeze(this);
  }
}

// Not in the class, whose type is to be that of Deno, which does not name them.
Object.defineProperties(KvU64.prototype, {
  valueOf: {
    value: function valueOf(this: KvU64): bigint {
      return this.value;
    },
  },
  toString: {
    value: function toString(this: KvU64): string {
      return this.value.toString();
    },
  },
  [Symbol.toStringTag]: { value: 'Deno.KvU64' },
  [Symbol.for('nodejs.util.inspect.custom')]: { value: shown },
  [Symbol.for('Deno.privateCustomInspect')]: { value: shown },
});

function shown(this: KvU64): string {
  return `[Deno.KvU64: ${this.value}n]`;
}
