import { describe, expect, test } from 'vitest';
import { MAX_BULL_WAITERS } from '#holdfast/model/bull.js';
import { BullRun } from '../helpers/bull-run.ts';

const wait = (bull: BullRun, waiter: number): number | null => bull.ask('wait', { waiter, stop: false });

describe('wait', () => {
  test('is answered at once where there is a job, and once', () => {
    const bull = new BullRun();
    bull.add();
    expect(wait(bull, 1)).toBe(0);
    expect(wait(bull, 2)).toBeNull();
  });

  test('is told of a job that comes, one worker for one job, the first to wait first', () => {
    const bull = new BullRun();
    expect([wait(bull, 1), wait(bull, 2)]).toEqual([null, null]);
    bull.add();
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 1, at: 0 }]);
    bull.claim();
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 2, at: 0 }]);
  });

  test('is told when the first delayed job is due', () => {
    const bull = new BullRun();
    expect(wait(bull, 1)).toBeNull();
    bull.add({ delay: 500 });
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 1, at: bull.run.now + 500 }]);
  });

  test('is not told while the queue is paused, and is when it goes on', () => {
    const bull = new BullRun();
    bull.ask('pause', { paused: true });
    wait(bull, 1);
    bull.add();
    expect(bull.told()).toEqual([]);
    bull.ask('pause', { paused: false });
    expect(bull.told()).toHaveLength(1);
  });

  test('that is taken back hears nothing, and what it was told another one hears', () => {
    const bull = new BullRun();
    wait(bull, 1);
    bull.ask('wait', { waiter: 1, stop: true });
    wait(bull, 2);
    bull.add();
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 2, at: 0 }]);
    wait(bull, 3);
    bull.ask('wait', { waiter: 2, stop: true });
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 3, at: 0 }]);
  });

  test('goes on for each number of a client at most once, and so often at most', () => {
    const bull = new BullRun();
    for (let i = 0; i < MAX_BULL_WAITERS; i++) wait(bull, i);
    expect(wait(bull, 0)).toBeNull();
    const args = { waiter: MAX_BULL_WAITERS, stop: false };
    const refused = bull.client.ask({ kind: 'bull', queue: bull.queue, method: 'wait', asks: [args] });
    expect(refused).toMatchObject({ values: [null], refusals: [{ index: 0, code: 'TOO_MANY' }] });
    expect(wait(bull.other('other'), 0)).toBeNull();
    bull.add();
    // The first one has waited anew, behind all others.
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 1, at: 0 }]);
  });

  test('of a session that dies is passed on to another one', () => {
    const bull = new BullRun();
    const dying = bull.other('dying');
    wait(dying, 1);
    wait(bull, 1);
    bull.add();
    dying.client.die();
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 1, at: 0 }]);
  });

  test('is answered after a restart where jobs were left', () => {
    const bull = new BullRun();
    bull.add();
    wait(bull, 1);
    bull.run.reload();
    expect(wait(bull, 1)).toBe(0);
  });
});

describe('events', () => {
  test('are read behind an id, and told once when there are none', () => {
    const bull = new BullRun();
    bull.add();
    const { last, events } = bull.ask('events', { after: '0', waiter: 4 });
    expect(events.map(([, fields]) => fields)).toEqual([
      ['event', 'added', 'jobId', '1', 'name', 'job'],
      ['event', 'waiting', 'jobId', '1'],
    ]);
    expect(bull.ask('events', { after: last, waiter: 4 }).events).toEqual([]);
    bull.add();
    expect(bull.told()).toEqual([{ kind: 'bull', waiter: 4, at: 0 }]);
    expect(bull.events(last)).toEqual(['added:2', 'waiting:2']);
  });

  test('begin behind the newest with $', () => {
    const bull = new BullRun();
    bull.add();
    const { last, events } = bull.ask('events', { after: '$', waiter: 4 });
    expect(events).toEqual([]);
    bull.add();
    expect(bull.events(last)).toEqual(['added:2', 'waiting:2']);
  });

  test('are kept up to the length that the queue has, also in the store', () => {
    const bull = new BullRun();
    bull.ask('setMeta', { values: { 'opts.maxLenEvents': '10' } });
    for (let i = 0; i < 3_000; i++) bull.add();
    expect(bull.events()).toHaveLength(10);
    bull.run.reload();
    expect(bull.events()).toHaveLength(10);
    expect(bull.events().at(-1)).toBe('waiting:3000');
    // Two for each job, and a few for the rest.
    expect(recordsOf(bull)).toBeLessThan(6_000 + 20);
    expect(bull.ask('trimEvents', { length: 4 })).toBe(6);
    expect(bull.events()).toHaveLength(4);
  });

  test('of many small commits take few records', () => {
    const bull = new BullRun();
    for (let i = 0; i < 1_200; i++) bull.ask('publish', { fields: ['event', 'own'], maxLength: 10_000 });
    bull.run.reload();
    const { last, events } = bull.ask('events', { after: '0', waiter: 1 });
    expect(events).toHaveLength(1_000);
    expect(bull.ask('events', { after: last, waiter: 1 }).events).toHaveLength(200);
    expect(recordsOf(bull)).toBeLessThan(600);
  });
});

/** How many records all of the store has. */
function recordsOf({ run }: BullRun): number {
  return [...run.disk.entries.items({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })].length;
}

test('the names of clients are those of who is there', () => {
  const bull = new BullRun();
  const worker = bull.other('worker');
  worker.ask('nameClient', { number: 1, name: 'bull:bWFpbA==:w:one' });
  bull.ask('nameClient', { number: 1, name: 'bull:bWFpbA==:qe' });
  const names = (): Set<string> => new Set(bull.ask('clients', {}).map(({ name }) => name));
  expect(names()).toEqual(new Set(['bull:bWFpbA==:qe', 'bull:bWFpbA==:w:one']));
  worker.client.die();
  expect(names()).toEqual(new Set(['bull:bWFpbA==:qe']));
});
