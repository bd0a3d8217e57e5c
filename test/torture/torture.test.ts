import { describe, expect, test } from 'vitest';
import { interrupt, leftBehind, runTool, startTool } from '../tools/running-tool.ts';

const NO_VIOLATIONS = { missing: 0, doubled: 0, altered: 0, revived: 0, miscounted: 0 };

test('20 kills at random moments lose no acknowledged message and double no effect', async () => {
  const args = ['kill', '--processes', '1', '--cycles', '20', '--seed', '7', '--load', '500', '--json'];
  const { code, stdout, stderr } = await runTool('torture', args);

  expect(stderr).toBe('');
  expect(summaryIn(stdout)).toMatchObject({ fault: 'kill', processes: 1, seed: 7, cycles: 20, ...NO_VIOLATIONS });
  for (const counted of ['acknowledged', 'jobsAdded', 'jobsEnded'])
    expect(summaryIn(stdout)[counted]).toBeGreaterThan(100);
  expect(code).toBe(0);
}, 150_000);

test('10 strikes among four processes on one store lose no acknowledged message and double no effect', async () => {
  const args = ['kill', '--cycles', '10', '--seed', '2', '--load', '500', '--json'];
  const torture = startTool('torture', args);
  const { code, stdout, stderr } = await torture.ended;

  expect(stderr).toBe('');
  const summary = summaryIn(stdout);
  expect(summary).toMatchObject({ fault: 'kill', processes: 4, seed: 2, cycles: 10, ...NO_VIOLATIONS });
  for (const counted of ['acknowledged', 'moved', 'counted', 'jobsEnded', 'kills', 'leaderKills', 'stops'])
    expect(summary[counted]).toBeGreaterThan(0);
  expect(code).toBe(0);
  expect(leftBehind(torture)).toEqual([]);
}, 150_000);

test('two power cuts of an ext4 file system lose no acknowledged message', async () => {
  const args = ['powercut', '--fs', 'ext4', '--cycles', '2', '--seed', '3', '--load', '800', '--json'];
  const torture = startTool('torture', args);
  const { code, stdout, stderr } = await torture.ended;

  expect(stderr).toBe('');
  expect(summaryIn(stdout)).toMatchObject({ fault: 'powercut', fs: 'ext4', cycles: 2, ...NO_VIOLATIONS });
  expect(code).toBe(0);
  expect(leftBehind(torture)).toEqual([]);
});

describe.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('%s', (signal, expected) => {
  test.each([
    ['kills before the first', ['kill', '--processes', '1'], 'kill, 20 cycles'],
    ['kills after the second', ['kill', '--processes', '1'], ' 2 of 20 '],
    ['kills among processes before the first', ['kill'], 'kill among 4 processes, 20 cycles'],
    ['kills among processes after the second', ['kill'], ' 2 of 20 '],
    ['power cuts before the first', ['powercut', '--fs', 'ext4'], 'powercut on ext4, 20 cycles'],
    ['power cuts after the first', ['powercut', '--fs', 'ext4'], ' 1 of 20 '],
  ])('ends %s and leaves nothing', async (_when, fault, line) => {
    const torture = startTool('torture', [...fault, '--cycles', '20', '--seed', '5', '--load', '500']);
    await torture.said(line);

    const { code, stdout, stderr } = await interrupt(torture, signal);

    expect(stderr).toBe(`Ended by ${signal}\n`);
    expect(code).toBe(expected);
    expect(stdout).not.toContain('20 of 20');
    expect(leftBehind(torture)).toEqual([]);
  });
});

test.each([
  [[], 'name the fault'],
  [['kill'], '--cycles N'],
  [['kill', '--cycles', 'many'], 'Cannot use "many" as "--cycles"'],
  [['kill', '--cycles', '1', '--fs', 'xfs'], 'it is for powercut'],
  [['kill', '--cycles', '1', '--processes', '2'], 'one leads, one produces, one works'],
  [['powercut', '--cycles', '1', '--fs', 'ext4', '--processes', '4'], 'it is for kill'],
  [['powercut', '--cycles', '1', '--fs', 'fat'], 'it must be ext4 or xfs'],
])('torture refuses %j', async (args, message) => {
  const { code, stderr } = await runTool('torture', args);

  expect(stderr).toContain(message);
  expect(code).toBe(2);
});

function summaryIn(stdout: string): Record<string, unknown> {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as Record<string, unknown>;
}
