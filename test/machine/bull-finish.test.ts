import { describe, expect, test } from 'vitest';
import type { BullAdd } from '#holdfast/model/bull.js';
import { MAX_VALUE_BYTES } from '#holdfast/model/records.js';
import { BullRun, TAKE } from '../helpers/bull-run.ts';

/** A parent with children, which say what their failure means. */
function family(bull: BullRun, children: readonly Partial<BullAdd>[], flags: object = {}): string[] {
  const parent = JSON.stringify({ id: 'parent', queueKey: bull.queue, ...flags });
  const add = { queue: bull.queue };
  const outcomes = bull.tryAdd(
    { ...add, id: 'parent', waitsForChildren: true },
    ...children.map((rest) => ({ ...add, parentKey: `${bull.queue}:parent`, parent, ...rest })),
  );
  return outcomes.slice(1).map(String);
}

const childrenOf = (bull: BullRun): Record<string, number> => ({ ...bull.ask('childCounts', { id: 'parent' }) });

describe('finish', () => {
  test('keeps finished jobs by count and by age', () => {
    const bull = new BullRun();
    for (let i = 0; i < 5; i++) bull.add();
    for (const id of bull.claimAll()) {
      bull.finish(id, { keep: { count: 3 } });
      bull.run.advance(1_000);
    }
    expect(bull.ids('completed')).toEqual(['3', '4', '5']);
    bull.add();
    const [last] = bull.claimAll();
    bull.finish(last ?? '', { keep: { age: 2 } });
    expect(bull.ids('completed')).toEqual(['5', '6']);
  });

  test('says that the queue is drained, and that no retries are left', () => {
    const bull = new BullRun();
    const id = bull.add();
    bull.claim();
    bull.fail(id, { attempts: 1 });
    expect(bull.events().slice(-3)).toEqual([`failed:${id}`, `retries-exhausted:${id}`, 'drained']);
  });

  test('counts by the minute of the caller', () => {
    const bull = new BullRun();
    const minute = Math.ceil(bull.run.now / 60_000) * 60_000;
    const done = (at: number): void => {
      bull.add();
      const { job } = bull.claim();
      bull.finish(job?.id ?? '', { now: at, metricsSize: 3 });
    };
    done(minute);
    done(minute + 1);
    done(minute + 60_000);
    done(minute + 240_000);
    expect(bull.ask('metrics', { of: 'completed', start: 0, end: -1 })).toMatchObject({ count: 4, points: [0, 0, 1] });
  });
});

describe('a parent', () => {
  test('goes on when all of its children have completed, with their values', () => {
    const bull = new BullRun();
    const [one = '', two = ''] = family(bull, [{}, {}]);
    expect(bull.claimAll()).toEqual([one, two]);
    bull.finish(one, { value: '{"n":1}' });
    expect(bull.ask('state', { id: 'parent' })).toBe('waiting-children');
    bull.finish(two, { value: '2' });
    expect(bull.claim().job?.id).toBe('parent');
    const { items } = bull.ask('children', { id: 'parent', of: 'processed', start: 0, limit: 9, jobs: false });
    expect(items).toEqual([
      [`${bull.queue}:${one}`, '{"n":1}'],
      [`${bull.queue}:${two}`, '2'],
    ]);
  });

  test.each([
    ['waits for ever without a policy', {}, 'waiting-children', { unprocessed: 1, failed: 0, ignored: 0 }],
    ['fails with failParentOnFailure', { fpof: true }, 'wait', { unprocessed: 0, failed: 1, ignored: 0 }],
    ['goes on with continueParentOnFailure', { cpof: true }, 'wait', { unprocessed: 0, failed: 0, ignored: 1 }],
    ['goes on with ignoreDependencyOnFailure', { idof: true }, 'wait', { unprocessed: 0, failed: 0, ignored: 1 }],
    ['goes on with removeDependencyOnFailure', { rdof: true }, 'wait', { unprocessed: 0, failed: 0, ignored: 0 }],
  ])('of a child that fails %s', (_, flags, state, counts) => {
    const bull = new BullRun();
    const [child = ''] = family(bull, [{}], flags);
    bull.claim();
    bull.fail(child);
    expect(bull.ask('state', { id: 'parent' })).toBe(state);
    expect(childrenOf(bull)).toMatchObject(counts);
    const failed = { deferredFailure: `child ${bull.queue}:${child} failed` };
    if ('fpof' in flags) expect(bull.claim().job).toMatchObject(failed);
  });

  test('cannot complete before its children, nor with one that has failed', () => {
    const bull = new BullRun();
    const id = bull.add({ id: 'parent' });
    bull.claim();
    const parent = JSON.stringify({ id, queueKey: bull.queue, fpof: true });
    const child = bull.add({ parentKey: `${bull.queue}:parent`, parent });
    expect(bull.finish('parent')).toBe(-4);
    bull.claim({ token: 'child' });
    bull.fail(child, { token: 'child' });
    expect(bull.finish('parent')).toBe(-9);
  });

  test('waits for children that were added while it was active', () => {
    const bull = new BullRun();
    bull.add({ id: 'parent' });
    bull.claim();
    const wait = { id: 'parent', token: TAKE.token, now: bull.run.now };
    expect(bull.ask('moveToWaitingChildren', wait)).toBe(1);
    const child = bull.add({
      parentKey: `${bull.queue}:parent`,
      parent: JSON.stringify({ id: 'parent', queueKey: bull.queue }),
    });
    expect(bull.ask('moveToWaitingChildren', wait)).toBe(0);
    bull.claim();
    bull.finish(child);
    expect(bull.ids('wait')).toEqual(['parent']);
  });

  test('goes on when its last child is removed, and takes its children along when it is removed', () => {
    const bull = new BullRun();
    const [child = ''] = family(bull, [{}]);
    expect(bull.ask('remove', { id: child, children: true })).toBe(1);
    expect(bull.ids('wait')).toEqual(['parent']);
    const other = new BullRun(bull.run, 'other', 'bull:other');
    family(other, [{}, {}]);
    expect(other.ask('remove', { id: 'parent', children: true })).toBe(1);
    expect(other.counts()).toEqual({});
  });

  test('of a flow whose children were there and had completed goes on', () => {
    const bull = new BullRun();
    bull.add({ id: 'done' });
    bull.claim();
    bull.finish('done', { value: '7' });
    family(bull, [{ id: 'done' }]);
    expect(bull.ids('wait')).toEqual(['parent']);
    expect(childrenOf(bull)).toMatchObject({ processed: 1, unprocessed: 0 });
  });

  test('that does not exist refuses its child', () => {
    const bull = new BullRun();
    expect(bull.tryAdd({ parentKey: 'bull:nowhere:1', parent: '{"id":"1","queueKey":"bull:nowhere"}' })).toEqual([-5]);
  });
});

describe('moving', () => {
  test('a failed job to be tried again later, and then at once', () => {
    const bull = new BullRun();
    const id = bull.add();
    bull.claim();
    const held = { id, token: TAKE.token, now: bull.run.now };
    expect(bull.ask('moveToDelayed', { ...held, delay: 50, skipsAttempt: false })).toBe(0);
    expect(bull.ask('job', { id })).toMatchObject({ attemptsMade: 1, delay: 50 });
    expect(bull.ask('promote', { id })).toBe(0);
    bull.claim();
    expect(bull.ask('retry', { ...held, lifo: false })).toBe(0);
    expect(bull.ask('job', { id })).toMatchObject({ attemptsMade: 2, attemptsStarted: 2, delay: 0 });
  });

  test('finished jobs back to those that wait', () => {
    const bull = new BullRun();
    for (let i = 0; i < 3; i++) bull.add();
    for (const id of bull.claimAll()) bull.fail(id);
    expect(bull.ask('moveJobsToWait', { state: 'failed', count: 2, until: null })).toBe(1);
    expect(bull.ask('moveJobsToWait', { state: 'failed', count: 2, until: null })).toBe(0);
    expect(bull.ids('wait')).toEqual(['1', '2', '3']);
    const again = { id: '1', state: 'failed', lifo: false, resetsMade: true, resetsStarted: true } as const;
    expect(bull.ask('reprocess', again)).toBe(-3);
  });

  test('a job to another priority', () => {
    const bull = new BullRun();
    const [one, two, three] = [bull.add({ priority: 2 }), bull.add({ priority: 2 }), bull.add()];
    bull.ask('changePriority', { id: two, priority: 2, lifo: true });
    bull.ask('changePriority', { id: three, priority: 3, lifo: false });
    expect(bull.claimAll()).toEqual([two, one, three]);
  });
});

test('a rate lets so many jobs through in a window', () => {
  const bull = new BullRun();
  for (let i = 0; i < 3; i++) bull.add();
  const limiter = { max: 2, duration: 1_000 };
  expect([bull.claim({ limiter }).job?.id, bull.claim({ limiter }).job?.id]).toEqual(['1', '2']);
  bull.run.advance(400);
  expect(bull.claim({ limiter })).toEqual({ job: null, ttlMs: 600, untilAt: 0 });
  bull.run.reload();
  expect(bull.claim({ limiter })).toMatchObject({ ttlMs: 600 });
  bull.run.advance(600);
  expect(bull.claim({ limiter }).job?.id).toBe('3');
});

describe('limits', () => {
  test('what is as large as it may be is stored, and read again', () => {
    const bull = new BullRun();
    const data = JSON.stringify('ä'.repeat(1_500_000));
    const id = bull.add({ data, opts: JSON.stringify({ x: '"'.repeat(70_000) }) });
    bull.claim();
    bull.ask('updateProgress', { id, progress: JSON.stringify('ä'.repeat(290_000)) });
    bull.ask('addLog', { id, line: 'x'.repeat(100_000), keep: 0 });
    bull.finish(id, { value: data });
    bull.run.reload();
    expect(bull.ask('job', { id })).toMatchObject({ data, returnvalue: data });
    const largest = Math.max(...bull.run.writes.map((write) => (write.kind === 'put' ? write.value.length : 0)));
    expect(largest).toBeLessThan(MAX_VALUE_BYTES);
  });

  test('a log keeps its last lines', () => {
    const bull = new BullRun();
    const id = bull.add();
    for (let i = 0; i < 12; i++) bull.ask('addLog', { id, line: `${i}`.padEnd(100_000, '.'), keep: 0 });
    const { lines, count } = bull.ask('logs', { id, start: 0, end: -1, asc: true });
    expect(count).toBe(9);
    expect(lines.at(-1)).toMatch(/^11\./);
  });

  test('a drain goes in parts', () => {
    const bull = new BullRun();
    for (let i = 0; i < 3; i++) bull.tryAdd(...Array.from({ length: 4_000 }, () => ({})));
    expect(bull.ask('drain', { delayed: true })).toBe(1);
    expect(bull.counts()).toEqual({ wait: 2_000 });
    expect(bull.ask('drain', { delayed: true })).toBe(0);
  });

  test('no job waits for itself, and none has too many above it', () => {
    const bull = new BullRun();
    const parent = (id: string): Partial<BullAdd> => ({
      parentKey: `${bull.queue}:${id}`,
      parent: JSON.stringify({ id, queueKey: bull.queue }),
    });
    bull.add({ id: 'top' });
    bull.add({ id: 'child', ...parent('top') });
    expect(bull.tryAdd({ id: 'top', ...parent('child') })).toEqual([-7]);
    expect(bull.tryAdd({ id: 'top', ...parent('top') })).toEqual([-7]);
    let last = 'top';
    for (let i = 1; i < 1_000; i++) last = bull.add(parent(last));
    expect(() => bull.add(parent(last))).toThrow('TOO_MANY');
    expect(bull.ask('remove', { id: 'top', children: true })).toBe(1);
    expect(bull.counts()).toEqual({});
  });

  test('a queue that was only looked at is forgotten', () => {
    const bull = new BullRun();
    for (let i = 0; i < 100_001; i++) bull.ask('counts', { states: ['wait'] }, `bull:${i}`);
    expect(bull.add()).toBe('1');
  });
});
