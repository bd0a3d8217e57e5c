/**
 * How keys and records come out of the `lmdb` package: copied once, out of its own buffer. Small ones share
 * slabs, as those of `Buffer.from` do, because a new ArrayBuffer for each takes longer than reading it.
 */

const SLAB_BYTES = 8_192;
/** A longer piece gets memory of its own, so that it pins nothing else. */
const SHARED_BYTES = 1_024;

let slab = new ArrayBuffer(SLAB_BYTES);
let slabUsed = 0;

/** The `keyEncoder` of the package: keys are bytes, ordered as they are. */
export const keyCodec = {
  writeKey(key: Uint8Array, target: Uint8Array, start: number): number {
    target.set(key, start);
    return start + key.length;
  },
  readKey(source: Buffer, start: number, end: number): Uint8Array {
    return copyOut(source, start, end);
  },
};

/** The `encoder` of the package: values are bytes. */
export const valueCodec = {
  encode(value: Uint8Array): Uint8Array {
    return value;
  },
  /** The package sets the length of its own buffer to that of the value. */
  decode(source: Buffer): Uint8Array {
    return copyOut(source, 0, source.length);
  },
};

function copyOut(source: Buffer, start: number, end: number): Uint8Array {
  const copy = allocate(end - start);
  // The length that the package has set misleads `copy` and `subarray`.
  copy.set(new Uint8Array(source.buffer, source.byteOffset + start, end - start));
  return copy;
}

function allocate(length: number): Uint8Array {
  if (length > SHARED_BYTES) return new Uint8Array(length);
  if (slabUsed + length > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES);
    slabUsed = 0;
  }
  const piece = new Uint8Array(slab, slabUsed, length);
  slabUsed += length;
  return piece;
}
