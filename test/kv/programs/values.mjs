/** A value of everything that can be cloned, made anew at each call. */
export function clonable() {
  const value = {
    nothing: [undefined, null],
    numbers: [0, -0, 1.5, -(2 ** 40), Number.NaN, Infinity, 2 ** 31],
    bigints: [0n, -(2n ** 200n), 2n ** 63n],
    texts: ['', 'é', '\u4e00', '😀\0', '\ud800'],
    date: new Date(5),
    boxed: [Object('s'), Object(5), Object(true), Object(5n)],
    regExps: [/a/giu, /\u1234/dms],
    error: Object.assign(new RangeError('no', { cause: { a: 1 } }), { stack: 'the stack' }),
    map: new Map([[{ a: 1 }, new Set([1n, 'x'])]]),
    holes: Object.assign([], { 0: 1, 2: 3, name: 'x' }),
    bytes: [
      Uint8Array.of(1, 2),
      new Float64Array([1.5]),
      new BigInt64Array([-5n]),
      new DataView(new ArrayBuffer(3), 1),
    ],
    buffer: new ArrayBuffer(3),
    1: 'index',
  };
  value.itself = value;
  return value;
}
