import { deserialize, serialize, Serializer } from 'node:v8';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KvU64 } from '#holdfast/codec/kv-u64.js';
import { decodeKvValue, decodeV8, encodeKvValue, encodeV8 } from '#holdfast/codec/v8.js';
import { KV_ENCODING } from '#holdfast/model/kv.js';

const { WebAssembly } = globalThis as unknown as { WebAssembly: { Module: new (bytes: Uint8Array) => object } };
const wasm = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));

const again = (value: unknown): unknown => decodeV8(encodeV8(value));

describe('encodeV8()', () => {
  const cyclic: { self?: object } = {};
  cyclic.self = cyclic;

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a text', 'é😀\0'],
    ['numbers', [0, -0, 1.5, -(2 ** 40), Number.NaN, Infinity]],
    ['a bigint', -(2n ** 200n)],
    ['a Date', new Date(5)],
    ['a Map', new Map<unknown, unknown>([[{ a: 1 }, new Set([1n])]])],
    ['a RegExp', /a/giu],
    ['an Error', new RangeError('no', { cause: 5 })],
    ['a cycle', cyclic],
    ['typed arrays', [new Uint8Array([1, 2]), new Float64Array([1.5]), new BigInt64Array([-5n])]],
    ['a DataView', new DataView(new ArrayBuffer(3), 1)],
    ['an ArrayBuffer', new ArrayBuffer(3)],
    // oxlint-disable-next-line no-sparse-arrays -- a hole is what this is about
    ['a hole', [1, , 3]],
    ['__proto__ as a key', JSON.parse('{"__proto__": {"a": 1}}')],
  ])('keeps %s', (_name, value) => {
    expect(again(value)).toEqual(value);
  });

  test('keeps a DOMException', () => {
    const given = new DOMException('no', 'AbortError');
    const got = again(given) as DOMException;
    expect(got).toBeInstanceOf(DOMException);
    expect([got.name, got.message, got.code, got.stack]).toEqual(['AbortError', 'no', 20, given.stack]);
  });

  test('keeps objects without fields', () => {
    const value = { a: {}, b: [{}, new Map([[{}, {}]])], c: new Error('x', { cause: {} }) };
    expect(again(value)).toEqual(value);
  });

  test('keeps whatever JavaScript has', () => {
    const any = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true });
    fc.assert(
      fc.property(any, (value) => {
        expect(again(value)).toEqual(structuredClone(value));
      }),
    );
  });

  test('says the same of the same, and nothing of prototypes', () => {
    const make = (): object => ({ a: [1, 'x', new Map([[1, Uint8Array.of(1)]])] });
    expect(encodeV8(make())).toEqual(encodeV8(make()));
    const polluted = again(JSON.parse('{"__proto__": {"polluted": true}}')) as object;
    expect(Object.getPrototypeOf(polluted)).toBe(Object.prototype);
    expect({}).not.toHaveProperty('polluted');
  });

  test('writes no byte of the pool under a Buffer, whatever else is written', () => {
    const secret = Buffer.from('a secret that lies in the pool of Node');
    const piece = Buffer.from('piece');
    expect(piece.buffer.byteLength).toBeGreaterThan(secret.length);
    const whole = new Uint16Array([1, 2]);
    const bytes = encodeV8({ piece, whole, twice: piece, buffer: whole.buffer });
    expect(bytes.length).toBeLessThan(200);
    expect(Buffer.from(bytes).includes('secret')).toBe(false);
    const back = decodeV8(bytes) as Record<string, Uint8Array>;
    expect(back).toEqual({ piece: Uint8Array.from(piece), whole, twice: Uint8Array.from(piece), buffer: whole.buffer });
    expect(back['piece']).toBe(back['twice']);
  });

  test('writes views as V8 does, for Deno to read', () => {
    expect(Buffer.from(encodeV8({ a: Uint8Array.of(7) })).toString('hex')).toMatch(
      /^ff0.6f22016142010756420001007b01$/,
    );
  });

  test.each<[string, unknown, string]>([
    ['a function', () => 1, '() => 1 could not be cloned.'],
    ['a symbol', Symbol('x'), 'Symbol(x) could not be cloned.'],
    ['a WeakMap', new WeakMap(), '#<WeakMap> could not be cloned.'],
    ['a Promise', Promise.resolve(), '#<Promise> could not be cloned.'],
    ['a Proxy', new Proxy({}, {}), '#<Object> could not be cloned.'],
    ['a function within', { a: [() => 1] }, '() => 1 could not be cloned.'],
    ['a function beside bytes', { a: Buffer.from('x'), b: () => 1 }, '() => 1 could not be cloned.'],
    ['a Blob', new Blob(['x']), '#<Blob> could not be cloned.'],
    ['a File within', [new File(['x'], 'x')], '#<File> could not be cloned.'],
    ['a DOMException within', { a: new Map([[1, new DOMException('x')]]) }, '#<DOMException> could not be cloned.'],
    [
      'one that causes an error',
      new Error('x', { cause: new DOMException('y') }),
      '#<DOMException> could not be cloned.',
    ],
    ['one beside itself', [cyclic, {}, new Set([new DOMException('x')])], '#<DOMException> could not be cloned.'],
    ['a module', wasm, 'Wasm modules cannot be stored'],
    ['a module within', { a: [1, wasm], b: 1 }, 'Wasm modules cannot be stored'],
  ])('refuses %s', (_name, value, message) => {
    expect(() => encodeV8(value)).toThrow(new TypeError(message));
  });

  test('refuses what is too deep to be written or read, and says so', () => {
    const words = new RangeError('Maximum call stack size exceeded');
    let value: object = {};
    for (let depth = 1; depth <= 8_000; depth++) {
      value = { value };
      if (depth % 250 !== 0) continue;
      const error = ((): unknown => {
        try {
          return void encodeV8(value);
        } catch (thrown) {
          return thrown;
        }
      })();
      expect([undefined, words]).toContainEqual(error);
    }
    expect(() => encodeV8(value)).toThrow(words);
  });

  test('refuses a SharedArrayBuffer with an Error', () => {
    const thrown = ((): unknown => {
      try {
        return encodeV8({ a: new SharedArrayBuffer(1) });
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).not.toBeInstanceOf(TypeError);
    expect(thrown).toEqual(new Error('#<SharedArrayBuffer> could not be cloned.'));
  });
});

describe('decodeV8()', () => {
  test('reads version 16, which newer versions of V8 write', () => {
    const bytes = Uint8Array.from(encodeV8({ a: [1, 'x', new Date(5)] }));
    bytes[1] = 16;
    expect(decodeV8(bytes)).toEqual({ a: [1, 'x', new Date(5)] });
    expect(bytes[1]).toBe(16);
  });

  test('reads what lies within other bytes, and shares no memory with them', () => {
    const inner = encodeV8([Uint8Array.of(1, 2, 3)]);
    const outer = new Uint8Array(inner.length + 5);
    outer.set(inner, 3);
    const [back] = decodeV8(outer.subarray(3, 3 + inner.length)) as [Uint8Array];
    outer.fill(0);
    expect(back).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('reads nothing of what only Node understands, and nothing that is cut', () => {
    const foreign = serialize({ a: Buffer.from('x') });
    expect(deserialize(foreign)).toEqual({ a: Buffer.from('x') });
    for (const bytes of [foreign, encodeV8({ a: 'text' }).subarray(0, 6), new Uint8Array(), Uint8Array.of(0xff, 99)]) {
      expect(() => decodeV8(bytes)).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }));
    }
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['no type', {}],
    ['another type', { type: 'Worker' }],
    ['a Blob whose bytes are elsewhere', { type: 'Blob', mimeType: '', parts: [{ uuid: 'x', size: 1 }] }],
    ['a DOMException whose name is none', { type: 'DOMException', name: { toString: 5, valueOf: 5 } }],
    ['a key without bytes', { type: 'CryptoKey', keyType: '__proto__' }],
  ])('refuses an object of the platform with %s', async (_name, record) => {
    const serializer = new Serializer();
    serializer.writeHeader();
    serializer.writeRawBytes(Uint8Array.of(0x5c));
    serializer.writeUint32(0xffff_ffff);
    serializer.writeValue(record);
    const bytes = serializer.releaseBuffer();
    expect(() => decodeV8(bytes)).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }));
    const decode = async (): Promise<unknown> => decodeKvValue({ encoding: KV_ENCODING.v8, bytes });
    await expect(decode()).rejects.toMatchObject({ code: 'UNDECODABLE' });
  });

  test('takes any bytes without any other error', () => {
    const hostile = fc
      .tuple(fc.uint8Array({ maxLength: 60 }), fc.boolean())
      .map(([bytes, headed]) => (headed ? Uint8Array.from([0xff, 0x0f, ...bytes]) : bytes));
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          decodeV8(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'UNDECODABLE' });
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('a value of KV', () => {
  test('is a number of 64 bits, bytes, or anything else', () => {
    expect(encodeKvValue(new KvU64(258n))).toEqual({
      encoding: KV_ENCODING.u64,
      bytes: Uint8Array.of(2, 1, 0, 0, 0, 0, 0, 0),
    });
    expect(encodeKvValue(Uint8Array.of(1, 2))).toEqual({ encoding: KV_ENCODING.bytes, bytes: Uint8Array.of(1, 2) });
    expect(encodeKvValue([1]).encoding).toBe(KV_ENCODING.v8);
    for (const value of [new KvU64(2n ** 64n - 1n), Uint8Array.of(), { a: 1n }]) {
      expect(decodeKvValue(encodeKvValue(value))).toEqual(value);
    }
  });

  test('shares no memory with what it was made of', () => {
    const bytes = Uint8Array.of(1);
    const encoded = encodeKvValue(bytes);
    bytes[0] = 2;
    const decoded = decodeKvValue(encoded) as Uint8Array;
    expect(decoded).toEqual(Uint8Array.of(1));
    decoded[0] = 3;
    expect(encoded.bytes).toEqual(Uint8Array.of(1));
  });

  test('that holds a KvU64 deeper down gets its field alone', () => {
    expect(decodeKvValue(encodeKvValue({ a: new KvU64(5n) }))).toEqual({ a: { value: 5n } });
  });
});

describe('KvU64', () => {
  test('is frozen and behaves as a number', () => {
    const five = new KvU64(5n);
    expect(Object.isFrozen(five)).toBe(true);
    expect(Object.keys(five)).toEqual(['value']);
    expect((five as unknown as bigint) + 1n).toBe(6n);
    expect(five.toString.call(five)).toBe('5');
    expect(Object.prototype.toString.call(five)).toBe('[object Deno.KvU64]');
  });

  test.each<[unknown, Error]>([
    [1, new TypeError('Value must be a bigint: received number')],
    [undefined, new TypeError('Value must be a bigint: received undefined')],
    [-1n, new RangeError('Value must be a positive bigint: received -1')],
    [2n ** 64n, new RangeError('Value must fit in a 64-bit unsigned integer')],
  ])('refuses %s', (value, error) => {
    expect(() => new KvU64(value as bigint)).toThrow(error);
  });
});
