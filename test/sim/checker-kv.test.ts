import { checkHistory, type SimRecord } from '#holdfast/testing/sim/index.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { found, Histories, type Of, plant } from './planting.ts';

type Entry = Of<'commit'>['content']['entries'][number];
type KvSeen = NonNullable<Extract<Of<'kv.answered'>['heard'], { what: 'read' }>['entries'][number]>;

/** Changes an entry of a commit, the first for which `change` gives another; with \`undefined\` it was not written. */
function plantEntry(
  history: readonly SimRecord[],
  fits: (entry: Entry, record: Of<'commit'>, before: readonly SimRecord[]) => boolean,
  change: (entry: Entry) => Entry | undefined,
): SimRecord[] {
  return plant(history, 'commit', (record, before) => {
    const { entries } = record.content;
    const at = entries.findIndex((entry) => fits(entry, record, before));
    if (at < 0) return undefined;
    const changed = change(entries[at] as Entry);
    const others = changed === undefined ? entries.toSpliced(at, 1) : entries.with(at, changed);
    return { ...record, content: { ...record.content, entries: others } };
  });
}

/** The settle whose effects set this marker. */
function settleOf(marker: string, before: readonly SimRecord[]): Of<'settle.called'> | undefined {
  const fits = (record: SimRecord): boolean =>
    record.kind === 'settle.called' && record.effects?.mutations.some(({ key }) => key === marker) === true;
  return before.find(fits) as Of<'settle.called'> | undefined;
}

/** Whether somebody had been told of this state of a plain entry before the read was asked for. */
function isTold(entry: KvSeen | undefined, { op }: Of<'kv.answered'>, before: readonly SimRecord[]): boolean {
  const called = before.findIndex((one) => one.kind === 'kv.called' && one.op === op);
  const isSame = (other: KvSeen | undefined): boolean => other?.key === entry?.key && other?.version === entry?.version;
  return (
    entry?.key.startsWith('k/') === true &&
    before
      .slice(0, called)
      .some((one) => one.kind === 'kv.answered' && one.heard.what === 'read' && one.heard.entries.some(isSame))
  );
}

const isMarker = ({ key, stored }: Entry): boolean => key.startsWith('op/') && stored !== undefined;

/** A number that is as many higher. */
function higher(value: string, by: bigint): string {
  const bytes = Buffer.from(value.slice(2), 'hex');
  bytes.writeBigUInt64LE(bytes.readBigUInt64LE() + by);
  return `2:${bytes.toString('hex')}`;
}

describe('the checker of KV', () => {
  const histories = new Histories();
  const inAny = histories.inAny.bind(histories);

  beforeAll(() => histories.simulate([2, 5, 7, 8, 14]), 60_000);

  test('finds nothing in the histories as they are', () => {
    for (const history of histories.all) expect(checkHistory(history)).toEqual([]);
    const commits = histories.all.flat().filter((record) => record.kind === 'commit');
    expect(commits.flatMap(({ content }) => content.entries).filter(isMarker).length).toBeGreaterThan(100);
  });

  test('S6: an ack without its entries, and entries without their ack', async () => {
    const withoutEntries = await inAny((history) =>
      plant(history, 'commit', (record, before) => {
        const marker = record.content.entries.find(({ key }) => settleOf(key, before)?.outcome === 'ack');
        if (marker === undefined) return undefined;
        const entries = record.content.entries.filter(({ stored }) => stored?.version !== marker.stored?.version);
        return { ...record, content: { ...record.content, entries } };
      }),
    );
    expect(found(withoutEntries)).toContain('S6');
    const withoutAck = await inAny((history) =>
      plant(history, 'commit', (record, before) => {
        const settle = record.content.entries
          .map(({ key }) => settleOf(key, before))
          .find((one) => one?.outcome === 'ack');
        const transitions = record.content.transitions.filter(
          ({ what, seq }) => what !== 'acked' || seq !== settle?.seq,
        );
        return settle && { ...record, content: { ...record.content, transitions } };
      }),
    );
    expect(found(withoutAck)).toContain('S6');
  });

  test('S6: effects of a nack', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record, before) => {
        const nack = before.findLast(
          (one) => one.kind === 'settle.called' && one.outcome !== 'ack' && one.effects?.mutations.length === 1,
        );
        if (nack?.kind !== 'settle.called' || record.content.entries.length > 0) return undefined;
        const key = nack.effects?.mutations[0]?.key as string;
        const stored = { value: '1:ff0f4900', version: 1e9, expiresAt: 0 };
        return { ...record, content: { ...record.content, entries: [{ key, stored }] } };
      }),
    );
    expect(found(planted)).toContain('S6');
  });

  test('S6: effects of a settle that was refused', async () => {
    const planted = await inAny((history) =>
      plant(history, 'settle.answered', (record, before) => {
        const called = before.findLast((one) => one.kind === 'settle.called' && one.token === record.token);
        const hasEffects = called?.kind === 'settle.called' && called.outcome === 'ack' && called.effects !== undefined;
        const isMarked = hasEffects && called.effects?.mutations.some(({ key }) => key.startsWith('op/')) === true;
        return isMarked && record.held === true ? { ...record, held: false } : undefined;
      }),
    );
    expect(found(planted)).toContain('S6');
  });

  test('S6: a message of a commit that is there without its entries', async () => {
    const planted = await inAny((history) => {
      const along = new Set(
        history.flatMap((one) =>
          one.kind === 'produce.called' && one.withMarker !== undefined ? [one.withMarker] : [],
        ),
      );
      // It is as if the message had come with another commit.
      const isProduced = (marker: string): boolean =>
        history.some((one) => one.kind === 'commit' && one.content.entries.some(({ key }) => key === marker));
      return plant(history, 'produce.called', (record) =>
        record.withMarker !== undefined && along.has(record.withMarker) && isProduced(record.withMarker)
          ? { ...record, withMarker: 'op/another/' }
          : undefined,
      );
    });
    expect(found(planted)).toContain('S6');
  });

  test('S8: a commit that is applied twice', async () => {
    const planted = await inAny((history) => {
      const first = history.find((one) => one.kind === 'commit' && one.content.entries.some(isMarker)) as Of<'commit'>;
      const marker = first?.content.entries.find(isMarker) as Entry;
      return plant(history, 'commit', (record, before) => {
        const isLater = before.includes(first) && record.content.entries.every(({ key }) => key !== marker.key);
        const entries = [...record.content.entries, marker];
        return isLater ? { ...record, content: { ...record.content, entries } } : undefined;
      });
    });
    expect(found(planted)).toContain('S8');
  });

  test('S16: half of a commit', async () => {
    const planted = await inAny((history) =>
      plantEntry(
        history,
        ({ key, stored }, { content }) =>
          /^[kce]\//.test(key) &&
          content.entries.some((other) => isMarker(other) && other.stored?.version === stored?.version),
        () => undefined,
      ),
    );
    expect(found(planted)).toContain('S16');
  });

  test('S16: a sum that is lost, and one that counts twice', async () => {
    const isSum = ({ key, stored }: Entry, _: Of<'commit'>, before: readonly SimRecord[]): boolean =>
      key.startsWith('c/') &&
      stored !== undefined &&
      before.some((one) => one.kind === 'commit' && one.content.entries.some((other) => other.key === key));
    for (const by of [-1n, 1n]) {
      const planted = await inAny((history) =>
        plantEntry(history, isSum, ({ key, stored }) => ({
          key,
          stored: stored && { ...stored, value: higher(stored.value, by) },
        })),
      );
      expect(found(planted)).toContain('S16');
    }
  });

  test('S16: a check that did not hold', async () => {
    const planted = await inAny((history) =>
      plant(history, 'kv.called', (record) => {
        const { asked } = record;
        if (asked.what !== 'commit' || asked.checks.length === 0) return undefined;
        const isThere = asked.mutations.some(({ key }) =>
          history.some(
            (one) => one.kind === 'commit' && one.content.entries.some((entry) => entry.key === key && isMarker(entry)),
          ),
        );
        const checks = asked.checks.map(({ key, version }) => ({ key, version: version + 1 }));
        return isThere ? { ...record, asked: { ...asked, checks } } : undefined;
      }),
    );
    expect(found(planted)).toContain('S16');
  });

  test('S16: a version that does not grow, and one that two commits have', async () => {
    for (const back of [true, false]) {
      const planted = await inAny((history) => {
        const markers = history.flatMap((one) => (one.kind === 'commit' ? one.content.entries : [])).filter(isMarker);
        const [first, second] = [markers[0], markers[1]];
        if (first === undefined || second === undefined) throw new Error('no commits fit');
        const to = (first.stored?.version ?? 0) - (back ? 1 : 0);
        return history.map((record) => {
          if (record.kind !== 'commit') return record;
          const entries = record.content.entries.map(({ key, stored }) =>
            stored?.version === second.stored?.version && stored !== undefined
              ? { key, stored: { ...stored, version: to } }
              : { key, stored },
          );
          return { ...record, content: { ...record.content, entries } };
        });
      });
      expect(found(planted)).toContain('S16');
    }
  });

  test('S16: a client that is told another version, or of a conflict, while its commit is there', async () => {
    const answered = (change: (version: number) => Of<'kv.answered'>['heard']): Promise<SimRecord[]> =>
      inAny((history) =>
        plant(history, 'kv.answered', (record, before) => {
          const called = before.find((one) => one.kind === 'kv.called' && one.op === record.op) as Of<'kv.called'>;
          const isMarked = called.asked.what === 'commit' && called.asked.mutations.length > 0;
          const { heard } = record;
          return isMarked && heard.what === 'committed' ? { ...record, heard: change(heard.version) } : undefined;
        }),
      );
    expect(found(await answered((version) => ({ what: 'committed', version: version + 1 })))).toContain('S16');
    expect(found(await answered(() => ({ what: 'conflict' })))).toContain('S16');
  });

  test('S16: a read that is stale, one that is ahead of the store, and one of two moments', async () => {
    const seen = (change: (version: number) => number): Promise<SimRecord[]> =>
      inAny((history) =>
        plant(history, 'kv.answered', (record, before) => {
          const { heard } = record;
          const at = heard.what === 'read' ? heard.entries.findIndex((entry) => isTold(entry, record, before)) : -1;
          const entry = heard.what === 'read' ? heard.entries[at] : undefined;
          if (heard.what !== 'read' || entry === undefined) return undefined;
          const entries = heard.entries.with(at, { ...entry, version: change(entry.version) });
          return { ...record, heard: { ...heard, entries } };
        }),
      );
    expect(found(await seen((version) => version - 1))).toContain('S16');
    expect(found(await seen(() => 1e9))).toContain('S16');
    const vanished = await inAny((history) =>
      plant(history, 'kv.answered', (record, before) => {
        const { heard } = record;
        const at = heard.what === 'read' ? heard.entries.findIndex((entry) => isTold(entry, record, before)) : -1;
        if (heard.what !== 'read' || at < 0) return undefined;
        return { ...record, heard: { ...heard, entries: heard.entries.with(at, undefined) } };
      }),
    );
    expect(found(vanished)).toContain('S16');
  });

  test('S16: a range that leaves something out', async () => {
    const planted = await inAny((history) =>
      plant(history, 'kv.answered', (record) => {
        const { heard } = record;
        const [page] = heard.what === 'read' ? heard.pages : [];
        if (
          heard.what !== 'read' ||
          page === undefined ||
          !page.isEnd ||
          !page.entries[0]?.key.startsWith('k') === true
        )
          return undefined;
        return { ...record, heard: { ...heard, pages: [{ ...page, entries: page.entries.slice(1) }] } };
      }),
    );
    expect(found(planted)).toContain('S16');
  });

  test('S16: an entry that is shown when it has expired', async () => {
    const planted = await inAny((history) => {
      // As if it had been over long before.
      const read = history.find(
        (one) =>
          one.kind === 'kv.answered' &&
          one.heard.what === 'read' &&
          one.heard.entries.some((entry) => entry?.key.startsWith('e') === true),
      );
      if (read?.kind !== 'kv.answered' || read.heard.what !== 'read') throw new Error('no read fits');
      const entry = read.heard.entries.find((one) => one?.key.startsWith('e') === true);
      return history
        .map((record) => {
          if (record.kind !== 'kv.called' || record.asked.what !== 'commit') return record;
          const mutations = record.asked.mutations.map((mutation) =>
            mutation.key === entry?.key && mutation.kind === 'set' ? { ...mutation, expireInMs: 0 } : mutation,
          );
          return { ...record, asked: { ...record.asked, mutations } };
        })
        .map((record) => {
          if (record.kind !== 'commit') return record;
          const { now } = record.content;
          const entries = record.content.entries.map(({ key, stored }) =>
            key === entry?.key && stored !== undefined
              ? { key, stored: { ...stored, expiresAt: Math.ceil(now) } }
              : { key, stored },
          );
          return { ...record, content: { ...record.content, entries } };
        });
    });
    expect(found(planted)).toContain('S16');
  });

  /**
   * An entry whose time is over by the clock of the leader, and not by the time of its last commit, when a read of it is asked
   * for; up to the answer. @param meanwhile what happens between the two
   */
  function withReadOfExpired(history: readonly SimRecord[], meanwhile: readonly SimRecord[]): SimRecord[] {
    for (const [end, read] of history.entries()) {
      if (read.kind !== 'kv.answered' || read.heard.what !== 'read') continue;
      const entry = read.heard.entries.find((one) => one?.key.startsWith('e') === true);
      const called = history.findIndex((one) => one.kind === 'kv.called' && one.op === read.op);
      const last = history.slice(0, called).findLast(({ kind }) => kind === 'commit' || kind === 'acquired');
      const isLater = last !== undefined && (history[called]?.at ?? 0) - last.at >= 4;
      if (entry === undefined || last?.kind !== 'commit' || !isLater) continue;
      const since = history.slice(history.indexOf(last), called);
      // Another read of it would come too late as well.
      if (since.some((one) => one.kind === 'kv.answered' && hears(one, entry.key))) continue;
      const expiring = withExpiry(history.slice(0, end + 1), entry, Math.ceil(last.content.now) + 1);
      return expiring.toSpliced(called + 1, 0, ...meanwhile);
    }
    throw new Error('no read fits');
  }

  function hears({ heard }: Of<'kv.answered'>, key: string): boolean {
    return heard.what === 'read' && heard.entries.some((one) => one?.key === key);
  }

  /** The history as if an entry of this version had been set with this end, and earlier ones with the same time. */
  function withExpiry(history: readonly SimRecord[], { key, version }: KvSeen, expiresAt: number): SimRecord[] {
    const isIt = (entry: Entry): boolean => entry.key === key && entry.stored?.version === version;
    const written = history.find((one) => one.kind === 'commit' && one.content.entries.some(isIt)) as Of<'commit'>;
    const expireInMs = expiresAt - 0.5 - written.content.now;
    return history.map((record): SimRecord => {
      if (record.kind === 'kv.called' && record.asked.what === 'commit') {
        const mutations = record.asked.mutations.map((one) =>
          one.key === key && one.kind === 'set' ? { ...one, expireInMs } : one,
        );
        return { ...record, asked: { ...record.asked, mutations } };
      }
      if (record.kind !== 'commit') return record;
      const entries = record.content.entries.map((entry) =>
        entry.key === key && entry.stored !== undefined
          ? { key, stored: { ...entry.stored, expiresAt: Math.ceil(record.content.now + expireInMs) } }
          : entry,
      );
      return { ...record, content: { ...record.content, entries } };
    });
  }

  test('S16: time goes on under a leader, and stands still while nobody leads', async () => {
    expect(found(await inAny((history) => withReadOfExpired(history, [])))).toContain('S16');
    const takeover = await inAny((history) => {
      const { at } = history[0] as SimRecord;
      return withReadOfExpired(history, [{ kind: 'acquired', at, host: 'another', epoch: 1_000, nonce: 'another' }]);
    });
    expect(found(takeover)).not.toContain('S16');
  });

  test('S16: an entry that goes before it has expired', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record, before) => {
        const known = before.findLast(
          (one) =>
            one.kind === 'commit' &&
            one.content.entries.some(({ key, stored }) => key.startsWith('k') && stored !== undefined),
        );
        const key =
          known?.kind === 'commit' ? known.content.entries.find((one) => one.key.startsWith('k'))?.key : undefined;
        if (key === undefined || record.content.entries.length > 0) return undefined;
        return { ...record, content: { ...record.content, entries: [{ key, stored: undefined }] } };
      }),
    );
    expect(found(planted)).toContain('S16');
  });

  test('S16: a message that dies without its keys, and keys without a death', async () => {
    const isUndelivered = ({ key }: Entry): boolean => key.startsWith('undelivered/');
    const without = await inAny((history) => plantEntry(history, isUndelivered, () => undefined));
    expect(found(without)).toContain('S16');
    const other = await inAny((history) =>
      plantEntry(history, isUndelivered, ({ key, stored }) => ({
        key,
        stored: stored && { ...stored, value: '3:0500000000' },
      })),
    );
    expect(found(other)).toContain('S16');
    const alive = await inAny((history) =>
      plant(history, 'commit', (record) => {
        const isDeath = record.content.entries.some(isUndelivered);
        const transitions = record.content.transitions.filter(({ what }) => what !== 'failed' && what !== 'expired');
        return isDeath ? { ...record, content: { ...record.content, transitions } } : undefined;
      }),
    );
    expect(found(alive)).toContain('S16');
  });

  test('S16: answers that no order explains', async () => {
    // Whoever checks nothing has no reason to meet a conflict.
    const planted = await inAny((history) =>
      plant(history, 'kv.called', (record) => {
        const answer = history.find((one) => one.kind === 'kv.answered' && one.op === record.op);
        const isConflict = answer?.kind === 'kv.answered' && answer.heard.what === 'conflict';
        return isConflict && record.asked.what === 'commit'
          ? { ...record, asked: { ...record.asked, checks: [] } }
          : undefined;
      }),
    );
    expect(checkHistory(planted)).toMatchObject([{ id: 'S16', found: expect.stringContaining('no order explains') }]);
  });

  test('S17: somebody who watches and does not see the last change', async () => {
    const planted = await inAny((history) => {
      const at = history.findLastIndex(({ kind }) => kind === 'watching');
      const record = history[at];
      if (record?.kind !== 'watching') throw new Error('nobody watches');
      const watchers = record.watchers.map((one) => ({
        ...one,
        sinceMs: 0,
        entries: one.entries.map(({ key, version }) =>
          key.startsWith('k/') ? { key, version: version - 1 } : { key, version },
        ),
      }));
      return history.toSpliced(at + 1, 0, { ...record, at: record.at + 9_000, watchers });
    });
    expect(found(planted)).toContain('S17');
  });
});
