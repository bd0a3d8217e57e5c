import fc from 'fast-check';
import { checkLinearizable, type KvAction, type KvAnswer, type KvChangeOf, type KvOperation } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';

const read = (...keys: string[]): KvAction => ({ kind: 'read', keys });
const set = (key: string, value: string): KvChangeOf => ({ kind: 'set', key, value });
const add = (key: string, by: bigint): KvChangeOf => ({ kind: 'sum', key, by });
const commit = (...changes: KvChangeOf[]): KvAction => ({ kind: 'commit', checks: [], changes });
const COMMITTED: KvAnswer = { kind: 'committed' };
const CONFLICT: KvAnswer = { kind: 'conflict' };
const saw = (...values: (string | undefined)[]): KvAnswer => ({
  kind: 'read',
  entries: values.map((value) => (value === undefined ? undefined : { value })),
});

/** An operation from one moment to another, or without an answer. */
function op(calledAt: number, answeredAt: number | undefined, action: KvAction, answer?: KvAnswer): KvOperation {
  return { calledAt, answeredAt, action, answer };
}

const verdict = (...history: KvOperation[]): string => checkLinearizable(history).verdict;

/** A history that is not linearizable, and whose last answer is the one that shows it. */
function expectNot(...history: KvOperation[]): void {
  const found = checkLinearizable(history);
  expect(found).toMatchObject({ verdict: 'not' });
  // One answer less, and there is an order.
  const prefix = found.verdict === 'not' ? found.prefix : [];
  const last = Math.max(...prefix.map(({ answeredAt }) => answeredAt ?? 0));
  const shorter = prefix.map((one) => (one.answeredAt === last ? { calledAt: one.calledAt, action: one.action } : one));
  expect(checkLinearizable(prefix).verdict).toBe('not');
  expect(checkLinearizable(shorter).verdict).toBe('linearizable');
}

describe('checkLinearizable() of histories without versions', () => {
  test('takes any order of what runs at a time', () => {
    expect(verdict()).toBe('linearizable');
    const writes = [op(0, 10, commit(set('x', 'a')), COMMITTED), op(0, 10, commit(set('x', 'b')), COMMITTED)];
    expect(verdict(...writes, op(11, 12, read('x'), saw('a')))).toBe('linearizable');
    expect(verdict(...writes, op(11, 12, read('x'), saw('b')))).toBe('linearizable');
    expect(verdict(...writes, op(5, 6, read('x'), saw(undefined)))).toBe('linearizable');
  });

  test('finds a stale read', () => {
    expectNot(
      op(0, 1, commit(set('x', 'a')), COMMITTED),
      op(2, 3, commit(set('x', 'b')), COMMITTED),
      op(4, 5, read('x'), saw('a')),
      op(6, 7, read('x'), saw('b')),
    );
  });

  test('finds a lost update, by a check that cannot have held and by a sum', () => {
    const increment = (from: string, to: string): KvAction => ({
      kind: 'commit',
      checks: [{ key: 'x', value: from }],
      changes: [set('x', to)],
    });
    expectNot(
      op(0, 1, commit(set('x', '1')), COMMITTED),
      op(2, 10, increment('1', '2'), COMMITTED),
      op(2, 11, increment('1', '2'), COMMITTED),
    );
    expectNot(
      op(0, 5, commit(add('n', 1n)), COMMITTED),
      op(0, 6, commit(add('n', 1n)), COMMITTED),
      op(7, 8, read('n'), saw('1')),
    );
  });

  test('finds a dirty read, of a commit that was refused', () => {
    const refused: KvAction = { kind: 'commit', checks: [{ key: 'y', value: 'no' }], changes: [set('x', 'dirty')] };
    expectNot(op(0, 9, refused, CONFLICT), op(2, 3, read('x'), saw('dirty')));
    // Without the answer it may have held.
    expect(
      verdict(
        op(0, 1, commit(set('y', 'no')), COMMITTED),
        op(2, undefined, refused),
        op(3, 4, read('x'), saw('dirty')),
      ),
    ).toBe('linearizable');
  });

  test('finds a commit that was applied twice', () => {
    expectNot(op(0, undefined, commit(add('n', 2n))), op(1, 2, read('n'), saw('2')), op(3, 4, read('n'), saw('4')));
  });

  test('finds half of a commit', () => {
    expectNot(op(0, undefined, commit(set('x', '1'), set('y', '1'))), op(1, 2, read('x', 'y'), saw('1', undefined)));
  });

  test('finds write skew across keys', () => {
    const offDuty = (doctor: string): KvAction => ({
      kind: 'commit',
      checks: [
        { key: 'ada', value: 'on' },
        { key: 'ben', value: 'on' },
      ],
      changes: [set(doctor, 'off')],
    });
    const begin = op(0, 1, commit(set('ada', 'on'), set('ben', 'on')), COMMITTED);
    expectNot(begin, op(2, 10, offDuty('ada'), COMMITTED), op(2, 11, offDuty('ben'), COMMITTED));
    expect(verdict(begin, op(2, 10, offDuty('ada'), COMMITTED), op(2, 11, offDuty('ben'), CONFLICT))).toBe(
      'linearizable',
    );
  });

  test('finds a conflict without a reason', () => {
    const checked: KvAction = { kind: 'commit', checks: [{ key: 'x', value: undefined }], changes: [set('x', '1')] };
    expectNot(op(0, 1, checked, CONFLICT));
    expectNot(op(0, 1, commit(), CONFLICT));
  });

  test('finds two readers who see two writes in different orders', () => {
    expectNot(
      op(0, 20, commit(set('x', '1')), COMMITTED),
      op(0, 20, commit(set('y', '1')), COMMITTED),
      op(1, 2, read('x', 'y'), saw('1', undefined)),
      op(3, 4, read('x', 'y'), saw(undefined, '1')),
    );
  });

  test('finds a read that goes back behind another one', () => {
    expectNot(
      op(0, 20, commit(set('x', '1')), COMMITTED),
      op(1, 2, read('x'), saw('1')),
      op(3, 4, read('x'), saw(undefined)),
    );
  });

  test('gives the prefix of the keys concerned alone', () => {
    const found = checkLinearizable([
      op(0, 1, commit(set('other', '1')), COMMITTED),
      op(0, 1, commit(set('x', '1')), COMMITTED),
      op(2, 3, read('x'), saw(undefined)),
      op(2, 9, read('x'), saw('1')),
      op(4, 5, read('x'), saw('7')),
    ]);
    expect(found).toEqual({
      verdict: 'not',
      prefix: [
        op(0, 1, commit(set('x', '1')), COMMITTED),
        op(2, 3, read('x'), saw(undefined)),
        { calledAt: 2, action: read('x') },
      ],
    });
  });

  test('says when it has met its bound, and not before', () => {
    const history = Array.from({ length: 14 }, (_, i) => op(0, 100, commit(set('x', `${i}`)), COMMITTED));
    const stale = [...history, op(101, 102, read('x'), saw('nobody'))];
    expect(checkLinearizable(stale, { maxSteps: 10_000 }).verdict).toBe('unknown');
    expect(checkLinearizable(history, { maxSteps: 14 }).verdict).toBe('linearizable');
    expect(checkLinearizable(history, { maxSteps: 13 }).verdict).toBe('unknown');
  });

  test('refuses an answer that came before its call', () => {
    expect(() => checkLinearizable([op(2, 1, read('x'), saw(undefined))])).toThrow(RangeError);
  });
});

describe('checkLinearizable() of histories with versions', () => {
  const committed = (version: number): KvAnswer => ({ kind: 'committed', version });
  const sawOne = (value: string, version: number): KvAnswer => ({ kind: 'read', entries: [{ value, version }] });
  const checked = (version: number, ...changes: KvChangeOf[]): KvAction => ({
    kind: 'commit',
    checks: [{ key: 'x', version }],
    changes,
  });

  test('learns the version of a commit that was not answered from who has read it', () => {
    const known = [op(0, 1, commit(set('x', 'a')), committed(3)), op(2, undefined, commit(set('x', 'b')))];
    expect(verdict(...known, op(3, 4, read('x'), sawOne('b', 5)))).toBe('linearizable');
    expect(verdict(...known, op(3, 4, read('x'), sawOne('b', 5)), op(5, 6, checked(5), committed(6)))).toBe(
      'linearizable',
    );
    expectNot(...known, op(3, 4, read('x'), sawOne('b', 2)));
    expectNot(...known, op(3, 4, read('x'), sawOne('b', 3)));
    expectNot(...known, op(3, 4, read('x'), sawOne('b', 5)), op(5, 6, read('x'), sawOne('b', 6)));
    expectNot(...known, op(3, 4, read('x'), sawOne('b', 5)), op(5, 6, checked(3), committed(6)));
  });

  test('tells the same value of two commits apart', () => {
    expectNot(
      op(0, 1, commit(set('x', 'a')), committed(1)),
      op(2, 3, commit(set('x', 'a')), committed(2)),
      op(4, 5, read('x'), sawOne('a', 1)),
    );
  });

  test('finds versions that do not grow, that come twice, and that do not follow time across keys', () => {
    expectNot(op(0, 1, commit(set('x', 'a')), committed(2)), op(2, 3, commit(set('x', 'b')), committed(1)));
    expectNot(op(0, 5, commit(set('x', 'a')), committed(2)), op(0, 6, commit(set('y', 'b')), committed(2)));
    expectNot(op(0, 1, commit(set('x', 'a')), committed(2)), op(2, 3, commit(set('y', 'b')), committed(1)));
    expectNot(
      op(0, 90, commit(set('x', 'a')), committed(2)),
      op(1, 2, read('x'), sawOne('a', 2)),
      op(3, 4, commit(set('y', 'b')), committed(1)),
    );
  });

  test('is quick with a long history of many clients', () => {
    const { history } = simulated(3, 4_000, 12, true, 400);
    expect(checkLinearizable(history, { maxSteps: 200_000 }).verdict).toBe('linearizable');
  });
});

/** A generator of numbers from 0 to `below`, from a seed (mulberry32, public domain). */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/**
 * Runs operations one after the other on a model of its own, each at one moment, and lets it seem that each has taken from
 * some time before that moment to some time behind it.
 */
function simulated(
  seed: number,
  length: number,
  clients: number,
  withVersions: boolean,
  oneLostIn = 20,
): { history: KvOperation[] } {
  const below = numbers(seed);
  const keys = ['x', 'y', 'z'];
  const entries = new Map<string, { value: string; version: number }>();
  const freeAt = Array.from({ length: clients }, () => 0);
  const history: KvOperation[] = [];
  let version = 0;
  for (let i = 1; i <= length; i++) {
    const now = i * 10;
    const client = below(clients);
    const since = freeAt[client] as number;
    if (since >= now) continue;
    const calledAt = Math.max(since, now - below(10 * clients));
    const answeredAt = now + below(10 * clients);
    freeAt[client] = answeredAt + 1;
    const isLost = below(oneLostIn) === 0;
    const key = keys[below(3)] as string;
    const entry = entries.get(key);
    const add_ = (action: KvAction, answer: KvAnswer): void =>
      void history.push(isLost ? op(calledAt, undefined, action) : op(calledAt, answeredAt, action, answer));
    if (below(3) === 0) {
      const seen = keys.map((one) => entries.get(one));
      add_(read(...keys), {
        kind: 'read',
        entries: seen.map((one) => one && (withVersions ? one : { value: one.value })),
      });
      continue;
    }
    if (isLost && below(2) === 0) {
      history.push(op(calledAt, undefined, commit(set(key, `${-i}`))));
      continue;
    }
    const fits = below(3) > 0;
    const check = withVersions
      ? { key, version: (entry?.version ?? 0) + (fits ? 0 : 1) }
      : { key, value: fits ? entry?.value : 'what it never was' };
    const other = keys[below(3)] as string;
    const kind = below(4);
    const changes: KvChangeOf[] =
      kind === 0 ? [{ kind: 'delete', key }] : kind === 1 ? [set(key, `${i}`), set(other, `${i}`)] : [add(other, 3n)];
    const action: KvAction = { kind: 'commit', checks: [check], changes };
    if (!fits) {
      add_(action, CONFLICT);
      continue;
    }
    version += 1 + below(2);
    for (const change of changes) {
      if (change.kind === 'delete') entries.delete(change.key);
      else if (change.kind === 'set') entries.set(change.key, { value: change.value, version });
      else {
        const sum = BigInt(entries.get(change.key)?.value ?? 0) + change.by;
        entries.set(change.key, { value: String(sum), version });
      }
    }
    add_(action, withVersions ? { kind: 'committed', version } : COMMITTED);
  }
  return { history };
}

/** Tries every order, in the words of the definition. */
function isLinearizable(history: readonly KvOperation[]): boolean {
  const tryFrom = (left: readonly KvOperation[], entries: ReadonlyMap<string, string>): boolean => {
    if (left.every(({ answer }) => answer === undefined)) return true;
    return left.some((one) => {
      const others = left.filter((other) => other !== one);
      // Nothing may be passed over that was answered before this was called.
      if (others.some(({ answer, answeredAt }) => answer !== undefined && (answeredAt as number) < one.calledAt))
        return false;
      const after = new Map(entries);
      const { action, answer } = one;
      if (action.kind === 'read') {
        const isRight =
          answer === undefined ||
          (answer.kind === 'read' && action.keys.every((key, i) => entries.get(key) === answer.entries[i]?.value));
        return isRight && tryFrom(others, after);
      }
      const holds = action.checks.every((check) => 'value' in check && entries.get(check.key) === check.value);
      if (answer?.kind === 'conflict') return !holds && tryFrom(others, after);
      if (!holds) return false;
      for (const change of action.changes) {
        if (change.kind === 'delete') after.delete(change.key);
        else if (change.kind === 'set') after.set(change.key, change.value);
        else after.set(change.key, String(BigInt(after.get(change.key) ?? 0) + change.by));
      }
      return tryFrom(others, after);
    });
  };
  return tryFrom(history, new Map());
}

describe('checkLinearizable() of random histories', () => {
  test.each([true, false])('finds an order in what has happened in one, with versions: %s', (withVersions) => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 8 }), (seed, clients) => {
        const { history } = simulated(seed, 60, clients, withVersions);
        expect(checkLinearizable(history)).toEqual({ verdict: 'linearizable' });
      }),
      { numRuns: 300 },
    );
  });

  test('agrees with a search through all orders', () => {
    const key = fc.constantFrom('x', 'y');
    const value = fc.constantFrom('0', '1', undefined);
    const action: fc.Arbitrary<KvAction> = fc.oneof(
      fc.uniqueArray(key, { minLength: 1 }).map((keys) => read(...keys)),
      fc.record({
        kind: fc.constant('commit' as const),
        checks: fc.array(fc.record({ key, value }), { maxLength: 1 }),
        changes: fc.array(
          fc.oneof(
            fc.record({ kind: fc.constant('set' as const), key, value: fc.constantFrom('0', '1') }),
            fc.record({ kind: fc.constant('delete' as const), key }),
            fc.record({ kind: fc.constant('sum' as const), key, by: fc.constant(1n) }),
          ),
          { minLength: 1, maxLength: 2 },
        ),
      }),
    );
    const operation = fc
      .tuple(
        action,
        fc.nat(8),
        fc.integer({ min: 1, max: 6 }),
        fc.nat(9),
        fc.array(value, { minLength: 2, maxLength: 2 }),
      )
      .map(([what, calledAt, ms, chance, seen]) => {
        if (chance === 0) return op(calledAt, undefined, what);
        const answer =
          what.kind === 'read' ? saw(...seen.slice(0, what.keys.length)) : chance < 4 ? CONFLICT : COMMITTED;
        return op(calledAt, calledAt + ms, what, answer);
      });
    const counts = { linearizable: 0, not: 0, unknown: 0 };
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (history) => {
        const found = checkLinearizable(history).verdict;
        counts[found] += 1;
        expect(found).toBe(isLinearizable(history) ? 'linearizable' : 'not');
      }),
      { numRuns: 4_000 },
    );
    expect(counts.linearizable).toBeGreaterThan(300);
    expect(counts.not).toBeGreaterThan(300);
    expect(counts.unknown).toBe(0);
  });

  test('sees nearly every answer that was changed by hand', () => {
    let seen = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const { history } = simulated(seed, 40, 3, true);
      const at = history.findIndex(
        ({ answer }, i) => i > 10 && answer?.kind === 'read' && answer.entries[0] !== undefined,
      );
      const one = history[at];
      if (one?.answer?.kind !== 'read') continue;
      const [first, ...others] = one.answer.entries;
      const value = `${first?.value}77`;
      const planted = history.with(at, {
        ...one,
        answer: { ...one.answer, entries: [{ ...first, value }, ...others] },
      });
      expect(checkLinearizable(planted).verdict).toBe('not');
      seen += 1;
    }
    expect(seen).toBeGreaterThan(100);
  });
});
