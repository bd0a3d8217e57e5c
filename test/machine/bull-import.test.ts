import { describe, expect, test } from 'vitest';
import type { BullImport } from '#holdfast/model/bull.js';
import { isBullAsk } from '#holdfast/model/bull-checks.js';
import { BullRun } from '../helpers/bull-run.ts';

const PLAIN: BullImport = {
  id: '7',
  name: 'send',
  data: '{"to":"ada"}',
  opts: '{"attempts":3}',
  timestamp: 1_000,
  state: 'wait',
  at: 0,
  delay: 0,
  priority: 0,
  attemptsMade: 1,
  attemptsStarted: 2,
  stalledCounter: 1,
};

function take(bull: BullRun, ...jobs: readonly Partial<BullImport>[]): readonly string[] {
  return bull.ask('importJobs', { jobs: jobs.map((one) => ({ ...PLAIN, ...one })), nextJob: 20 });
}

describe('importJobs', () => {
  test.each([['short'], ['long'.repeat(1_000)]])('keeps what a job has returned before, over a restart', (text) => {
    const bull = new BullRun();
    const returnvalue = JSON.stringify(text);
    take(bull, { id: 'again', state: 'failed', returnvalue });
    bull.run.reload();
    expect(bull.ask('job', { id: 'again' })).toMatchObject({ returnvalue });
  });

  test('adds jobs as they were, behind those that are in their state, and tells nobody', () => {
    const bull = new BullRun();
    bull.add({ id: 'old' });
    const events = bull.events();
    const due = bull.run.now + 5_000;
    const outcomes = take(
      bull,
      { id: '1' },
      { id: '2' },
      { id: 'p', state: 'prioritized', priority: 3 },
      { id: 'd', state: 'delayed', delay: 9_000, at: due },
      {
        id: 'f',
        state: 'failed',
        at: 500,
        finishedOn: 500,
        processedOn: 400,
        failedReason: 'no',
        stacktrace: '["no"]',
      },
    );
    expect(outcomes).toEqual(Array(5).fill('taken'));
    expect(bull.ids('wait')).toEqual(['old', '1', '2']);
    expect(bull.counts()).toEqual({ wait: 3, prioritized: 1, delayed: 1, failed: 1 });
    expect(bull.ask('job', { id: 'f' })).toMatchObject({
      attemptsMade: 1,
      attemptsStarted: 2,
      stalledCounter: 1,
      failedReason: 'no',
      stacktrace: '["no"]',
      finishedOn: 500,
      processedOn: 400,
    });
    expect(bull.events()).toEqual(events);
    expect(bull.claimAll()).toEqual(['old', '1', '2', 'p']);
    expect(bull.claim().untilAt).toBe(due);
  });

  test('changes nothing for a job that is there already, and names one whose id another job has', () => {
    const bull = new BullRun();
    take(bull, { id: '1', logs: ['once'] });
    const before = bull.seen();
    expect(take(bull, { id: '1', logs: ['twice'] }, { id: '1', data: '{}' })).toEqual(['there', 'clash']);
    expect(bull.seen()).toEqual(before);
  });

  test('has ids go on where they were', () => {
    const bull = new BullRun();
    take(bull);
    expect(bull.add()).toBe('20');
    bull.ask('importJobs', { jobs: [], nextJob: 5 });
    expect(bull.add()).toBe('21');
  });

  test('lets a job stand for its deduplication, for as long as it still does', () => {
    const bull = new BullRun();
    take(
      bull,
      { id: '1', dedupe: { id: 'a', stands: true, ttl: 500 } },
      { id: '2', dedupe: { id: 'b', stands: false } },
    );
    expect(bull.add({ dedupe: { id: 'a' } })).toBe('1');
    bull.run.now += 500;
    expect(bull.add({ dedupe: { id: 'a' } })).not.toBe('1');
    expect(bull.ask('dedupeJob', { dedupeId: 'b' })).toBeNull();
  });

  test('keeps what a parent knows of its children, and the parent goes on behind the last of them', () => {
    const bull = new BullRun();
    const child = { id: 'c2', parentKey: 'bull:mail:parent', parent: '{"id":"parent","queueKey":"bull:mail"}' };
    take(
      bull,
      {
        id: 'parent',
        state: 'waiting-children',
        children: { processed: [['bull:mail:c1', '1']], unprocessed: [['bull:mail:c2', '']], ignored: [], failed: [] },
      },
      child,
    );
    expect(bull.counts()).toEqual({ wait: 1, 'waiting-children': 1 });
    expect(bull.claim().job?.id).toBe('c2');
    bull.finish('c2', { value: '2' });
    const { items } = bull.ask('children', { id: 'parent', of: 'processed', start: 0, limit: 10, jobs: false });
    expect(new Map(items as [string, string][])).toEqual(
      new Map([
        ['bull:mail:c1', '1'],
        ['bull:mail:c2', '2'],
      ]),
    );
    expect(bull.claim().job?.id).toBe('parent');
  });

  test('and importScheduler survive a restart', () => {
    const bull = new BullRun();
    take(
      bull,
      { id: '1', logs: ['a'], progress: '5', dedupe: { id: 'a', stands: true } },
      { id: 'repeat:s:90000', state: 'delayed', at: 90_000, schedulerId: 's' },
    );
    const scheduler = { id: 's', fields: { name: 'tick', every: '60000', ic: '4' }, nextAt: 90_000 };
    expect(bull.ask('importScheduler', scheduler)).toBe('taken');
    expect(bull.ask('importScheduler', { ...scheduler, nextAt: 1 })).toBe('there');
    bull.run.flush();
    const before = bull.seen();
    bull.run.reload();
    expect(new BullRun(bull.run, 'later').seen()).toEqual(before);
  });

  test.each([
    ['active', { ...PLAIN, state: 'active' }],
    ['a fraction of an attempt', { ...PLAIN, attemptsMade: 0.5 }],
    ['an unknown field', { ...PLAIN, lock: {} }],
    [
      'a child without a text',
      { ...PLAIN, children: { processed: [['key']], unprocessed: [], ignored: [], failed: [] } },
    ],
  ])('is refused for %s', (_what, job) => {
    expect(isBullAsk({ queue: 'bull:mail', method: 'importJobs', args: { jobs: [PLAIN], nextJob: 1 } })).toBe(true);
    expect(isBullAsk({ queue: 'bull:mail', method: 'importJobs', args: { jobs: [job], nextJob: 1 } })).toBe(false);
  });
});

describe('queues', () => {
  test('gives what each holds, and how long a job has waited', () => {
    const bull = new BullRun();
    const other = new BullRun(bull.run, 'other', 'bull:other');
    bull.add();
    bull.run.now += 700;
    bull.add();
    bull.add({ priority: 1 });
    bull.add({ delay: 100 });
    other.ask('pause', { paused: true });
    const { queues, next } = bull.ask('queues', { after: 0, limit: 10 });
    expect(next).toBeNull();
    expect(queues).toMatchObject([
      { queue: 'bull:mail', counts: { wait: 2, prioritized: 1, delayed: 1 }, oldestReadyMs: 700, paused: false },
      { queue: 'bull:other', counts: { wait: 0 }, oldestReadyMs: null, paused: true },
    ]);
  });

  test('comes in pages, and makes no queue', () => {
    const bull = new BullRun();
    for (const name of ['a', 'b', 'c']) new BullRun(bull.run, name, `bull:${name}`).add();
    const first = bull.ask('queues', { after: 0, limit: 2 });
    expect(first.queues.map(({ queue }) => queue)).toEqual(['bull:a', 'bull:b']);
    const second = bull.ask('queues', { after: first.next as number, limit: 2 });
    expect(second).toMatchObject({ queues: [{ queue: 'bull:c' }], next: null });
  });
});
