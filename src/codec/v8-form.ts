/**
 * The bytes of V8's structured-clone form, for platforms whose `node:v8` has none. A value is a tag and what belongs to it;
 * multi-byte numbers are little endian, lengths and counts are unsigned integers of seven bits a byte. Every object has a
 * number, in the order in which objects begin, by which it is named when it comes again.
 *
 * The form is V8's, not ours: a tag is added here when a version of V8 has one, and {@link READ_VERSIONS} grows when what the
 * new version changed is read. {@link WRITTEN_VERSION} grows when no runtime that is supported reads only older ones.
 */

/** The first byte; the version follows it. */
export const HEADER = 0xff;

export const WRITTEN_VERSION = 15;

export const READ_VERSIONS = { min: 13, max: 16 } as const;

/** From this version on flags follow each view of bytes. */
export const FIRST_WITH_FLAGS = 14;

/** How deep a value may be: V8 reads so much with the stack that it has by default, and not twice as much. */
export const MAX_WRITTEN_DEPTH = 1_000;

/** What V8 itself writes with that stack is less deep. */
export const MAX_READ_DEPTH = 5_000;

/** What is thrown for a value that is too deep, in the words of V8. */
export function tooDeep(): RangeError {
  return new RangeError('Maximum call stack size exceeded');
}

/** As characters: `?-_0TFINZS"c^o{A$a@DyxnzsR;:',B~Vr\\`. */
export const TAG = {
  padding: 0,
  objectCount: 0x3f,
  hole: 0x2d,
  undefined: 0x5f,
  null: 0x30,
  true: 0x54,
  false: 0x46,
  int32: 0x49,
  uint32: 0x55,
  double: 0x4e,
  bigint: 0x5a,
  utf8: 0x53,
  oneByte: 0x22,
  twoByte: 0x63,
  reference: 0x5e,
  object: 0x6f,
  objectEnd: 0x7b,
  dense: 0x41,
  denseEnd: 0x24,
  sparse: 0x61,
  sparseEnd: 0x40,
  date: 0x44,
  trueObject: 0x79,
  falseObject: 0x78,
  numberObject: 0x6e,
  bigintObject: 0x7a,
  stringObject: 0x73,
  regExp: 0x52,
  map: 0x3b,
  mapEnd: 0x3a,
  set: 0x27,
  setEnd: 0x2c,
  buffer: 0x42,
  resizableBuffer: 0x7e,
  view: 0x56,
  error: 0x72,
  /** Before what a host of V8 writes in its own form. */
  hostObject: 0x5c,
} as const;

/** Parts of an error; anything else is its class. */
export const ERROR_TAG = { message: 0x6d, cause: 0x63, stack: 0x73, end: 0x2e } as const;

const ERRORS = [
  ['E', EvalError],
  ['R', RangeError],
  ['F', ReferenceError],
  ['S', SyntaxError],
  ['T', TypeError],
  ['U', URIError],
] as const;

/** Of the errors that are not an Error alone, by their name and by their tag. */
export const ERROR_TAGS: ReadonlyMap<string, number> = new Map(
  ERRORS.map(([text, { name }]) => [name, text.charCodeAt(0)]),
);
export const ERROR_CLASSES: ReadonlyMap<number, ErrorConstructor> = new Map(
  ERRORS.map(([text, constructor]) => [text.charCodeAt(0), constructor]),
);

/** Makes a view of a buffer; without a length it follows the buffer's. */
export interface ViewClass {
  new (buffer: ArrayBuffer, offset: number, length?: number): ArrayBufferView;
  readonly name: string;
  readonly BYTES_PER_ELEMENT?: number;
}

const VIEWS: readonly (readonly [string, ViewClass | undefined])[] = [
  ['b', Int8Array],
  ['B', Uint8Array],
  ['C', Uint8ClampedArray],
  ['w', Int16Array],
  ['W', Uint16Array],
  ['d', Int32Array],
  ['D', Uint32Array],
  // Node has had it since version 24.
  ['h', (globalThis as { Float16Array?: ViewClass }).Float16Array],
  ['f', Float32Array],
  ['F', Float64Array],
  ['q', BigInt64Array],
  ['Q', BigUint64Array],
  ['?', DataView],
];

export const VIEW_CLASSES: ReadonlyMap<number, ViewClass | undefined> = new Map(
  VIEWS.map(([text, constructor]) => [text.charCodeAt(0), constructor]),
);
export const VIEW_TAGS: ReadonlyMap<string, number> = new Map(
  VIEWS.flatMap(([text, constructor]) => (constructor === undefined ? [] : [[constructor.name, text.charCodeAt(0)]])),
);

/** A view that follows the length of its buffer, and one whose buffer can be resized. */
export const VIEW_FLAG = { followsLength: 1, isResizable: 2 } as const;

/** The flags of a RegExp that have a bit each, the lowest first. Where a letter is missing V8 has a flag of its own. */
export const REG_EXP_FLAGS = 'gimyus-dv';
