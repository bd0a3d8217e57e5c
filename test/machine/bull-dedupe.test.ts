import { describe, expect, test } from 'vitest';
import { BullRun, TAKE } from '../helpers/bull-run.ts';

describe('deduplication', () => {
  test('lets one job stand for an id until it has finished', () => {
    const bull = new BullRun();
    const dedupe = { id: 'a' };
    const id = bull.add({ dedupe });
    expect(bull.add({ dedupe })).toBe(id);
    expect(bull.ask('dedupeJob', { dedupeId: 'a' })).toBe(id);
    bull.claim();
    bull.finish(id);
    expect(bull.add({ dedupe })).not.toBe(id);
  });

  test('with a time to live ends then, also after a restart, and may be extended', () => {
    const bull = new BullRun();
    const first = bull.add({ dedupe: { id: 'a', ttl: 1_000 } });
    bull.run.advance(900);
    expect(bull.add({ dedupe: { id: 'a', ttl: 1_000, extend: true } })).toBe(first);
    bull.run.advance(900);
    bull.run.reload();
    expect(bull.add({ dedupe: { id: 'a', ttl: 1_000 } })).toBe(first);
    bull.run.advance(200);
    expect(bull.add({ dedupe: { id: 'a', ttl: 1_000 } })).not.toBe(first);
  });

  test('with replace takes the place of a delayed job, and gives way to any other', () => {
    const bull = new BullRun();
    const dedupe = { id: 'a', replace: true };
    const first = bull.add({ dedupe, delay: 100, data: '1' });
    const second = bull.add({ dedupe, delay: 100, data: '2' });
    expect(second).not.toBe(first);
    expect(bull.ids('delayed')).toEqual([second]);
    bull.ask('promote', { id: second });
    expect(bull.add({ dedupe, delay: 100 })).toBe(second);
  });

  test('with reschedule moves the time of the delayed job', () => {
    const bull = new BullRun();
    const id = bull.add({ dedupe: { id: 'a' }, delay: 100 });
    bull.run.advance(50);
    expect(bull.add({ dedupe: { id: 'a', reschedule: true }, delay: 100 })).toBe(id);
    expect(bull.claim()).toMatchObject({ job: null, untilAt: bull.run.now + 100 });
  });

  test('with keepLastIfActive lets the last one follow the job that is active', () => {
    const bull = new BullRun();
    const dedupe = { id: 'a', keepLastIfActive: true };
    const first = bull.add({ dedupe, data: '1' });
    bull.claim();
    expect(bull.add({ dedupe, data: '2' })).toBe(first);
    expect(bull.add({ dedupe, data: '3' })).toBe(first);
    bull.run.reload();
    expect(bull.finish(first, { take: TAKE })).toMatchObject({ job: { data: '3' } });
    expect(bull.claim().job).toBeNull();
  });

  test('with keepLastIfActive lets nothing follow under an id that was taken meanwhile', () => {
    const bull = new BullRun();
    const dedupe = { id: 'a', keepLastIfActive: true };
    const first = bull.add({ dedupe });
    bull.claim();
    bull.add({ dedupe, id: 'next' });
    bull.add({ id: 'next', data: '"other"' });
    bull.finish(first);
    expect(bull.counts()).toEqual({ wait: 1, completed: 1 });
    expect(bull.ask('job', { id: 'next' })).toMatchObject({ data: '"other"' });
    expect(bull.events()).toContain('duplicated:next');
  });

  test('is free when its job is removed, or its key', () => {
    const bull = new BullRun();
    const id = bull.add({ dedupe: { id: 'a' } });
    bull.ask('remove', { id, children: true });
    const next = bull.add({ dedupe: { id: 'a' } });
    expect(next).not.toBe(id);
    expect(bull.ask('removeDedupe', { dedupeId: 'a', jobId: id })).toBe(0);
    expect(bull.ask('removeDedupe', { dedupeId: 'a' })).toBe(1);
    expect(bull.add({ dedupe: { id: 'a' } })).not.toBe(next);
  });

  test('by the id of the job tells of the duplicate', () => {
    const bull = new BullRun();
    bull.add({ id: 'one' });
    expect(bull.add({ id: 'one' })).toBe('one');
    expect(bull.counts()).toEqual({ wait: 1 });
    expect(bull.events().at(-1)).toBe('duplicated:one');
  });
});

describe('a scheduler', () => {
  const EVERY = { name: 'tick', every: 1_000 };

  function schedule(
    bull: BullRun,
    fields: Record<string, string | number> = EVERY,
  ): { id: string; delay: number } | number {
    return bull.ask('addScheduler', {
      id: 's',
      now: bull.run.now,
      nextAt: null,
      fields,
      data: '{"x":1}',
      templateOpts: '{}',
      jobOpts: JSON.stringify({ repeat: { every: fields['every'] } }),
    });
  }

  function follow(bull: BullRun, producerId: string): string | null {
    return bull.ask('updateScheduler', { id: 's', now: bull.run.now, nextAt: null, jobOpts: '{}', producerId });
  }

  test('has its next job in the queue, and makes one more when that is taken', () => {
    const bull = new BullRun();
    const { now } = bull.run;
    expect(schedule(bull)).toEqual({ id: `repeat:s:${now}`, delay: 0 });
    const { job } = bull.claim();
    expect(job).toMatchObject({ name: 'tick', data: '{"x":1}', schedulerId: 's' });
    expect(follow(bull, job?.id ?? '')).toBe(`repeat:s:${now + 1_000}`);
    expect(follow(bull, job?.id ?? '')).toBeNull();
    expect(bull.ids('delayed')).toEqual([`repeat:s:${now + 1_000}`]);
    expect(bull.ask('scheduler', { id: 's' })).toMatchObject({
      nextAt: now + 1_000,
      fields: { ic: '2', every: '1000' },
    });
  });

  test('passes over ticks that were missed', () => {
    const bull = new BullRun();
    schedule(bull);
    const { job } = bull.claim();
    const from = bull.run.now;
    bull.run.advance(3_500);
    expect(follow(bull, job?.id ?? '')).toBe(`repeat:s:${from + 4_000}`);
  });

  test('with a pattern takes the place of a job that has finished under its id, and of none that is active', () => {
    const bull = new BullRun();
    const add = (nextAt: number): unknown =>
      bull.ask('addScheduler', {
        id: 's',
        now: bull.run.now,
        nextAt,
        fields: { name: 'tick', pattern: '* * * * *' },
        data: '{}',
        templateOpts: '{}',
        jobOpts: '{}',
      });
    const at = bull.run.now + 10;
    bull.add({ id: `repeat:s:${at}` });
    bull.claim();
    add(at + 1_000);
    expect(add(at)).toBe(-10);
    bull.finish(`repeat:s:${at}`);
    expect(add(at)).toEqual({ id: `repeat:s:${at}`, delay: 10 });
    expect(bull.counts()).toEqual({ delayed: 1 });
  });

  test('that is set again has one job as before', () => {
    const bull = new BullRun();
    schedule(bull);
    bull.run.reload();
    schedule(bull, { ...EVERY, every: 5_000 });
    expect(bull.ask('schedulerCount', {})).toBe(1);
    expect(bull.counts()).toEqual({ wait: 1 });
  });

  test('keeps its job from being removed, until it is removed itself', () => {
    const bull = new BullRun();
    schedule(bull);
    const { job } = bull.claim();
    const next = follow(bull, job?.id ?? '') ?? '';
    bull.ask('drain', { delayed: true });
    expect(bull.ids('delayed')).toEqual([next]);
    expect(bull.ask('remove', { id: next, children: true })).toBe(-8);
    expect(bull.ask('removeScheduler', { id: 's' })).toBe(0);
    expect(bull.ids('delayed')).toEqual([]);
    expect(bull.ask('removeScheduler', { id: 's' })).toBe(1);
  });
});
