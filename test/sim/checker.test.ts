import { checkHistory, type SimRecord } from '#holdfast/testing/sim/index.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { found, Histories, type Of, plant } from './planting.ts';

type Content = Of<'commit'>['content'];
type Transitions = Content['transitions'];

/** Changes the transitions of the first commit for which `change` gives others. */
function plantInCommit(
  history: readonly SimRecord[],
  change: (transitions: Transitions) => Transitions | undefined,
): SimRecord[] {
  return plant(history, 'commit', (record) => {
    const transitions = change(record.content.transitions);
    return transitions && { ...record, content: { ...record.content, transitions } };
  });
}

const NOTHING: Omit<Content, 'now' | 'brokerHost'> = {
  transitions: [],
  packs: [],
  published: [],
  topicStates: [],
  erasedPacks: [],
  sparsePacks: [],
  pages: [],
  delayed: [],
  ends: [],
  channels: [],
  groups: [],
  policies: [],
  sessions: [],
  endedSessions: [],
  entries: [],
  schedules: [],
  templates: [],
  minutes: [],
  clearedMinutes: [],
  usage: [],
  payloads: [],
  bulks: [],
};

const NOT_HELD: Pick<Content['groups'][number], 'paused' | 'heldUntil'> = { paused: false, heldUntil: 0 };

/** What holds for each channel, as of these records. */
function settingsBefore(history: readonly SimRecord[]): Map<number, Content['channels'][number]['settings']> {
  const commits = history.flatMap((record) => (record.kind === 'commit' ? record.content.channels : []));
  return new Map(commits.map(({ number, settings }) => [number, settings]));
}

/** Whether a channel may hold back what it has. */
function isLimited({ settings, heldUntil }: Content['channels'][number]): boolean {
  return settings.concurrency !== 0 || settings.rate !== null || heldUntil !== 0;
}

function groupMembers({ messages }: Content['pages'][number]): Content['pages'][number]['messages'] {
  return messages.filter(({ group, state }) => group !== '' && state === 'ready');
}

function isClaimedBefore(seq: number, history: readonly SimRecord[]): boolean {
  return history.some(
    (record) =>
      record.kind === 'commit' && record.content.transitions.some((one) => one.what === 'claimed' && one.seq === seq),
  );
}

/** Whether a commit keeps the answer that came later. */
function isKeptIn(one: SimRecord, { session, request }: Of<'replied'>): boolean {
  if (one.kind !== 'commit') return false;
  const own = one.content.sessions.filter(({ id }) => id === session);
  return own.some(({ answers }) => answers.some(([kept]) => kept === request));
}

/** Takes a lease away that was held to the end: as soon as its handler runs, or behind a takeover in the midst of that. */
function loseOne(history: readonly SimRecord[], when: 'at once' | 'behind a takeover'): SimRecord[] {
  for (const [i, started] of history.entries()) {
    if (started.kind !== 'handler.started') continue;
    const { token } = started;
    const called = history.findIndex((one) => one.kind === 'settle.called' && one.token === token);
    const settle = history[called];
    const isHeld = history.some((one) => one.kind === 'settle.answered' && one.token === token && one.held === true);
    const isTaken = (one: SimRecord, at: number): boolean => one.kind === 'acquired' && at > i && at < called;
    const at = when === 'at once' ? i : history.findIndex(isTaken);
    const leader = history.slice(0, at + 1).findLast(({ kind }) => kind === 'acquired');
    const last = history.slice(0, at + 1).findLast(({ kind }) => kind === 'commit');
    if (settle?.kind !== 'settle.called' || !isHeld || leader?.kind !== 'acquired' || last?.kind !== 'commit') continue;
    const lost = { what: 'leaseLost', seq: settle.seq, attempt: 1, session: 0 } as const;
    const content = { ...last.content, ...NOTHING, transitions: [lost] };
    const { host, nonce } = leader;
    return history.toSpliced(at + 1, 0, { ...last, at: (history[at] as SimRecord).at, host, nonce, content });
  }
  throw new Error('Cannot plant a violation: no lease fits');
}

describe('the checker', () => {
  const histories = new Histories();
  const inAny = histories.inAny.bind(histories);

  beforeAll(() => histories.simulate([1, 2, 4, 7, 12]), 60_000);

  test('finds nothing in the histories as they are', () => {
    for (const history of histories.all) expect(checkHistory(history)).toEqual([]);
  });

  test('S1: an acknowledged message that is not in the store', async () => {
    const planted = await inAny((history) =>
      plant(history, 'produce.answered', (record) =>
        record.receipts.length > 0 ? { ...record, receipts: [{ id: 'lost', deduplicated: false }] } : undefined,
      ),
    );
    expect(found(planted)).toContain('S1');
  });

  test('S2: a handler that gets other content', async () => {
    const planted = await inAny((history) =>
      plant(history, 'handler.started', (record) => ({ ...record, content: 'other' })),
    );
    expect(found(planted)).toContain('S2');
  });

  test('S1: a request that is told that its message is not kept, while it is alive', async () => {
    const planted = await inAny((history) =>
      plant(history, 'produce.answered', (record) =>
        record.receipts.some(({ deduplicated }) => !deduplicated)
          ? { ...record, outcome: 'unknown', code: 'NOT_FOUND', receipts: [] }
          : undefined,
      ),
    );
    expect(found(planted)).toEqual(['S1']);
  });

  test('S2: a request that gets what no handler of its message returned', async () => {
    const planted = await inAny((history) =>
      plant(history, 'result', (record) => ({ ...record, result: '{"answer":-9}' })),
    );
    expect(found(planted)).toEqual(['S2']);
  });

  test('S2: a message that is shown with a result that is not its own', async () => {
    const planted = await inAny((history) =>
      plant(history, 'inspected', (record) =>
        record.kept.some(({ state }) => state === 'completed')
          ? { ...record, kept: record.kept.map((one) => ({ ...one, result: '{"answer":-9}' })) }
          : undefined,
      ),
    );
    expect(found(planted)).toEqual(['S2']);
  });

  test('S3: a message that ends twice', async () => {
    const planted = await inAny((history) =>
      plantInCommit(history, (all) => {
        const ack = all.find(({ what }) => what === 'acked');
        return ack && [...all, ack];
      }),
    );
    expect(found(planted)).toContain('S3');
  });

  test('S4: a message that is claimed while it is leased', async () => {
    const planted = await inAny((history) =>
      plantInCommit(history, (all) => {
        const claim = all.find(({ what }) => what === 'claimed');
        return claim && [...all, claim];
      }),
    );
    expect(found(planted)).toContain('S4');
  });

  test('S4: a handler that is started twice for one token', async () => {
    const planted = await inAny((history) => {
      const started = history.findIndex(({ kind }) => kind === 'handler.started');
      return history.toSpliced(started, 0, history[started] as SimRecord);
    });
    expect(found(planted)).toContain('S4');
  });

  test('S5: an ack that is accepted and has no effect', async () => {
    const planted = await inAny((history) =>
      plantInCommit(history, (all) =>
        all.some(({ what }) => what === 'acked') ? all.filter(({ what }) => what !== 'acked') : undefined,
      ),
    );
    expect(found(planted)).toContain('S5');
  });

  test('S6: an ack without the messages that come with it', async () => {
    const planted = await inAny((history) => {
      const effects = new Set(
        history.flatMap((record) =>
          record.kind === 'produce.called' && record.withToken !== undefined ? record.messages.map(({ id }) => id) : [],
        ),
      );
      return plant(history, 'commit', (record) => {
        const seqs = record.content.packs
          .flatMap(({ items }) => items)
          .filter(({ id }) => effects.has(id))
          .map(({ seq }) => seq);
        if (seqs.length === 0) return undefined;
        return {
          ...record,
          content: {
            ...record.content,
            transitions: record.content.transitions.filter(({ seq }) => !seqs.includes(seq)),
          },
        };
      });
    });
    expect(found(planted)).toContain('S6');
  });

  test('S7: a deduplicated produce that is answered with a message of another key', async () => {
    const planted = await inAny((history) => {
      const any = history.find(
        (record) => record.kind === 'produce.answered' && record.receipts.some(({ deduplicated }) => !deduplicated),
      );
      const { id } = (any as Of<'produce.answered'>).receipts[0] as { id: string };
      return plant(history, 'produce.answered', (record) =>
        record !== any && record.receipts.some(({ deduplicated }) => deduplicated)
          ? { ...record, receipts: record.receipts.map(({ deduplicated }) => ({ id, deduplicated })) }
          : undefined,
      );
    });
    expect(found(planted)).toContain('S7');
  });

  test('S8: a refused message that is in the store', async () => {
    const planted = await inAny((history) =>
      plant(history, 'produce.answered', (record) =>
        record.receipts.some(({ deduplicated }) => !deduplicated)
          ? { ...record, outcome: 'rejected', code: 'BACKLOG_FULL', receipts: [] }
          : undefined,
      ),
    );
    expect(found(planted)).toContain('S8');
  });

  test('S9: a message of a group that is claimed while another one has begun', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record, before) => {
        const settings = settingsBefore(before);
        const { transitions, pages } = record.content;
        const claim = transitions.find(({ what }) => what === 'claimed');
        const live = pages.flatMap(({ messages }) => messages).find(({ seq }) => seq === claim?.seq);
        if (claim === undefined || live === undefined || live.group === '' || live.alone) return undefined;
        if (settings.get(live.channel)?.groups.ordered !== true) return undefined;
        const others = before.flatMap((one) => (one.kind === 'commit' ? one.content.pages : [])).flatMap(groupMembers);
        const waits = others.findLast(
          ({ seq, channel, group }) => seq !== live.seq && channel === live.channel && group === live.group,
        );
        if (waits === undefined) return undefined;
        const claims = [{ ...claim, seq: waits.seq }, claim];
        return {
          ...record,
          content: { ...record.content, transitions: [...claims, ...transitions.filter((one) => one !== claim)] },
        };
      }),
    );
    expect(found(planted)).toContain('S9');
  });

  test('S9: a message of a group that is claimed before one that stands before it', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record, before) => {
        const { transitions, pages } = record.content;
        const claims = transitions.filter(({ what }) => what === 'claimed').map(({ seq }) => seq);
        const settings = settingsBefore(before);
        const page = pages.find(({ messages }) =>
          messages.some(
            ({ seq, alone, group, channel, state }) =>
              claims.includes(seq) &&
              !alone &&
              group !== '' &&
              state === 'leased' &&
              settings.get(channel)?.groups.ordered === true,
          ),
        );
        const message = page?.messages.find(({ seq, group }) => claims.includes(seq) && group !== '');
        if (page === undefined || message === undefined || isClaimedBefore(message.seq, before)) return undefined;
        const first = { ...message, seq: -1, state: 'ready' as const, order: message.order - 1 };
        const changed = pages.map((one) => (one === page ? { ...one, messages: [...one.messages, first] } : one));
        return { ...record, content: { ...record.content, pages: changed } };
      }),
    );
    expect(found(planted)).toContain('S9');
  });

  test('S12: a channel, and a group, that lets through more than its rate allows', async () => {
    for (const of of ['channel', 'group'] as const) {
      const planted = await inAny((history) => {
        const planted = history.map((record): SimRecord => {
          if (record.kind !== 'commit') return record;
          const { channels } = record.content;
          const rate = { kind: 'window', count: 1, perMs: 1e9 } as const;
          const changed = channels.map((channel) => ({
            ...channel,
            settings: {
              ...channel.settings,
              ...(of === 'channel' ? { rate } : { groups: { ...channel.settings.groups, rate } }),
            },
          }));
          return { ...record, content: { ...record.content, channels: changed } };
        });
        if (!found(planted).includes('S12')) throw new Error('Nothing of this history is claimed beside another');
        return planted;
      });
      expect(found(planted)).toContain('S12');
    }
  });

  test('S13: a channel, and a group, of which more is leased than its limit allows', async () => {
    for (const of of ['channel', 'group'] as const) {
      const planted = await inAny((history) => {
        const planted = history.map((record): SimRecord => {
          if (record.kind !== 'commit') return record;
          const channels = record.content.channels.map((channel) => ({
            ...channel,
            settings: {
              ...channel.settings,
              ...(of === 'channel' ? { concurrency: 1 } : { groups: { ...channel.settings.groups, concurrency: 1 } }),
            },
          }));
          // All messages are of one group.
          const packs = record.content.packs.map((pack) => ({
            ...pack,
            items: pack.items.map((item) => ({ ...item, group: of === 'group' ? 'same' : item.group })),
          }));
          return { ...record, content: { ...record.content, channels, packs } };
        });
        if (!found(planted).includes('S13')) throw new Error('Nothing of this history is handled beside another');
        return planted;
      });
      expect(found(planted)).toContain('S13');
    }
  });

  test('S19: a channel, and a group, that hands out something while it is paused or held back', async () => {
    for (const [of, change] of [
      ['channel', { paused: true }],
      ['channel', { heldUntil: 1e15 }],
      ['group', { paused: true, heldUntil: 0 }],
      ['group', { paused: false, heldUntil: 1e15 }],
    ] as const) {
      const planted = await inAny((history) => {
        // Of a message that is claimed in a commit in which nothing else is said of its channel and its group.
        const at = history.findIndex((record, i) => {
          if (record.kind !== 'commit') return false;
          const { transitions, channels, groups, pages } = record.content;
          const live = pages.flatMap(({ messages }) => messages);
          return transitions.some(({ what, seq }) => {
            const message = live.find((one) => one.seq === seq);
            const isQuiet = of === 'group' || !channels.some(({ number }) => number === message?.channel);
            if (what !== 'claimed' || message === undefined || !isQuiet || groups.length > 0) return false;
            if (message.state !== 'leased' || (of === 'group' && message.group === '')) return false;
            return history
              .slice(0, i)
              .some(
                (one) => one.kind === 'commit' && one.content.channels.some(({ number }) => number === message.channel),
              );
          });
        });
        const record = history[at];
        if (record?.kind !== 'commit') throw new Error('No commit fits');
        const live = record.content.pages.flatMap(({ messages }) => messages);
        const { channel: number, group: key } = live.find(
          ({ seq, group }) =>
            (of === 'channel' || group !== '') &&
            record.content.transitions.some((one) => one.what === 'claimed' && one.seq === seq),
        ) as (typeof live)[number];
        const known = history
          .slice(0, at)
          .flatMap((one) => (one.kind === 'commit' ? one.content.channels : []))
          .findLast((one) => one.number === number) as Content['channels'][number];
        const said =
          of === 'channel'
            ? { channels: [{ ...known, ...change }] }
            : { groups: [{ channel: number, key, ...NOT_HELD, ...change }] };
        const content = { ...record.content, ...NOTHING, ...said };
        return history.toSpliced(at, 0, { ...record, content });
      });
      expect(found(planted)).toContain('S19');
    }
  });

  test('S10: a message that is claimed before another one', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record) => {
        const { pages, transitions } = record.content;
        const claim = transitions.find(({ what }) => what === 'claimed');
        const page = pages.find(({ messages }) =>
          messages.some(({ seq, alone, group }) => seq === claim?.seq && !alone && group === ''),
        );
        const message = page?.messages.find(({ seq }) => seq === claim?.seq);
        if (page === undefined || message === undefined) return undefined;
        const before = { ...message, seq: -1, state: 'ready' as const, order: message.order - 1 };
        const changed = pages.map((one) => (one === page ? { ...one, messages: [...one.messages, before] } : one));
        return { ...record, content: { ...record.content, pages: changed } };
      }),
    );
    expect(found(planted)).toContain('S10');
  });

  test('S11: a message that starts before its delay is over', async () => {
    const planted = await inAny((history) =>
      history.map((record) => {
        if (record.kind !== 'commit') return record;
        const packs = record.content.packs.map((pack) => {
          return { ...pack, items: pack.items.map((item) => ({ ...item, delayMs: 1e12, dueAt: 0 })) };
        });
        return { ...record, content: { ...record.content, packs } };
      }),
    );
    expect(found(planted)).toContain('S11');
  });

  test('S14: a message that is tried more often than allowed', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record) =>
        record.content.policies.length > 0
          ? {
              ...record,
              content: {
                ...record.content,
                policies: record.content.policies.map(({ number, policy }) => ({
                  number,
                  policy: { ...policy, maxAttempts: 0 },
                })),
              },
            }
          : undefined,
      ),
    );
    expect(found(planted)).toContain('S14');
  });

  test('S14: a dead message without a reason, where it is kept and where it was taken away at once', async () => {
    const withoutReasons = (content: Content): Content => ({
      ...content,
      ends: content.ends.map((end) => ({ ...end, failure: undefined })),
      delayed: content.delayed.map((one) => ({ ...one, failure: undefined })),
      pages: content.pages.map(({ page, messages }) => ({
        page,
        messages: messages.map((one) => ({ ...one, failure: undefined })),
      })),
    });
    const withoutEnds = (content: Content): Content => ({ ...content, ends: [], erasedPacks: [] });
    for (const strip of [withoutReasons, withoutEnds]) {
      const planted = await inAny((history) =>
        plant(history, 'commit', (record) => {
          const { transitions } = record.content;
          const died = transitions.findIndex(({ what }) => what === 'failed' || what === 'expired');
          const stays = died >= 0 && transitions[died + 1]?.what !== 'moved';
          return stays ? { ...record, content: strip(record.content) } : undefined;
        }),
      );
      expect(found(planted)).toContain('S14');
    }
  });

  test('S17: a ready message that nobody takes', async () => {
    const planted = await inAny((history) => {
      const commit = history.findIndex(
        (record) =>
          record.kind === 'commit' &&
          [...record.content.pages].some(({ messages }) => messages.some(({ state }) => state === 'ready')),
      );
      const record = history[commit];
      if (record?.kind !== 'commit') throw new Error('no commit fits');
      const soFar = history.slice(0, commit + 1).flatMap((one) => (one.kind === 'commit' ? [one.content] : []));
      const live = soFar.flatMap(({ pages }) => pages).flatMap(({ messages }) => messages);
      // For the sake of a suspect a message may have to wait.
      const mayWait = live.some(({ suspect, alone }) => suspect || alone);
      if (mayWait || soFar.some(({ channels }) => channels.some(({ paused }) => paused)))
        throw new Error('it may wait');
      const ready = record.content.pages.flatMap(({ messages }) => messages).find(({ state }) => state === 'ready');
      const names = history.flatMap((one) => (one.kind === 'commit' ? one.content.channels : []));
      const limited = names.filter(isLimited).map(({ number }) => number);
      if (ready?.group !== '' || limited.includes(ready.channel)) throw new Error('it may be held back');
      const name = names.find(({ number }) => number === ready?.channel)?.name ?? '';
      const host = history
        .slice(0, commit + 1)
        .flatMap((one) => (one.kind === 'commit' ? one.content.sessions : []))
        .at(-1)?.host;
      if (host === undefined) throw new Error('nobody is there yet');
      const idle: SimRecord = {
        kind: 'idle',
        at: record.at + 9_000,
        consumers: [{ channel: name, host, sinceMs: record.at + 1 }],
      };
      const changed = [...history.slice(0, commit + 1), idle];
      // The session may have ended by then, or its client may not have had its first one.
      if (!found(changed).includes('S17')) throw new Error('it may wait');
      return changed;
    });
    expect(found(planted)).toContain('S17');
  });

  test('S17: a ready message that nobody takes, though no suspect can keep it any more', async () => {
    const planted = async (waitedMs: number): Promise<string[]> =>
      found(
        await inAny((history) => {
          const commit = history.findLastIndex(
            (record) => record.kind === 'commit' && record.content.sessions.length > 0,
          );
          const record = history[commit] as Of<'commit'> | undefined;
          const host = record?.content.sessions[0]?.host;
          const template = history.flatMap((one) => (one.kind === 'commit' ? one.content.pages : []))[0]?.messages[0];
          const all = history.slice(0, commit).flatMap((one) => (one.kind === 'commit' ? one.content.channels : []));
          const channel = all.find(({ number }) => number === template?.channel)?.name;
          if (record === undefined || host === undefined || template === undefined || channel === undefined)
            throw new Error('no commit fits');
          if (all.some((one) => one.number === template.channel && isLimited(one)))
            throw new Error('it may be held back');
          const ready = { ...template, state: 'ready' as const, alone: false, group: '' };
          const suspect = { ...ready, seq: -1, channel: -1, suspect: true };
          const page = { page: 'planted', messages: [{ ...ready, suspect: false }, suspect] };
          const pages = [...record.content.pages, page];
          const at = record.at + waitedMs;
          return history
            .slice(0, commit)
            .concat({ ...record, content: { ...record.content, pages } })
            .concat({ kind: 'idle', at, consumers: [{ channel, host, sinceMs: record.at }] });
        }),
      );
    expect(await planted(9_000)).not.toContain('S17');
    expect(await planted(11_000)).toContain('S17');
  });

  test('S18: a count that is not that of the ledger', async () => {
    const planted = await inAny((history) =>
      plant(history, 'inspected', (record) => ({
        ...record,
        views: record.views.map((view) => ({ ...view, ready: view.ready + 1 })),
      })),
    );
    expect(found(planted)).toContain('S18');
  });

  test('S18: minutes that lose, repeat or misplace what was counted', async () => {
    const planting = (change: (content: Content) => Partial<Content> | undefined): Promise<SimRecord[]> =>
      inAny((history) =>
        plant(history, 'commit', (record) => {
          const changed = change(record.content);
          return changed && { ...record, content: { ...record.content, ...changed } };
        }),
      );
    const lost = await planting(({ minutes: [first, ...others] }) => first && { minutes: others });
    expect(found(lost)).toContain('S18');
    const twice = await planting(({ minutes: [first, ...others] }) => first && { minutes: [first, first, ...others] });
    expect(found(twice)).toContain('S18');
    const misplaced = await planting(({ channels: [first, ...others] }) => {
      const { underWay } = first ?? {};
      if (first === undefined || underWay === undefined || underWay.counts.produced === 0) return undefined;
      return { channels: [{ ...first, underWay: { ...underWay, minute: underWay.minute - 2 } }, ...others] };
    });
    expect(found(misplaced)).toContain('S18');
    const unbegun = await planting(({ channels: [first, ...others] }) =>
      first === undefined || first.begun === 0 ? undefined : { channels: [{ ...first, begun: 1e6 }, ...others] },
    );
    expect(found(unbegun)).toContain('S18');
  });

  test('S18: a message that nobody is charged with, or with the messages of another', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record) => {
        const { usage } = record.content;
        const at = usage.findIndex(({ messages }) => messages > 0);
        const row = usage[at];
        if (row === undefined) return undefined;
        const changed = usage.with(at, { ...row, messages: row.messages - 1 });
        return { ...record, content: { ...record.content, usage: changed } };
      }),
    );
    expect(found(planted)).toContain('S18');
  });

  test('S18: minutes that are shown otherwise than they are', async () => {
    const planted = await inAny((history) =>
      plant(history, 'inspected', (record) => ({
        ...record,
        counted: record.counted.map((one) => ({ ...one, counts: { ...one.counts, failed: one.counts.failed + 1 } })),
      })),
    );
    expect(found(planted)).toContain('S18');
  });

  test('S5: a settle that is refused while its lease is held', async () => {
    const planted = await inAny((history) =>
      plant(history, 'settle.answered', (record, before) => {
        const { token, seq } = before.find(
          (one) => one.kind === 'settle.called' && one.token === record.token,
        ) as Of<'settle.called'>;
        return record.held === true ? { ...record, token: -token - seq } : undefined;
      }),
    );
    expect(found(planted)).toContain('S5');
  });

  test('S20: a commit of a process that leads no more, and one under an epoch that is over', async () => {
    const stale = (change: Partial<Of<'commit'>>): Promise<SimRecord[]> =>
      inAny((history) =>
        plant(history, 'commit', (record, before) => {
          const leads = before.filter(({ kind }) => kind === 'acquired');
          return leads.length > 1 ? { ...record, ...change } : undefined;
        }),
      );
    expect(found(await stale({ host: 'deposed' }))).toContain('S20');
    expect(found(await stale({ nonce: 'over' }))).toContain('S20');
  });

  test('S21: a lease that is lost while its session is connected, and one that is lost too soon after a takeover', async () => {
    expect(found(await inAny((history) => loseOne(history, 'at once')))).toContain('S21');
    expect(found(await inAny((history) => loseOne(history, 'behind a takeover')))).toContain('S21');
  });

  test('S21: a lease, and a session, of a process that is dead for long', async () => {
    const planted = (what: 'lease' | 'session'): Promise<SimRecord[]> =>
      inAny((history) => {
        const { sessionTimeoutMs } = history.find(({ kind }) => kind === 'began') as Of<'began'>;
        const commit = history.findIndex(
          (record) =>
            record.kind === 'commit' &&
            (what === 'lease'
              ? record.content.transitions.some(({ what: did }) => did === 'claimed')
              : record.content.sessions.length > 0),
        );
        const record = history[commit] as Of<'commit'>;
        const host =
          (
            history
              .slice(0, commit + 1)
              .findLast((one) => one.kind === 'commit' && one.content.sessions.length > 0) as Of<'commit'>
          ).content.sessions[0]?.host ?? '';
        const { at } = record;
        const looked = {
          kind: 'looked',
          at: at + 3 * sessionTimeoutMs,
          quietSince: at,
          wall: 0,
          leaderRuns: true,
          hasRoom: false,
          unserved: [],
        } as const;
        return [...history.slice(0, commit + 1), { kind: 'died', at, host }, looked];
      });
    expect(found(await planted('lease'))).toEqual(['S21']);
    expect(found(await planted('session'))).toEqual(['S21']);
  });

  test('S22: a request that gets another answer than before', async () => {
    const heard = await inAny((history) =>
      plant(history, 'replied', (record, before) =>
        record.reply.includes('settled') && before.some((one) => isKeptIn(one, record))
          ? { ...record, reply: '{"kind":"done"}' }
          : undefined,
      ),
    );
    expect(found(heard)).toEqual(['S22']);
    const stored = await inAny((history) => {
      const commit = history.findIndex(
        (record) => record.kind === 'commit' && record.content.sessions.some(({ answers }) => answers.length > 0),
      );
      const record = history[commit];
      if (record?.kind !== 'commit') throw new Error('no commit fits');
      const sessions = record.content.sessions.map((one) => ({
        ...one,
        answers: one.answers.map(([request]) => [request, 'other'] as const),
      }));
      return history.toSpliced(commit + 1, 0, { ...record, content: { ...record.content, ...NOTHING, sessions } });
    });
    expect(found(stored)).toContain('S22');
  });

  test('S23: a channel that misses what is published, one that should not have it, and a wrong receipt', async () => {
    const isShared = ({ channels }: Content['published'][number]): boolean => channels.length > 1;
    const inPublished = (change: (published: Content['published'][number]) => Content['published'][number]) =>
      inAny((history) =>
        plant(history, 'commit', (record) => {
          const { content } = record;
          const { published } = content;
          if (!published.some(isShared) || content.topicStates.length > 0) return undefined;
          return { ...record, content: { ...content, published: published.map(change) } };
        }),
      );
    const missed = await inPublished((one) => ({ ...one, channels: one.channels.slice(1) }));
    const invented = await inPublished((one) => ({ ...one, channels: [...one.channels, 999] }));
    const late = await inPublished((one) => ({ ...one, seqs: [...one.seqs, 999_999] }));
    const counted = await inAny((history) =>
      plant(history, 'publish.answered', (record) =>
        record.stored > 0 ? { ...record, stored: record.stored - 1 } : undefined,
      ),
    );
    expect([missed, invented, late, counted].map(found)).toEqual([['S23'], ['S23'], ['S23'], ['S23']]);
  });

  test('L1 to L3: no rest, a slow start, and records that stay', async () => {
    const late = await inAny((history) => plant(history, 'ended', (record) => ({ ...record, restAt: undefined })));
    const slow = await inAny((history) =>
      plant(history, 'looked', (record) => ({ ...record, unserved: ['somebody'] })),
    );
    const large = await inAny((history) =>
      plant(history, 'ended', (record) => ({ ...record, left: { ...record.left, live: 1 } })),
    );
    const awaited = await inAny((history) =>
      plant(history, 'ended', (record) => ({ ...record, left: { ...record.left, ended: 1 } })),
    );
    expect([late, slow, large, awaited].map(found)).toEqual([['L1'], ['L2'], ['L3'], ['L3']]);
  });
});
