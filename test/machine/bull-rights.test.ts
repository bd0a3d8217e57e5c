import { describe, expect, test } from 'vitest';
import { BULL_STATES, type BullAsk, MAX_BULL_ASKS } from '#holdfast/model/bull.js';
import { isBullAsk, isBullCommand } from '#holdfast/model/bull-checks.js';
import { grantOf } from '#holdfast/model/scopes.js';
import { BullRun, TAKE } from '../helpers/bull-run.ts';

describe('rights', () => {
  const JOB = { id: '', name: 'job', data: '{}', opts: '{}', timestamp: 1 };
  const ask = (scope: string, { queue, method, args }: BullAsk): string => {
    const bull = new BullRun();
    bull.add({ id: 'one' });
    const client = bull.run.client('guest', 'host', { accessToken: '', grant: grantOf([scope]) });
    const reply = client.ask({ kind: 'bull', queue, method, asks: [args] });
    if (reply.kind !== 'bull') throw new Error(`The answer is ${reply.kind}`);
    return reply.refusals[0]?.code ?? 'done';
  };

  test.each([
    ['add', { jobs: [JOB] }, 'produce', 'consume'],
    ['claim', { now: 1, take: TAKE }, 'consume', 'produce'],
    ['job', { id: 'one' }, 'read', undefined],
    ['pause', { paused: true }, 'admin', 'consume'],
    ['remove', { id: 'one', children: true }, 'admin', 'produce'],
    ['setMeta', { values: { version: 'bullmq:6' } }, 'produce', 'read'],
    ['setMeta', { values: { concurrency: '1' } }, 'admin', 'produce'],
  ] as const)('%s is for those who may', (method, args, right, wrong) => {
    const command: BullAsk = { queue: 'bull:mail', method, args };
    expect(ask(`channel:mail:${right}`, command)).toBe('done');
    expect(ask(`channel:other:${right}`, command)).toBe('FORBIDDEN');
    if (wrong !== undefined) expect(ask(`channel:mail:${wrong}`, command)).toBe('FORBIDDEN');
  });

  test('add names no queue, and no parent in one, that is not for the session', () => {
    const flow = { queue: 'bull:mail', method: 'add', args: { jobs: [{ ...JOB, queue: 'bull:other' }] } } as const;
    expect(ask('channel:mail:produce', flow)).toBe('FORBIDDEN');
    const child = { ...JOB, parentKey: 'bull:mail:one', parent: '{"id":"one","queueKey":"bull:mail"}' };
    const intoParent = { queue: 'bull:other', method: 'add', args: { jobs: [child] } } as const;
    expect(ask('channel:other:produce', intoParent)).toBe('FORBIDDEN');
  });

  test('that are lacking for one of several are no hindrance for the others', () => {
    const bull = new BullRun();
    const client = bull.run.client('guest', 'host', { accessToken: '', grant: grantOf(['channel:mail:produce']) });
    const asks = [{ jobs: [JOB] }, { jobs: [{ ...JOB, queue: 'bull:other' }] }, { jobs: [JOB] }];
    const message = 'Cannot use the queue "other": the access token lacks channel:other:produce';
    expect(client.ask({ kind: 'bull', queue: 'bull:mail', method: 'add', asks })).toEqual({
      kind: 'bull',
      values: [['1'], null, ['2']],
      refusals: [{ index: 1, code: 'FORBIDDEN', message }],
    });
  });
});

test('a command asks once at least, and not too often', () => {
  const of = (asks: unknown): boolean => isBullCommand({ queue: 'bull:mail', method: 'state', asks });
  expect(of([{ id: '1' }, { id: '2' }])).toBe(true);
  expect(of([{ id: '1' }, { id: 2 }])).toBe(false);
  expect(of([])).toBe(false);
  expect(of({ id: '1' })).toBe(false);
  expect(of(Array.from({ length: MAX_BULL_ASKS }, () => ({ id: '1' })))).toBe(true);
  expect(of(Array.from({ length: MAX_BULL_ASKS + 1 }, () => ({ id: '1' })))).toBe(false);
});

describe('isBullAsk()', () => {
  const of = (method: string, args: unknown, queue: unknown = 'bull:mail'): boolean =>
    isBullAsk({ queue, method, args });

  test('takes what the machine relies on, and nothing else', () => {
    expect(of('state', { id: '1' })).toBe(true);
    expect(of('state', { id: 1 })).toBe(false);
    expect(of('state', { id: '1', other: 1 })).toBe(false);
    expect(of('state', null)).toBe(false);
    expect(of('toString', {})).toBe(false);
    expect(of('state', { id: 'x'.repeat(401) })).toBe(false);
    expect(of('state', { id: '\ud800' })).toBe(false);
    expect(of('state', { id: '1' }, '')).toBe(false);
    for (const state of BULL_STATES) expect(of('clean', { state, until: 1, limit: 0 })).toBe(true);
    expect(of('clean', { state: 'jobs', until: 1, limit: 0 })).toBe(false);
    expect(of('clean', JSON.parse('{"state":"wait","until":1e999,"limit":0}'))).toBe(false);
  });

  test('refuses what a scheduler or a parent cannot be read from', () => {
    const scheduler = { id: 's', now: 1, nextAt: 1, fields: {}, data: '{}', templateOpts: '{}', jobOpts: '{}' };
    expect(of('addScheduler', scheduler)).toBe(true);
    expect(of('addScheduler', { ...scheduler, jobOpts: 'no' })).toBe(false);
    expect(of('addScheduler', { ...scheduler, jobOpts: '{"priority":"x"}' })).toBe(false);
    const job = { id: '', name: 'n', data: '{}', opts: '{}', timestamp: 1, parent: '[]' };
    expect(of('add', { jobs: [job] })).toBe(false);
  });
});
