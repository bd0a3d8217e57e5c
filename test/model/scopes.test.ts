import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CHANNEL_RIGHTS,
  EVERYTHING,
  grantOf,
  hasRight,
  isScope,
  matchesGlob,
  NOTHING,
  parseScope,
  rightsOn,
} from '#holdfast/model/scopes.js';

const right = fc.constantFrom(...CHANNEL_RIGHTS);
const rights = fc.uniqueArray(right, { minLength: 1 });
/** Few different characters, so that matches are not rare. */
const pattern = fc.string({ unit: fc.constantFrom('a', 'b', ':', '*'), maxLength: 8 });
const name = fc.string({ unit: fc.constantFrom('a', 'b', ':', '*'), maxLength: 10 });

describe('parseScope()', () => {
  test('gives back what a scope was put together from', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }), rights, (glob, given) => {
        const scope = parseScope(`channel:${glob}:${given.join(',')}`);
        expect(scope).toEqual({ kind: 'channel', glob, rights: CHANNEL_RIGHTS.filter((one) => given.includes(one)) });
      }),
    );
    expect(parseScope('kv:users/:r')).toEqual({ kind: 'kv', prefix: 'users/', rights: ['r'] });
    expect(parseScope('kv::w,r')).toEqual({ kind: 'kv', prefix: '', rights: ['r', 'w'] });
    expect(parseScope('server:admin')).toEqual({ kind: 'server' });
  });

  test('a glob may hold colons: the rights follow the last one', () => {
    expect(parseScope('channel:a:b:read')).toEqual({ kind: 'channel', glob: 'a:b', rights: ['read'] });
  });

  test.each([
    '',
    ':',
    '::',
    'channel',
    'channel:',
    'channel:mail',
    'channel::read',
    'topic::publish',
    'topic:news:produce',
    'channel:mail:',
    'channel:mail:write',
    'channel:mail:Read',
    'channel:mail: read',
    'channel:mail:read ',
    'channel:mail:read,',
    'channel:mail:read;admin',
    'channel:mail:*',
    ' channel:mail:read',
    'Channel:mail:read',
    'channels:mail:read',
    'queue:mail:read',
    'kv:a',
    'kv:a:rw',
    'kv:a:read',
    'server',
    'server:',
    'server:*',
    'server:Admin',
    'server:admin ',
    'server:x:admin',
    'server::admin',
    '*',
    `channel:${'x'.repeat(256)}:read`,
    `kv:${'x'.repeat(256)}:r`,
  ])('refuses "%s"', (text) => {
    expect(() => parseScope(text)).toThrow(/^Cannot use ".*" as a scope/);
    expect(isScope(text)).toBe(false);
  });

  test.each([undefined, null, 5, ['server:admin'], { kind: 'server' }])('refuses %j', (given) => {
    expect(() => parseScope(given as never)).toThrow(TypeError);
    expect(isScope(given)).toBe(false);
  });
});

describe('matchesGlob()', () => {
  test('agrees with a regular expression', () => {
    fc.assert(
      fc.property(pattern, name, (glob, given) => {
        const parts = glob.split('*').map((part) => part.replaceAll(/[^a-z]/g, '\\$&'));
        expect(matchesGlob(glob, given)).toBe(new RegExp(`^${parts.join('.*')}$`, 's').test(given));
      }),
      { numRuns: 5_000 },
    );
  });

  test('a name matches itself, whatever it holds, and each glob that has an asterisk for some of it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.nat(), fc.nat(), (given, a, b) => {
        const [from, to] = [a % (given.length + 1), b % (given.length + 1)].sort((x, y) => x - y) as [number, number];
        expect(matchesGlob(given, given)).toBe(true);
        expect(matchesGlob(`${given.slice(0, from)}*${given.slice(to)}`, given)).toBe(true);
      }),
    );
  });

  test.each([
    ['mail', 'mail', true],
    ['mail', 'mails', false],
    ['mail', 'mai', false],
    ['mail', 'MAIL', false],
    ['mail', '', false],
    ['mail*', 'mail', true],
    ['mail*', 'email', false],
    ['*mail', 'email', true],
    ['*mail', 'email/in', false],
    ['mail/*', 'mail', false],
    ['mail/*', 'mail/', true],
    ['mail/*', 'mail/a/b', true],
    ['mail/*/in', 'mail/in', false],
    ['a*b*c', 'abbcbc', true],
    ['a*b*c', 'acb', false],
    ['*', '', true],
    ['**', 'x', true],
    ['*a*', 'b', false],
    ['m.il', 'mail', false],
    ['ma?l', 'mail', false],
    ['[mail]', 'm', false],
    ['mail', 'mail\0', false],
    ['mail', 'mail\n', false],
    ['caf\u00e9', 'cafe\u0301', false],
  ])('"%s" and "%s": %s', (glob, given, matches) => {
    expect(matchesGlob(glob, given)).toBe(matches);
  });

  test('is quick on what makes a search for all ways to match hang', () => {
    expect(matchesGlob('*a'.repeat(127), 'a'.repeat(254) + 'b')).toBe(false);
    expect(matchesGlob('*a'.repeat(127) + '*', 'a'.repeat(255))).toBe(true);
  });
});

describe('grantOf()', () => {
  test('gives the rights of all scopes that match, and no others', () => {
    const scope = fc.record({ glob: pattern.filter((glob) => glob !== ''), given: rights });
    fc.assert(
      fc.property(fc.array(scope, { maxLength: 5 }), name, (scopes, channel) => {
        const grant = grantOf(scopes.map(({ glob, given }) => `channel:${glob}:${given.join(',')}`));
        for (const one of CHANNEL_RIGHTS) {
          const expected = scopes.some(({ glob, given }) => given.includes(one) && matchesGlob(glob, channel));
          expect(hasRight(rightsOn(grant, channel), one)).toBe(expected);
        }
      }),
    );
  });

  test('no right includes another', () => {
    for (const one of CHANNEL_RIGHTS) {
      const granted = rightsOn(grantOf([`channel:*:${one}`]), 'mail');
      expect(CHANNEL_RIGHTS.filter((other) => hasRight(granted, other))).toEqual([one]);
    }
  });

  test('server:admin gives every right, KV scopes and nothing give none', () => {
    for (const one of CHANNEL_RIGHTS) {
      expect(hasRight(rightsOn(grantOf(['server:admin']), 'mail'), one)).toBe(true);
      expect(hasRight(rightsOn(EVERYTHING, 'mail'), one)).toBe(true);
      expect(hasRight(rightsOn(grantOf(['kv:mail:r,w']), 'mail'), one)).toBe(false);
      expect(hasRight(rightsOn(NOTHING, 'mail'), one)).toBe(false);
    }
    expect(grantOf(['channel:*:admin']).isAdmin).toBe(false);
  });
});
