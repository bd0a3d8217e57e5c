import { expect, test } from 'vitest';
import { leftBehind, runTool, startTool } from '../tools/running-tool.ts';

test('20,000 random and mutated frames hurt neither the server nor another client', async () => {
  const fuzz = startTool('fuzz', ['--frames', '20000', '--seed', '5', '--json']);
  const { code, stdout, stderr } = await fuzz.ended;

  expect(stderr).toBe('');
  const summary = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
  expect(summary).toMatchObject({ seed: 5, violations: [], complaints: [], exit: 0 });
  expect(summary).toMatchObject({ endings: { stuck: 0 }, canary: { lost: 0, doubled: 0, complaints: [] } });
  const { sent, connections, canary } = summary as Record<string, Record<string, number>>;
  for (const kind of ['formed', 'mutated', 'raw', 'early']) expect(sent?.[kind]).toBeGreaterThan(100);
  for (const way of ['unix', 'tcp', 'websocket']) expect(connections?.[way]).toBeGreaterThan(100);
  expect(canary?.['produced']).toBeGreaterThan(10);
  expect(code).toBe(0);
  expect(leftBehind(fuzz)).toEqual([]);
}, 60_000);

test('--frames that is no number is refused', async () => {
  const { code, stderr } = await runTool('fuzz', ['--frames', 'many']);

  expect(stderr).toContain('Cannot use "many" as "--frames"');
  expect(code).toBe(2);
});
