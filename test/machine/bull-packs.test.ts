import { expect, test } from 'vitest';
import { KIND, Layout } from '#holdfast/machine/layout.js';
import { PART } from '#holdfast/machine/bull/records.js';
import type { Write } from '#holdfast/model/records.js';
import { BullRun } from '../helpers/bull-run.ts';

const layout = new Layout('test');

/** The numbers of the packs that the store has, and their bytes. */
function packsOf({ run }: BullRun): { readonly numbers: number[]; readonly bytes: number } {
  run.flush();
  const { from, to } = layout.range(KIND.bull, 1, PART.pack);
  const packs = run.stored({ from, to });
  return {
    numbers: packs.map(({ key }) => layout.numberAt(key, 2)),
    bytes: packs.reduce((sum, { value }) => sum + value.length, 0),
  };
}

function addMany(bull: BullRun, count: number, data: string = '{}'): string[] {
  return bull.tryAdd(...Array.from({ length: count }, () => ({ data }))) as string[];
}

test('what one commit changes of many jobs is one record', () => {
  const bull = new BullRun();
  addMany(bull, 500);
  expect(packsOf(bull).numbers).toEqual([1]);
  addMany(bull, 500);
  expect(packsOf(bull).numbers).toEqual([1, 2]);
});

test('no pack outgrows what a store takes', () => {
  const bull = new BullRun();
  const data = JSON.stringify('x'.repeat(50_000));
  addMany(bull, 40, data);
  const { numbers, bytes } = packsOf(bull);
  expect(bytes).toBeGreaterThan(40 * data.length);
  expect(bytes / numbers.length).toBeLessThan(300 * 1024);
  bull.run.reload();
  expect(bull.ids('wait')).toHaveLength(40);
});

test('nothing is left of jobs that are gone', () => {
  const bull = new BullRun();
  addMany(bull, 10);
  for (const id of bull.claimAll()) bull.finish(id, { keep: { count: 0 } });
  expect(packsOf(bull).numbers).toEqual([]);
});

test('a job that is gone stays gone while its pack is there for another one', () => {
  const bull = new BullRun();
  const [first = '', second = ''] = addMany(bull, 2);
  bull.claim();
  bull.finish(first, { keep: { count: 0 } });
  bull.run.reload();
  expect(bull.ids('wait')).toEqual([second]);
  // What says so goes with the pack that it says it of.
  bull.claim();
  bull.finish(second, { keep: { count: 0 } });
  expect(packsOf(bull).numbers).toEqual([]);
});

test('a job whose data were written anew is gone for good too', () => {
  const bull = new BullRun();
  const [first = '', second = ''] = addMany(bull, 2);
  bull.ask('updateData', { id: first, data: '{"changed":1}' });
  bull.ask('updateData', { id: first, data: '{"changed":2}' });
  bull.run.reload();
  expect(bull.ask('job', { id: first })?.data).toBe('{"changed":2}');
  bull.ask('remove', { id: first, children: false });
  bull.run.reload();
  expect(bull.ids('wait')).toEqual([second]);
});

test.each([false, true])('one job that stays does not keep what is gone (restarts: %s)', (restarts) => {
  const bull = new BullRun();
  const data = JSON.stringify('x'.repeat(200));
  const [stays = ''] = bull.tryAdd({ delay: 1e9, data }, ...Array.from({ length: 99 }, () => ({ data }))) as string[];
  for (let round = 0; round < 30; round++) {
    for (const id of bull.claimAll()) bull.finish(id, { keep: { count: 0 } });
    // Of these, one of each hundred stays for good.
    bull.tryAdd({ delay: 1e9, data }, ...Array.from({ length: 99 }, () => ({ data })));
    if (restarts) bull.run.reload();
  }
  for (const id of bull.claimAll()) bull.finish(id, { keep: { count: 0 } });
  expect(bull.counts()).toEqual({ delayed: 31 });
  const { bytes } = packsOf(bull);
  expect(bytes).toBeLessThan(4 * 31 * 400 + 64 * 1024);
  bull.run.reload();
  expect(bull.counts()).toEqual({ delayed: 31 });
  expect(bull.ask('state', { id: stays })).toBe('delayed');
});

test('one commit writes little anew, however much there is of it', () => {
  const bull = new BullRun();
  const data = JSON.stringify('x'.repeat(2_000));
  // The oldest packs count as a whole, and stand before those of which one job in fifty stays.
  bull.tryAdd(...Array.from({ length: 100 }, () => ({ data, delay: 1e9 })));
  for (let round = 0; round < 20; round++) {
    bull.tryAdd(...Array.from({ length: 50 }, (_, i) => ({ data, ...(i === 0 && { delay: 1e9 }) })));
  }
  let most = 0;
  for (let { job } = bull.claim(); job !== null; { job } = bull.claim()) {
    bull.run.flush();
    const before = bull.run.writes.length;
    bull.finish(job.id, { keep: { count: 0 } });
    bull.run.flush();
    most = Math.max(most, packBytesIn(bull.run.writes.slice(before)));
  }
  expect(bull.counts()).toEqual({ delayed: 120 });
  // It is written anew at all, and never more than 64 KiB, a job, and what has changed besides.
  expect(most).toBeGreaterThan(20 * data.length);
  expect(most).toBeLessThan(80 * 1024);
});

test('a restart in the midst of writing anew loses nothing and brings nothing back', () => {
  const bull = new BullRun();
  const data = JSON.stringify('x'.repeat(20_000));
  // The first packs keep eight jobs of forty; to write them anew takes several commits.
  const kept: string[] = [];
  for (let round = 0; round < 5; round++) {
    const ids = addMany(bull, 8, data);
    kept.push(...ids.slice(0, 2));
  }
  const gone: string[] = [];
  for (;;) {
    const { job } = bull.claim();
    if (job === null) break;
    if (kept.includes(job.id)) bull.ask('moveToDelayed', { ...held(bull, job.id), delay: 1e9, skipsAttempt: false });
    else {
      bull.finish(job.id, { keep: { count: 0 } });
      gone.push(job.id);
    }
    bull.run.reload();
    for (const id of gone) expect(bull.ask('state', { id })).toBeNull();
  }
  expect(bull.ids('delayed').toSorted()).toEqual(kept.toSorted());
  for (let i = 0; i < 200; i++) {
    const [id = ''] = addMany(bull, 1, data);
    bull.ask('remove', { id, children: false });
    bull.run.reload();
    expect(bull.counts()).toEqual({ delayed: kept.length });
  }
  expect(packsOf(bull).bytes).toBeLessThan(4 * kept.length * (data.length + 200) + 64 * 1024);
});

function packBytesIn(writes: readonly Write[]): number {
  let bytes = 0;
  for (const write of writes) {
    if (write.kind !== 'put' || layout.kindOf(write.key) !== KIND.bull) continue;
    if (layout.numberAt(write.key, 1) === PART.pack) bytes += write.value.length;
  }
  return bytes;
}

function held(bull: BullRun, id: string): { id: string; token: string; now: number } {
  return { id, token: 'token', now: bull.run.now };
}
