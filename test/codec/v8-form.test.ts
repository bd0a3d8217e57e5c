import { deserialize, Deserializer, Serializer } from 'node:v8';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readV8Form } from '#holdfast/codec/v8-reader.js';
import { writeHostObject, writeV8Form } from '#holdfast/codec/v8-writer.js';

class PlainSerializer extends Serializer {
  /** V8 makes its errors with this. */
  _getDataCloneError: typeof Error = TypeError;
}

/** What V8 itself writes, with typed arrays in its own form. */
function byV8(value: unknown): Buffer {
  const serializer = new PlainSerializer();
  serializer.writeHeader();
  serializer.writeValue(value);
  return serializer.releaseBuffer();
}

function readByV8(bytes: Uint8Array): unknown {
  const deserializer = new Deserializer(Buffer.from(bytes));
  deserializer.readHeader();
  return deserializer.readValue();
}

const noHost = (): never => {
  throw new TypeError('There is no host');
};
const read = (bytes: Uint8Array): unknown => readV8Form(bytes, noHost);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const form = (text: string): Uint8Array => Buffer.from(text, 'latin1');

/** What a call throws. */
function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

function errorOf(error: Error, fields: object): Error {
  return Object.assign(error, { stack: 'the stack' }, fields);
}

const cyclic: Record<string, unknown> = { a: [1] };
cyclic['self'] = cyclic;
cyclic['map'] = new Map<unknown, unknown>([[cyclic, new Set([cyclic, cyclic['a']])]]);

const buffer = Uint8Array.from({ length: 24 }, (_, index) => index * 7).buffer;
const onView = new Uint8Array(buffer);
const causedByItself = errorOf(new Error('x', { cause: 5 }), {});
causedByItself.cause = [causedByItself];

/** Values of which V8's bytes are known to be ours, one for one. */
const SAME_BYTES: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['booleans', [true, false]],
  ['small integers', [0, 1, -1, 63, 64, -64, -65, 2 ** 29]],
  ['other numbers', [0.5, -0, Number.NaN, Infinity, -Infinity, 2 ** 31, -(2 ** 31) - 1, 5e-324, 2 ** 53]],
  ['bigints', [0n, 1n, -1n, 2n ** 63n, -(2n ** 64n), 2n ** 64n - 1n, 3n ** 200n]],
  ['texts', ['', 'a', 'é\xff', '\u0100', '😀', '\ud800', 'x\u1234', '\0', 'é'.repeat(200), '\u4e00'.repeat(200)]],
  ['two-byte texts at any place', { a: '\u1234', bb: '\u1234', ccc: ['\u1234', 'x', '\u1234'] }],
  ['a Date', [new Date(5), new Date(Number.NaN), new Date(-1.5e12)]],
  ['boxed primitives', ['new', Object('s'), Object('\u1234'), Object(5), Object(true), Object(false), Object(-5n)]],
  ['RegExps', [/a/, /\u1234/dgimsuy, /(?:)/, new RegExp('[a]', 'v'), /x/i]],
  ['an Error', errorOf(new Error('text'), {})],
  [
    'errors of each class',
    [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((each) => errorOf(new each('x'), {})),
  ],
  ['an Error of a name', errorOf(new Error('x'), { name: 'RangeError' })],
  ['an Error of an unknown name', errorOf(new Error('x'), { name: 'MyError', code: 5 })],
  ['an Error without a message', errorOf(new Error(), {})],
  ['an Error whose message is none', errorOf(new Error('x'), { message: 5 })],
  ['an Error with a cause', errorOf(new Error('x', { cause: { a: errorOf(new TypeError('y'), {}) } }), {})],
  ['arrays', [[], [1], [[]], [undefined, null]]],
  // oxlint-disable-next-line no-sparse-arrays -- holes are what this is about
  ['holes', [[1, , 3], [, ,], Object.assign([], { length: 5 })]],
  ['fields of an array', Object.assign([1, 2], { x: 1 })],
  ['fields of an array with holes', Object.assign([] as unknown[], { length: 3, 1: 'b', x: 1 })],
  ['objects', { a: 1, b: { c: {} }, 1: 'index', '-1': 'none', '01': 'none either' }],
  ['an object without a prototype', Object.assign(Object.create(null) as object, { a: 1 })],
  [
    'an instance',
    new (class User {
      name = 'x';
    })(),
  ],
  [
    'a getter',
    {
      get a() {
        return 1;
      },
    },
  ],
  ['__proto__', JSON.parse('{"__proto__": {"a": 1}, "toString": 5}')],
  [
    'a Map',
    new Map<unknown, unknown>([
      [1, 'a'],
      [{}, new Map()],
      [Number.NaN, -0],
    ]),
  ],
  ['a Set', new Set<unknown>([1, 'a', {}, new Set()])],
  ['a cycle', cyclic],
  ['an ArrayBuffer', buffer],
  [
    'views of one buffer',
    [
      new Uint8Array(buffer, 3, 5),
      new Int8Array(buffer),
      new Uint8ClampedArray(buffer),
      new Int16Array(buffer, 2, 3),
      new Uint16Array(buffer),
      new Int32Array(buffer),
      new Uint32Array(buffer),
      new Float32Array(buffer),
      new Float64Array(buffer, 8, 1),
      new BigInt64Array(buffer),
      new BigUint64Array(buffer),
      new DataView(buffer, 1, 2),
      buffer,
    ],
  ],
  ['a view twice', [onView, { onView }]],
  ['a view before its buffer', [[new Uint8Array(buffer, 1)], { buffer }]],
  ['empty views', [new Uint8Array(0), new DataView(new ArrayBuffer(0))]],
];

describe('writeV8Form()', () => {
  test.each(SAME_BYTES)('writes %s as V8 does', (_name, value) => {
    expect(hex(writeV8Form(value))).toBe(hex(byV8(value)));
  });

  test('writes what V8 reads', () => {
    const options = { withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true };
    const any = fc.anything({ ...options, withSparseArray: true, withNullPrototype: true, withBoxedValues: true });
    fc.assert(
      fc.property(any, (value) => {
        expect(readByV8(writeV8Form(value))).toEqual(structuredClone(value));
      }),
      { numRuns: 1_000 },
    );
  });

  test('writes any text and number so that V8 reads the same', () => {
    const leaf = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.double(), fc.bigInt(), fc.string());
    fc.assert(
      fc.property(leaf, (value) => {
        // V8 may write the same in several ways: it writes what a value happens to be in memory.
        expect(readByV8(writeV8Form([value]))).toEqual([value]);
        expect(read(byV8([value]))).toEqual([value]);
      }),
      { numRuns: 1_000 },
    );
  });

  test('writes integers of 32 bits in whichever way V8 reads', () => {
    for (const value of [2 ** 30, 2 ** 31 - 1, -(2 ** 31), -(2 ** 30) - 1]) {
      expect(readByV8(writeV8Form([value]))).toEqual([value]);
      expect(read(byV8([value]))).toEqual([value]);
    }
    const keys = { [2 ** 31 - 1]: 1, [2 ** 31]: 2, [2 ** 32 - 2]: 3, [2 ** 32 - 1]: 4, '9999999999': 5 };
    expect(readByV8(writeV8Form(keys))).toEqual(keys);
    expect(read(byV8(keys))).toEqual(keys);
  });

  test('writes no byte of the pool under a Buffer', () => {
    const secret = Buffer.from('a secret that lies in the pool of Node');
    const piece = Buffer.from('piece');
    expect(piece.buffer.byteLength).toBeGreaterThan(secret.length);
    const bytes = Buffer.from(writeV8Form({ piece, twice: piece }));
    expect(bytes.includes('secret')).toBe(false);
    expect(bytes.length).toBeLessThan(60);
    const back = readByV8(bytes) as Record<string, unknown>;
    expect(back).toEqual({ piece: Uint8Array.from(piece), twice: Uint8Array.from(piece) });
    expect(back['piece']).toBe(back['twice']);
  });

  test('writes a view of a resizable buffer with the length that it has', () => {
    const Resizable = ArrayBuffer as new (length: number, options: object) => ArrayBuffer;
    const resizable = new Resizable(8, { maxByteLength: 16 });
    const back = readByV8(writeV8Form([new Uint16Array(resizable, 2), resizable])) as [Uint16Array, ArrayBuffer];
    expect([back[0].byteOffset, back[0].length, back[0].buffer === back[1]]).toEqual([2, 3, true]);
    expect(back[1]).toMatchObject({ byteLength: 8, maxByteLength: 16 });
  });

  test('writes what the getters and the changes under way leave', () => {
    const value = (): object => {
      const fields = {
        get a() {
          delete (fields as { b?: number }).b;
          return 1;
        },
        b: 2,
        c: 3,
      };
      return fields;
    };
    expect(readByV8(writeV8Form(value()))).toEqual({ a: 1, c: 3 });
    const array: unknown[] = [0, 1, 2];
    Object.defineProperty(array, 0, { enumerable: true, configurable: true, get: () => (array.length = 1) });
    expect(Object.keys(readByV8(writeV8Form(array)) as object)).toEqual(['0']);
  });

  const detached = new ArrayBuffer(2);
  structuredClone(detached, { transfer: [detached] });
  function makeArguments(): unknown {
    return arguments;
  }
  const { WebAssembly } = globalThis as unknown as {
    WebAssembly: { Module: new (bytes: Uint8Array) => object; Memory: new (of: object) => object };
  };
  const wasm = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));

  test.each<[string, unknown]>([
    ['a function', () => 1],
    ['an async function', async () => 1],
    ['a class', class A {}],
    ['a symbol', Symbol('x')],
    ['a boxed symbol', Object(Symbol('x'))],
    ['a WeakMap', new WeakMap()],
    ['a WeakSet', new WeakSet()],
    ['a WeakRef', new WeakRef({})],
    ['a FinalizationRegistry', new FinalizationRegistry(() => {})],
    ['a Promise', Promise.resolve()],
    ['a Proxy', new Proxy({}, {})],
    [
      'a generator',
      (function* generate() {
        yield 1;
      })(),
    ],
    [
      'an asynchronous generator',
      (async function* generate() {
        yield 1;
      })(),
    ],
    ['an iterator of an array', [].values()],
    ['an iterator of a Map', new Map().entries()],
    ['an iterator of a Set', new Set().values()],
    ['an iterator of a text', ''[Symbol.iterator]()],
    ['arguments', makeArguments()],
    ['a formatter', new Intl.NumberFormat('en')],
    ['a memory', new WebAssembly.Memory({ initial: 1 })],
    ['a SharedArrayBuffer', new SharedArrayBuffer(1)],
    ['a view of one', new Uint8Array(new SharedArrayBuffer(1))],
    ['a detached buffer', detached],
    ['a function within', { a: new Map([[1, new Error('x', { cause: [() => 1] })]]) }],
  ])('refuses %s in the words of V8', (_name, value) => {
    const [ours, its] = [thrownBy(() => writeV8Form(value)), thrownBy(() => byV8(value))] as [Error, Error];
    expect(ours).toBeInstanceOf(Error);
    expect(ours.message).toBe(its.message);
    if (!its.message.includes('SharedArrayBuffer')) expect(ours).toBeInstanceOf(TypeError);
    else expect(ours.constructor).toBe(Error);
  });

  test('refuses a module, of which V8 writes nothing', () => {
    expect(() => writeV8Form({ a: wasm })).toThrow(new TypeError('Wasm modules cannot be stored'));
  });

  test('passes on what a getter throws', () => {
    const thrown = new Error('mine');
    expect(() =>
      writeV8Form({
        get a() {
          throw thrown;
        },
      }),
    ).toThrow(thrown);
  });
});

describe('readV8Form()', () => {
  test.each(SAME_BYTES)('reads %s as V8 does', (_name, value) => {
    const bytes = byV8(value);
    expect(read(bytes)).toEqual(readByV8(bytes));
  });

  test('reads whatever V8 writes', () => {
    const options = { withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true };
    const any = fc.anything({ ...options, withSparseArray: true, withBoxedValues: true });
    fc.assert(
      fc.property(any, (value) => {
        expect(read(byV8(value))).toEqual(structuredClone(value));
      }),
      { numRuns: 1_000 },
    );
  });

  test('gives an Error no other fields than V8 does', () => {
    for (const bytes of [
      byV8(errorOf(new RangeError('x', { cause: 5 }), {})),
      form('\xff\x0fr.'),
      form('\xff\x0frEm"\x01x.'),
    ]) {
      const [ours, its] = [read(bytes), readByV8(bytes)] as [Error, Error];
      expect(ours.constructor).toBe(its.constructor);
      // The order of fields is not told by toEqual, and is not the point.
      expect(Object.getOwnPropertyDescriptors(ours)).toEqual(Object.getOwnPropertyDescriptors(its));
    }
  });

  test('keeps the same object the same, cycles and views included', () => {
    const bytes = byV8([cyclic, cyclic, new Uint8Array(buffer), buffer]);
    const [one, other, view, under] = read(bytes) as [typeof cyclic, typeof cyclic, Uint8Array, ArrayBuffer];
    expect(other).toBe(one);
    expect(one['self']).toBe(one);
    expect(view.buffer).toBe(under);
  });

  test('keeps an Error that is its own cause', () => {
    const error = read(byV8(causedByItself)) as typeof causedByItself;
    expect((error.cause as unknown[])[0]).toBe(error);
  });

  test('shares no memory with the bytes', () => {
    const bytes = byV8(Uint8Array.of(1, 2, 3));
    const value = read(bytes);
    bytes.fill(0);
    expect(value).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('reads versions 13 to 16, and views without flags in 13', () => {
    const bytes = Buffer.from(byV8({ a: [1, 'x', new Date(5)] }));
    for (const version of [13, 14, 15, 16]) {
      bytes[1] = version;
      expect(read(bytes)).toEqual({ a: [1, 'x', new Date(5)] });
    }
    for (const version of [0, 12, 17, 99]) {
      bytes[1] = version;
      expect(() => read(bytes)).toThrow(`version ${version} is not known`);
    }
    const old = form('\xff\x0dA\x02B\x02\x07\x08VB\x01\x01I\x02$\x00\x02');
    expect(read(old)).toEqual(readByV8(old));
    expect(read(old)).toEqual([Uint8Array.of(8), 1]);
  });

  test('reads what V8 has other ways to write', () => {
    for (const text of [
      'U\xff\xff\xff\xff\x0f',
      'S\x03\xe2\x82\xac',
      '?\x01\0\0I\x02',
      'Z\x02\x05',
      'A\x02-I\x02$\0\x02',
    ]) {
      const bytes = form(`\xff\x0f${text}`);
      expect(read(bytes)).toEqual(deserialize(bytes));
    }
  });

  test('reads views that follow a resizable buffer', () => {
    const Resizable = ArrayBuffer as new (length: number, options: object) => ArrayBuffer;
    const follows = read(byV8(new Uint8Array(new Resizable(4, { maxByteLength: 8 })))) as Uint8Array;
    (follows.buffer as unknown as { resize(to: number): void }).resize(6);
    expect(follows.length).toBe(6);
  });

  test('reads an object of the host through its reader', () => {
    const bytes = writeHostObject(7, { a: 1 });
    const kinds: number[] = [];
    const host = (kind: number, readValue: () => unknown): unknown => {
      kinds.push(kind);
      return new Set([readValue()]);
    };
    expect(readV8Form(bytes, host)).toEqual(new Set([{ a: 1 }]));
    expect(kinds).toEqual([7]);
    expect(() => readV8Form(bytes, () => 5)).toThrow('an object of the host is none');
  });

  test.each<[string, string]>([
    ['nothing', ''],
    ['no header', 'I\x02'],
    ['a header alone', '\xff\x0f'],
    ['an unknown tag', '\xff\x0f!'],
    ['a cut number', '\xff\x0fN\0\0'],
    ['a text that is cut', '\xff\x0f"\x05ab'],
    ['half a unit', '\xff\x0fc\x01a'],
    ['an integer of more than 32 bits', '\xff\x0fU\xff\xff\xff\xff\x7f'],
    ['a signed one', '\xff\x0fI\xff\xff\xff\xff\x7f'],
    ['a reference to nothing', '\xff\x0f^\0'],
    ['a reference to what is being made', '\xff\x0fA\x01^\x05$\0\x01'],
    ['a dense array longer than the bytes', '\xff\x0fA\xff\xff\xff\xff\x0f'],
    ['an array with another length at its end', '\xff\x0fA\x01I\x02$\0\x02'],
    ['an array that a key makes longer', '\xff\x0fA\x01I\x02I\x0aI\x02$\x01\x01'],
    ['fields that are not as many', '\xff\x0fo"\x01aI\x02{\x02'],
    ['a key twice', '\xff\x0fo"\x01aI\x02"\x01aI\x02{\x02'],
    ['a key that is an object', '\xff\x0foo{\0I\x02{\x01'],
    ['a length as a key of an array', '\xff\x0fa\x01"\x06lengthI\x02@\x01\x01'],
    ['entries of a Map that are not as many', '\xff\x0f;I\x02I\x02:\x01'],
    ['items of a Set that are not as many', "\xff\x0f'I\x02,\x02"],
    ['a RegExp that is none', '\xff\x0fR"\x01(\0'],
    ['the flag of V8 alone', '\xff\x0fR"\x01a\x40'],
    ['an unknown flag', '\xff\x0fR"\x01a\x80\x08'],
    ['both kinds of unicode', '\xff\x0fR"\x01a\x90\x02'],
    ['an unknown part of an error', '\xff\x0frx.'],
    ['a view without a buffer', '\xff\x0fVB\0\x01\0'],
    ['a view beyond its buffer', '\xff\x0fB\x02\0\0VB\x01\x02\0'],
    ['a view of half an item', '\xff\x0fB\x04\0\0\0\0VD\0\x03\0'],
    ['a view at an odd place', '\xff\x0fB\x04\0\0\0\0VW\x01\x02\0'],
    ['an unknown view', '\xff\x0fB\x02\0\0Vx\0\x02\0'],
    ['a view that follows a fixed buffer', '\xff\x0fB\x02\0\0VB\0\x02\x01'],
    ['a resizable view of a fixed buffer', '\xff\x0fB\x02\0\0VB\0\x02\x03'],
    ['a buffer longer than the bytes', '\xff\x0fB\xff\xff\xff\xff\x0f'],
    ['a buffer that may not be as long as it is', '\xff\x0f~\x02\x01\0\0'],
    ['a bigint longer than the bytes', '\xff\x0fZ\xfe\xff\xff\x7f'],
    ['a bigint of a length that none has', '\xff\x0fZ\xff\xff\xff\xff\x0f'],
    ['a bigint of no digits that is negative', '\xff\x0fZ\x01'],
    ['a shared object', '\xff\x0fp\0'],
    ['a module', '\xff\x0fw\0'],
  ])('refuses %s', (_name, text) => {
    expect(() => read(form(text))).toThrow(Error);
  });

  test('takes the length of a sparse array for what it is, and no memory for it', () => {
    const value = read(form('\xff\x0fa\xff\xff\xff\xff\x0fI\x02"\x01x@\x01\xff\xff\xff\xff\x0f')) as unknown[];
    expect([value.length, Object.keys(value), value[1]]).toEqual([2 ** 32 - 1, ['1'], 'x']);
  });

  test('says nothing of prototypes', () => {
    const value = read(byV8(JSON.parse('{"__proto__": {"polluted": true}}'))) as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect({}).not.toHaveProperty('polluted');
  });

  test('takes any bytes, and changed ones, without harm', () => {
    const valid = fc.constantFrom(...SAME_BYTES).map(([, value]) => byV8(value));
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 });
    const changed = fc.tuple(valid, changes).map(([bytes, each]) => {
      const copy = Buffer.from(bytes);
      for (const [at, byte] of each) if (copy.length > 2) copy[2 + (at % (copy.length - 2))] = byte;
      return copy;
    });
    const random = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from([0xff, 0x0f, ...bytes]));
    fc.assert(
      fc.property(fc.oneof(changed, random), (bytes) => {
        const result = thrownBy(() => [read(bytes)]);
        expect(Array.isArray(result) || result instanceof Error).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('a deep value', () => {
  const nested = (depth: number): unknown => {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = [value];
    return value;
  };

  test('is kept as deep as V8 keeps it', () => {
    expect(hex(writeV8Form(nested(1_000)))).toBe(hex(byV8(nested(1_000))));
    expect(() => read(byV8(nested(1_500)))).not.toThrow();
  });

  test('is refused beyond, written and read', () => {
    const words = new RangeError('Maximum call stack size exceeded');
    expect(() => writeV8Form(nested(1_001))).toThrow(words);
    expect(() => writeV8Form(nested(100_000))).toThrow(words);
    const levels = 1_000_000;
    expect(() => read(form(`\xff\x0f${'A\x01'.repeat(levels)}`))).toThrow(words);
    expect(() => read(form(`\xff\x0f${';'.repeat(levels)}`))).toThrow(words);
    expect(() => read(form(`\xff\x0f${'rc'.repeat(levels)}`))).toThrow(words);
    expect(() => read(form(`\xff\x0f${'?\x01'.repeat(levels)}I\x02`))).not.toThrow();
  });
});
