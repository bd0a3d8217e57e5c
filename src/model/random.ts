/** Randomness, captured once; see `clock.ts` for why. */
import { randomFillSync } from 'node:crypto';

export interface Random {
  /** A number from 0 (included) to 1 (excluded). */
  fraction(): number;
  /** Fills `target` with random bytes and returns it. */
  fill(target: Uint8Array): Uint8Array;
}

const POOL_BYTES = 8_192;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/** Cryptographically strong random values; small requests share one system call. */
export const systemRandom: Random = {
  fraction() {
    const bytes = systemRandom.fill(new Uint8Array(4));
    return new DataView(bytes.buffer).getUint32(0) / 2 ** 32;
  },
  fill(target) {
    if (target.length > POOL_BYTES) return randomFillSync(target);
    if (used + target.length > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    target.set(pool.subarray(used, used + target.length));
    pool.fill(0, used, used + target.length);
    used += target.length;
    return target;
  },
};

/**
 * A seeded generator for tests and the simulator: the same seed gives the same values.
 * Algorithm: mulberry32 by Tommy Ettinger (public domain).
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return {
    fraction: () => next() / 2 ** 32,
    fill(target) {
      for (let i = 0; i < target.length; i++) target[i] = next() & 0xff;
      return target;
    },
  };
}
