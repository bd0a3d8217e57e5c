import type { SimRecord } from '#holdfast/testing/sim/index.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { found, Histories, type Of, plant } from './planting.ts';

type Content = Of<'commit'>['content'];

/** Changes the first commit for which `change` gives other content. */
function plantContent(
  history: readonly SimRecord[],
  change: (content: Content) => Partial<Content> | undefined,
): SimRecord[] {
  return plant(history, 'commit', (record) => {
    const changed = change(record.content);
    return changed && { ...record, content: { ...record.content, ...changed } };
  });
}

describe('the checker', () => {
  const histories = new Histories();

  beforeAll(() => histories.simulate([1, 2, 3]), 60_000);

  test('S19: a message that is claimed while its channel is paused', async () => {
    const planted = await histories.inAny((history) =>
      plantContent(history, ({ transitions, packs, channels }) => {
        const claimed = transitions.find(({ what }) => what === 'claimed')?.seq;
        const pack = packs.find(({ items }) => items.some(({ seq }) => seq === claimed));
        if (pack === undefined || !channels.some(({ number }) => number === pack.channel)) return undefined;
        return { channels: channels.map((channel) => ({ ...channel, paused: true })) };
      }),
    );
    expect(found(planted)).toContain('S19');
  });

  test('B1: a bulk that says that it has changed more than it has', async () => {
    const planted = await histories.inAny((history) =>
      plantContent(history, ({ bulks }) => {
        const begun = bulks.some(({ changed, states }) => changed > 0 && !states.includes('leased'));
        return begun ? { bulks: bulks.map((bulk) => ({ ...bulk, changed: bulk.changed + 1 })) } : undefined;
      }),
    );
    expect(found(planted)).toContain('B1');
  });

  test('B1: a bulk that is done and has left a message as it was', async () => {
    const planted = await histories.inAny((history) =>
      plantContent(history, ({ bulks, transitions, channels }) => {
        const bulk = bulks.find(({ action, state, changed }) => action === 'retry' && state === 'done' && changed > 0);
        const keeps = channels.some(({ name, keepsDead }) => name === bulk?.channel && keepsDead === undefined);
        if (bulk === undefined || bulk.isLimited || !keeps) return undefined;
        const left = transitions.find(({ what }) => what === 'retried')?.seq;
        return {
          bulks: bulks.map((one) => (one === bulk ? { ...one, changed: one.changed - 1 } : one)),
          transitions: transitions.filter(({ seq }) => seq !== left),
        };
      }),
    );
    expect(found(planted)).toContain('B1');
  });

  test('S2: a payload that nobody has asked for', async () => {
    const planted = await histories.inAny((history) =>
      plantContent(history, ({ payloads }) =>
        payloads.length > 0 ? { payloads: payloads.map(({ seq }) => ({ seq, content: '"other"' })) } : undefined,
      ),
    );
    expect(found(planted)).toContain('S2');
  });

  test('S3: a message that is retried although it has not ended', async () => {
    const planted = await histories.inAny((history) =>
      plantContent(history, ({ transitions }) => {
        const retried = transitions.find(({ what }) => what === 'retried');
        return retried && { transitions: [...transitions, retried] };
      }),
    );
    expect(found(planted)).not.toEqual([]);
  });
});
