import { checkHistory, type SimRecord } from '#holdfast/testing/sim/index.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { found, Histories, type Of, plant } from './planting.ts';

type Content = Of<'commit'>['content'];
type Stored = NonNullable<Content['schedules'][number]['stored']>;

const isTick = ({ schedule }: Content['packs'][number]['items'][number]): boolean => schedule?.manual === false;

/** Changes a commit in which a schedule has ticked, the first for which `change` gives another content. */
function plantTick(
  history: readonly SimRecord[],
  change: (content: Content, before: readonly SimRecord[]) => Partial<Content> | undefined,
): SimRecord[] {
  return plant(history, 'commit', (record, before) => {
    const { content } = record;
    if (!content.packs.some(({ items }) => items.some(isTick))) return undefined;
    const changed = change(content, before);
    return changed && { ...record, content: { ...content, ...changed } };
  });
}

/** Whether the last tick of a schedule is in this commit. */
function comes({ packs }: Content, { key, lastAt }: Stored): boolean {
  const isLast = (item: Content['packs'][number]['items'][number]): boolean =>
    isTick(item) && item.schedule?.key === key && item.schedule.at === lastAt;
  return packs.some(({ items }) => items.some(isLast));
}

/** The schedules of a commit, with another record for those that `change` gives one for. */
function withStored(content: Content, change: (stored: Stored) => Stored | undefined): Partial<Content> | undefined {
  const schedules = content.schedules.map(({ number, stored }) => ({
    number,
    stored: (stored && change(stored)) ?? stored,
  }));
  return schedules.every(({ stored }, i) => stored === content.schedules[i]?.stored) ? undefined : { schedules };
}

describe('the checker of schedules', () => {
  const histories = new Histories();
  const inAny = histories.inAny.bind(histories);

  beforeAll(() => histories.simulate([3, 24, 30]), 60_000);

  test('finds nothing in the histories as they are', () => {
    for (const history of histories.all) expect(checkHistory(history)).toEqual([]);
    const commits = histories.all.flat().filter((record) => record.kind === 'commit');
    const ticks = commits.flatMap(({ content }) => content.packs.flatMap(({ items }) => items.filter(isTick)));
    expect(ticks.length).toBeGreaterThan(20);
  });

  test('S15: a tick that comes twice', async () => {
    const planted = await inAny((history) => {
      const first = history.find(
        (one) => one.kind === 'commit' && one.content.packs.some(({ items }) => items.some(isTick)),
      ) as Of<'commit'>;
      return plantTick(history, ({ packs }, before) =>
        before.includes(first) ? { packs: [...packs, ...first.content.packs] } : undefined,
      );
    });
    expect(found(planted)).toContain('S15');
  });

  test('S15: a tick without its message, and one without its record', async () => {
    const withoutMessage = await inAny((history) =>
      plantTick(history, ({ packs }) => ({
        packs: packs.map((pack) => ({ ...pack, items: pack.items.filter((item) => !isTick(item)) })),
      })),
    );
    expect(found(withoutMessage)).toContain('S15');
    const withoutRecord = await inAny((history) => plantTick(history, () => ({ schedules: [] })));
    expect(found(withoutRecord)).toContain('S15');
  });

  test('S15: a tick of another time, of no schedule, or with another message', async () => {
    const items = (change: (item: Content['packs'][number]['items'][number]) => object): Promise<SimRecord[]> =>
      inAny((history) =>
        plantTick(history, ({ packs }) => ({
          packs: packs.map((pack) => ({
            ...pack,
            items: pack.items.map((item) => (isTick(item) ? { ...item, ...change(item) } : item)),
          })),
        })),
      );
    const tick = { key: 'tick 1', at: 1_700_000_000_001, manual: false };
    expect(found(await items(() => ({ schedule: tick })))).toContain('S15');
    expect(found(await items(({ schedule }) => ({ schedule: schedule && { ...schedule, key: 'x' } })))).toContain(
      'S15',
    );
    expect(found(await items(() => ({ content: '{}' })))).toContain('S15');
    const otherRule = await inAny((history) =>
      plantTick(history, (content) =>
        withStored(content, (stored) =>
          'everyMs' in stored.settings.rule && comes(content, stored) && stored.lastAt !== stored.anchorAt
            ? { ...stored, settings: { ...stored.settings, rule: { everyMs: stored.settings.rule.everyMs * 3 + 1 } } }
            : undefined,
        ),
      ),
    );
    expect(found(otherRule)).toContain('S15');
  });

  test('S15: a tick that is too early, or beyond the end or the limit', async () => {
    const early = await inAny((history) =>
      plantTick(history, (content) =>
        content.schedules.some(({ stored }) => stored !== undefined && 'everyMs' in stored.settings.rule)
          ? { now: content.now - 3_600_000 }
          : undefined,
      ),
    );
    expect(found(early)).toContain('S15');
    const beyond = (bound: 'endAt' | 'limit'): Promise<SimRecord[]> =>
      inAny((history) =>
        plantTick(history, (content) =>
          withStored(content, (stored) =>
            stored.ticks > 0 ? { ...stored, settings: { ...stored.settings, [bound]: 0 } } : undefined,
          ),
        ),
      );
    expect(found(await beyond('endAt'))).toContain('S15');
    expect(found(await beyond('limit'))).toContain('S15');
  });

  test('S15: a tick that is left out, and a next one that has been', async () => {
    const leftOut = await inAny((history) => {
      const planted = plant(history, 'commit', (record) => {
        const changed = withStored(record.content, (stored) => {
          const { settings, nextAt } = stored;
          const { rule, missed, overlap } = settings;
          // One that ticks again later, for it is then that it shows.
          const ticks = history.some(
            (one) =>
              one.kind === 'commit' &&
              one.content.schedules.some((other) => other.number === stored.number && other.stored?.lastAt === nextAt),
          );
          if (!('everyMs' in rule) || missed !== 'all' || overlap === 'skip' || nextAt === 0 || !ticks)
            return undefined;
          return { ...stored, nextAt: nextAt - rule.everyMs };
        });
        return changed && { ...record, content: { ...record.content, ...changed } };
      });
      if (!found(planted).includes('S15')) throw new Error('no commit fits');
      return planted;
    });
    expect(found(leftOut)).toContain('S15');
    const again = await inAny((history) =>
      plantTick(history, (content) =>
        withStored(content, (stored) => (stored.lastAt === 0 ? undefined : { ...stored, nextAt: stored.lastAt })),
      ),
    );
    expect(found(again)).toContain('S15');
  });

  test('S15: a tick that does not come, while a leader runs', async () => {
    const planted = await inAny((history) => {
      const at = history.findIndex(
        (one) =>
          one.kind === 'commit' &&
          one.content.schedules.some(
            ({ stored }) => stored !== undefined && stored.nextAt !== 0 && !stored.isPaused && stored.lastSeq === 0,
          ),
      );
      const commit = history[at] as Of<'commit'>;
      const hour = 3_600_000;
      const looked = {
        kind: 'looked',
        at: commit.at + hour,
        wall: commit.wall + hour,
        quietSince: commit.at,
        leaderRuns: true,
        hasRoom: true,
        unserved: [],
      } as const;
      return history.toSpliced(at + 1, 0, looked);
    });
    expect(found(planted)).toContain('S15');
  });

  test('S15: a schedule that was acknowledged and is not there', async () => {
    const planted = await inAny((history) =>
      plant(history, 'manage.answered', (record) =>
        record.action === 'upsert schedule' && record.outcome === 'done' ? { ...record, id: 'another' } : undefined,
      ),
    );
    expect(found(planted)).toContain('S15');
  });
});
