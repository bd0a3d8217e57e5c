/** The numbers and names of the stored form, shared by its writer and its reader. The form itself is told in `bson.ts`. */

// The types of BSON elements that are written and read. Every other type is refused.
export const DOUBLE = 0x01;
export const STRING = 0x02;
export const DOCUMENT = 0x03;
export const ARRAY = 0x04;
export const BINARY = 0x05;
export const UNDEFINED = 0x06;
export const BOOLEAN = 0x08;
export const DATE = 0x09;
export const NULL = 0x0a;
export const INT32 = 0x10;
export const INT64 = 0x12;

/** A document whose first key starts with this prefix is one tagged value, never an object with that key. */
export const TAG_PREFIX = '$hf:';
/** Tags an array of the keys and values of a Map, by turns. */
export const MAP_TAG = '$hf:map';
/** Tags an array of the items of a Set. */
export const SET_TAG = '$hf:set';
/** Tags an object whose own first key starts with {@link TAG_PREFIX}, so that such keys are data like all others. */
export const OBJECT_TAG = '$hf:object';
/** Tags a root that BSON cannot have: everything but an object, a Map and a Set. */
export const ROOT_TAG = '$hf:root';

// Subtypes of BSON binaries. BSON itself defines 0 and leaves those from 0x80 up to applications.
export const BYTES = 0x00;
export const BIGINT = 0x80;
export const UTF16_TEXT = 0x81;
export const ARRAY_BUFFER = 0x82;
export const DATA_VIEW = 0x83;
export const INT8_ARRAY = 0x84;
export const UINT8_CLAMPED_ARRAY = 0x85;
export const INT16_ARRAY = 0x86;
export const UINT16_ARRAY = 0x87;
export const INT32_ARRAY = 0x88;
export const UINT32_ARRAY = 0x89;
export const FLOAT32_ARRAY = 0x8a;
export const FLOAT64_ARRAY = 0x8b;
export const BIGINT64_ARRAY = 0x8c;
export const BIGUINT64_ARRAY = 0x8d;

/**
 * The most numbers and bigints that the Maps of a message have as keys and its Sets as items, together. V8 hashes them
 * without a secret, so that bytes can be made of which each one collides with all before it. The time grows with the
 * square: this many take less than a second, but as many as fit into 4 MiB take minutes.
 */
export const MOST_HASHED_NUMBERS = 10_000;

/** The last millisecond that a Date can hold, and negated the first one (ECMA-262, time values). */
export const LAST_DATE_MS = 8_640_000_000_000_000;
