import { expect, test } from 'vitest';
import { NO_VERSION, versionOf, versionstampOf } from '#holdfast/model/kv.js';

test('versionstampOf() gives 20 digits that versionOf() reads, and that have the order of the versions', () => {
  const versions = [1, 9, 10, 255, 2 ** 40, NO_VERSION - 1];
  const stamps = versions.map(versionstampOf);
  expect(stamps[2]).toBe('000000000000000a0000');
  expect(stamps.map(versionOf)).toEqual(versions);
  expect(stamps.toSorted()).toEqual(stamps);
});

test.each(['', 'x', '0000000000000001000', '000000000000000100000', 'g0000000000000010000'])('"%s" is none', (text) => {
  expect(versionOf(text)).toBeUndefined();
});

test.each(['ffffffffffffffffffff', 'FFFFFFFFFFFFFFFFFFFF', '00000000000000010001', '00000000000000000000'])(
  '%s was never given',
  (text) => {
    expect(versionOf(text)).toBe(NO_VERSION);
  },
);
