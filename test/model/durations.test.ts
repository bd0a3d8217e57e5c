import { describe, expect, test } from 'vitest';
import { type Duration, MAX_DURATION_MS, parseDuration } from '#holdfast/model/duration.js';

describe('parseDuration()', () => {
  test.each<[Duration, number]>([
    [0, 0],
    [250, 250],
    ['0ms', 0],
    ['250ms', 250],
    ['1s', 1_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['3d', 259_200_000],
    [MAX_DURATION_MS, MAX_DURATION_MS],
    ['36500d', MAX_DURATION_MS],
  ])('reads %j as %d ms', (duration, ms) => {
    expect(parseDuration(duration, 'delay')).toBe(ms);
  });

  test('rounds up to whole milliseconds, so that nothing comes early', () => {
    expect(parseDuration(0.1, 'delay')).toBe(1);
    expect(parseDuration('1.2ms', 'delay')).toBe(2);
  });

  test.each(['', '1', 's', '1 s', '-1s', '1S', '1w', '1e3ms', '.5s', '1.s', 'Infinitys', '1s1s'])(
    'refuses the text %j and shows how to write one',
    (text) => {
      const parse = (): number => parseDuration(text as Duration, 'delay');
      expect(parse).toThrow(TypeError);
      expect(parse).toThrow(`Cannot read "${text}" as "delay": write a number and one of ms, s, m, h, d`);
    },
  );

  test.each([-1, -0.001, Number.NaN, Infinity, -Infinity, MAX_DURATION_MS + 1, '36501d'])(
    'refuses %j as out of range, and names the range',
    (duration) => {
      const parse = (): number => parseDuration(duration as Duration, 'delay');
      expect(parse).toThrow(RangeError);
      expect(parse).toThrow(`as "delay": it must be from 0 to ${MAX_DURATION_MS} milliseconds`);
    },
  );

  test.each([undefined, null, true, {}, [1], 1n])('refuses %o, which is no duration', (value) => {
    expect(() => parseDuration(value as never, 'delay')).toThrow(TypeError);
  });
});
