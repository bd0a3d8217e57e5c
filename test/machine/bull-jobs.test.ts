import { describe, expect, test } from 'vitest';
import { KIND } from '#holdfast/machine/layout.js';
import { NOTHING_COLD } from '#holdfast/machine/machine.js';
import { BullRun, TAKE } from '../helpers/bull-run.ts';

describe('claim', () => {
  test('takes what waits in its order, then by priority', () => {
    const bull = new BullRun();
    const low = bull.add({ priority: 5 });
    const high = bull.add({ priority: 1 });
    const first = bull.add();
    const second = bull.add();
    const front = bull.add({ lifo: true });
    expect(bull.claimAll()).toEqual([front, first, second, high, low]);
    expect(bull.counts()).toEqual({ active: 5 });
  });

  test('takes a delayed job from its time on, by the clock of the caller', () => {
    const bull = new BullRun();
    const id = bull.add({ delay: 100 });
    const dueAt = bull.run.now + 100;
    expect(bull.claim()).toEqual({ job: null, ttlMs: 0, untilAt: dueAt });
    const early = bull.ask('claim', { now: dueAt - 1, take: TAKE });
    expect(early.job).toBeNull();
    expect(bull.ask('claim', { now: dueAt, take: TAKE }).job?.id).toBe(id);
  });

  test('takes nothing from a queue that is paused, or has as many active jobs as it may', () => {
    const bull = new BullRun();
    const [first, second] = [bull.add(), bull.add()];
    bull.ask('pause', { paused: true });
    expect(bull.claim().job).toBeNull();
    bull.ask('pause', { paused: false });
    bull.ask('setMeta', { values: { concurrency: '1' } });
    expect(bull.claim().job?.id).toBe(first);
    expect(bull.claim().job).toBeNull();
    expect(bull.ask('maxed', {})).toBe(true);
    expect(bull.finish(first, { take: TAKE })).toMatchObject({ job: { id: second } });
  });

  test('counts attempts that were started, and who works on the job', () => {
    const bull = new BullRun();
    const id = bull.add();
    expect(bull.claim({ name: 'worker' }).job).toMatchObject({
      attemptsStarted: 1,
      processedBy: 'worker',
      attemptsMade: 0,
    });
    bull.fail(id);
    expect(bull.ask('job', { id })).toMatchObject({ attemptsMade: 1, failedReason: 'boom', finishedOn: bull.run.now });
  });
});

describe('a lock', () => {
  test('lets nobody finish a job but its holder', () => {
    const bull = new BullRun();
    const id = bull.add();
    bull.claim();
    expect(bull.finish(id, { token: 'another' })).toBe(-6);
    expect(bull.finish(id)).toBe(0);
    expect(bull.finish(id)).toBe(-2);
    expect(bull.finish('unknown')).toBe(-1);
  });

  test('ends in machine time, unless it is extended', () => {
    const bull = new BullRun();
    const id = bull.add();
    bull.claim({ lockMs: 1_000 });
    bull.run.advance(900);
    expect(bull.ask('extendLocks', { ids: [id], tokens: ['token'], lockMs: 1_000 })).toEqual([]);
    expect(bull.ask('extendLocks', { ids: [id], tokens: ['other'], lockMs: 1_000 })).toEqual([id]);
    bull.run.advance(900);
    expect(bull.ask('remove', { id, children: true })).toBe(0);
    bull.run.advance(200);
    expect(bull.finish(id)).toBe(-2);
  });

  test('that has ended makes its job stalled at the second look, and fails it when that happens too often', () => {
    const bull = new BullRun();
    const id = bull.add();
    const look = (): readonly string[] => bull.ask('moveStalled', { maxStalled: 1, intervalMs: 10 });
    for (const times of [1, 2]) {
      bull.claim({ lockMs: 1_000 });
      expect(look()).toEqual([]);
      bull.run.advance(2_000);
      expect(look()).toEqual([id]);
      expect(bull.ask('job', { id })).toMatchObject({ stalledCounter: times });
      bull.run.advance(20);
    }
    expect(bull.claim().job).toMatchObject({ deferredFailure: 'job stalled more than allowable limit' });
  });

  test('ends with its session: the jobs stand before all others at once, in their order', () => {
    const bull = new BullRun();
    const worker = bull.other('worker');
    const [first, second, third] = [bull.add(), bull.add(), bull.add()];
    expect([worker.claim().job?.id, worker.claim().job?.id]).toEqual([first, second]);
    worker.client.die();
    expect(bull.claimAll()).toEqual([first, second, third]);
    expect(bull.ask('job', { id: first ?? '' })).toMatchObject({ stalledCounter: 1, attemptsStarted: 2 });
    expect(bull.events()).toEqual(expect.arrayContaining([`stalled:${first}`, `stalled:${second}`]));
  });

  test('of a session that comes back after a restart still holds', () => {
    const bull = new BullRun();
    const id = bull.add();
    bull.claim();
    bull.run.reload();
    expect(bull.ask('state', { id })).toBe('active');
    expect(bull.finish(id)).toBe(0);
  });

  test('of a process that died with the broker ends at the restart', () => {
    const bull = new BullRun();
    const worker = new BullRun(bull.run, 'worker');
    const id = bull.add();
    worker.claim();
    bull.run.reload('another host');
    const after = new BullRun(bull.run, 'after');
    expect(after.claim().job).toMatchObject({ id, stalledCounter: 1 });
  });
});

describe('an answer', () => {
  test('to many asks ends before it is too long, and what it leaves out has had no effect', () => {
    const bull = new BullRun();
    const data = JSON.stringify('x'.repeat(300_000));
    for (let i = 0; i < 6; i++) bull.add({ data });
    const asks = Array.from({ length: 6 }, () => ({ now: bull.run.now, take: TAKE }));
    const claim = { kind: 'bull', queue: bull.queue, method: 'claim', asks } as const;
    expect(bull.client.ask(claim)).toMatchObject({ values: { length: 4 }, refusals: [] });
    expect(bull.counts()).toEqual({ active: 4, wait: 2 });
    expect(bull.client.ask(claim)).toMatchObject({ values: { length: 6 } });
    expect(bull.counts()).toEqual({ active: 6 });
  });

  test('is the first one when a request comes again, and the job is shown as it is by then', () => {
    const bull = new BullRun();
    const id = bull.add();
    bull.claim();
    const command = { kind: 'bull', queue: bull.queue, method: 'claim', asks: [{ now: 0, take: TAKE }] } as const;
    const request = { request: bull.client.lastRequest, command };
    const again = bull.run.machine.apply(bull.client.session, request, bull.run.context, NOTHING_COLD);
    expect(again).toMatchObject({ kind: 'bull', values: [{ job: { id, attemptsStarted: 1 } }] });
  });

  test('to an add that comes again adds nothing, also after a restart', () => {
    const bull = new BullRun();
    const id = bull.add();
    bull.run.reload();
    const add = { id: '', name: 'job', data: '{}', opts: '{}', timestamp: 1 };
    const command = { kind: 'bull', queue: bull.queue, method: 'add', asks: [{ jobs: [add] }] } as const;
    const request = { request: bull.client.lastRequest, command };
    const again = bull.run.machine.apply(bull.client.session, request, bull.run.context, NOTHING_COLD);
    expect(again).toEqual({ kind: 'bull', values: [[id]], refusals: [] });
    expect(bull.counts()).toEqual({ wait: 1 });
  });
});

test('a restart changes nothing that can be seen', () => {
  const bull = new BullRun();
  bull.ask('setMeta', { values: { 'opts.maxLenEvents': '50', max: '5', duration: '1000' } });
  const parent = bull.add({ id: 'parent', waitsForChildren: true });
  const parentKey = `${bull.queue}:${parent}`;
  for (const id of ['done', 'to-do']) {
    bull.add({ id, parentKey, parent: JSON.stringify({ id: parent, queueKey: bull.queue }) });
  }
  bull.add({ delay: 1_000, dedupe: { id: 'a', ttl: 5_000 } });
  bull.add({ priority: 3, data: '{"x":"ä"}', dedupe: { id: 'b' } });
  bull.claim();
  bull.ask('updateProgress', { id: 'done', progress: '{"at":1}' });
  bull.ask('addLog', { id: 'done', line: 'a line', keep: 0 });
  bull.finish('done', { metricsSize: 10, value: '{"sum":2}' });
  bull.run.advance(61_000);
  bull.claim();
  bull.fail('to-do', { fields: { stacktrace: '["at"]' } });
  bull.ask('addScheduler', {
    id: 'every',
    now: bull.run.now,
    nextAt: null,
    fields: { name: 'tick', every: 5_000 },
    data: '{}',
    templateOpts: '{}',
    jobOpts: '{}',
  });
  const before = bull.seen();
  bull.run.reload();
  expect(bull.seen()).toEqual(before);
});

test('obliterate leaves no record behind', () => {
  const bull = new BullRun();
  bull.add({ id: 'parent', waitsForChildren: true });
  bull.add({ parentKey: `${bull.queue}:parent`, parent: JSON.stringify({ id: 'parent', queueKey: bull.queue }) });
  bull.add({ delay: 10, dedupe: { id: 'a' } });
  const [done] = bull.claimAll();
  bull.finish(done ?? '', { metricsSize: 10 });
  expect(bull.ask('obliterate', { count: 1_000, force: true })).toBe(-1);
  bull.ask('pause', { paused: true });
  expect(bull.ask('obliterate', { count: 1_000, force: true })).toBe(0);
  expect(bull.counts()).toEqual({});
  expect(bull.run.kinds).not.toContain(KIND.bull);
  expect(bull.add()).toBe('1');
});

test('a job that does not stay leaves no record behind', () => {
  const bull = new BullRun();
  const id = bull.add();
  bull.run.reload();
  bull.claim();
  bull.ask('updateProgress', { id, progress: '1' });
  bull.ask('addLog', { id, line: 'x', keep: 0 });
  bull.run.flush();
  bull.finish(id, { keep: { count: 0 } });
  bull.run.reload();
  expect(bull.counts()).toEqual({});
  bull.ask('pause', { paused: true });
  bull.ask('obliterate', { count: 10, force: false });
  expect(bull.run.kinds).not.toContain(KIND.bull);
});
