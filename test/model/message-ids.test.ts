import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MessageIdSource, messageIdText, messageIdTime, parseMessageId } from '#holdfast/model/message-id.js';
import { seededRandom, systemRandom } from '#holdfast/model/random.js';
import { ManualClock } from '../helpers/manual-clock.ts';

function texts(source: MessageIdSource, count: number): string[] {
  return Array.from({ length: count }, () => messageIdText(source.next()));
}

function isAscending(ids: readonly string[]): boolean {
  return ids.every((id, i) => i === 0 || (ids[i - 1] as string) < id);
}

describe('MessageIdSource', () => {
  test('makes ids that grow and differ, far more than fit into a millisecond', () => {
    const ids = texts(new MessageIdSource(new ManualClock(), systemRandom), 20_000);
    expect(isAscending(ids)).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('goes on growing when the clock goes back', () => {
    const clock = new ManualClock();
    const source = new MessageIdSource(clock, seededRandom(1));
    const before = texts(source, 10);
    clock.setWall(clock.wallMs() - 86_400_000);
    expect(isAscending([...before, ...texts(source, 10)])).toBe(true);
  });

  test('carries the time at which the id was made', () => {
    const clock = new ManualClock(Date.UTC(2033, 3, 4, 5, 6, 7, 89));
    expect(messageIdTime(new MessageIdSource(clock, systemRandom).next())).toBe(clock.wallMs());
  });

  test('makes UUIDs of version 7', () => {
    const id = messageIdText(new MessageIdSource(new ManualClock(), systemRandom).next());
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test('two sources of one moment make different ids', () => {
    const clock = new ManualClock();
    const [a] = texts(new MessageIdSource(clock, systemRandom), 1);
    const [b] = texts(new MessageIdSource(clock, systemRandom), 1);
    expect(a).not.toBe(b);
  });
});

describe('messageIdText() and parseMessageId()', () => {
  test('are each other’s inverse, and keep the order', () => {
    const clock = new ManualClock();
    const time = fc.integer({ min: 0, max: 2 ** 47 });
    fc.assert(
      fc.property(time, time, fc.integer(), (first, second, seed) => {
        const make = (ms: number): Uint8Array => {
          clock.setWall(ms);
          return new MessageIdSource(clock, seededRandom(seed)).next();
        };
        const [a, b] = [make(first), make(second)];
        expect(parseMessageId(messageIdText(a))).toEqual(Uint8Array.from(a));
        if (first < second) expect(messageIdText(a) < messageIdText(b)).toBe(true);
      }),
    );
  });

  const good = messageIdText(new MessageIdSource(new ManualClock(), seededRandom(2)).next());

  test.each(['', 'abc', good.toUpperCase(), good.slice(1), `${good}0`, good.replaceAll('-', ''), ` ${good}`])(
    'refuses the text %j',
    (text) => {
      expect(() => parseMessageId(text)).toThrow(TypeError);
      expect(() => parseMessageId(text)).toThrow('it must be the id of a receipt or a message');
    },
  );

  test.each([undefined, null, 5, {}])('refuses %o, which is no text', (value) => {
    expect(() => parseMessageId(value as never)).toThrow(TypeError);
  });
});
