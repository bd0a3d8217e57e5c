import { describe, expect, test } from 'vitest';
import {
  accessTokenId,
  isAccessTokenId,
  makeAccessToken,
  NEEDS_TOKEN,
  stricter,
} from '#holdfast/model/access-token.js';
import { seededRandom, systemRandom } from '#holdfast/model/random.js';

describe('makeAccessToken()', () => {
  test('gives a text of the documented form, with 256 bits behind its id', () => {
    for (let i = 0; i < 1_000; i++) {
      const { id, text } = makeAccessToken(systemRandom);
      expect(text).toMatch(/^hf_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/);
      expect(accessTokenId(text)).toBe(id);
      expect(isAccessTokenId(id)).toBe(true);
      const secret = text.slice('hf_'.length + 12 + 1);
      expect(Buffer.from(secret, 'base64url').length).toBe(32);
      expect(Buffer.from(secret, 'base64url').toString('base64url')).toBe(secret);
    }
  });

  test('never gives the same one twice', () => {
    const random = seededRandom(4);
    const made = Array.from({ length: 1_000 }, () => makeAccessToken(random));
    expect(new Set(made.map(({ text }) => text)).size).toBe(1_000);
    expect(new Set(made.map(({ id }) => id)).size).toBe(1_000);
  });
});

describe('accessTokenId()', () => {
  const { text } = makeAccessToken(seededRandom(5));

  test.each([
    '',
    'hf_',
    text.slice(0, -1),
    `${text}x`,
    `${text}\n`,
    ` ${text}`,
    text.toUpperCase(),
    text.replace('hf_', 'hx_'),
    text.replaceAll('_', '-'),
    text.slice(3),
    `hf___proto__    _${'a'.repeat(43)}`,
    `hf_${'0'.repeat(12)}_${'+'.repeat(43)}`,
    `hf_${'0'.repeat(12)}_${'\u00e9'.repeat(43)}`,
  ])('finds none in "%s"', (given) => {
    expect(accessTokenId(given)).toBeUndefined();
  });
});

test('stricter() is the stricter of two', () => {
  for (const [i, a] of NEEDS_TOKEN.entries()) {
    for (const [j, b] of NEEDS_TOKEN.entries()) expect(stricter(a, b)).toBe(NEEDS_TOKEN[Math.max(i, j)]);
  }
});
