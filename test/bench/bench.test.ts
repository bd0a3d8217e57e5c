import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { runTool } from '../tools/running-tool.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-bench-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** As long as the benchmark gives a step. */
const STEP_TIMEOUT_MS = 120_000;

test.each(['socket', 'tcp'] as const)(
  'over %s, 1,000 idle consumers on 1,000 connections cost the broker less than 100 MB',
  async (group) => {
    const { addedBytes } = await runStep(group, '1000 idle consumers', 'run');
    expect(addedBytes).toBeLessThan(100_000_000);
  },
  STEP_TIMEOUT_MS,
);

test(
  'what a killed worker held comes to another process, 20 times',
  async () => {
    expect(await runStep('takeover', 'redelivery, socket', 'run')).toMatchObject({ messages: 20 });
  },
  STEP_TIMEOUT_MS,
);

test('after a kill of the leader another process is answered and gets messages', async () => {
  const measured = await runStep('takeover', 'takeover, 0 waiting', 'run');
  expect(measured['acknowledgedMs']).toBeGreaterThan(0);
  expect(measured['deliveredMs']).toBeGreaterThan(0);
});

test('the limit of a socket is measured with bytes and with objects', async () => {
  for (const [step, content] of [
    ['0', 'bytes'],
    ['1', 'objects'],
  ] as const) {
    const limit = await runStep('socket', 'both at once', step);
    expect(limit).toMatchObject({ name: expect.stringContaining(content), perSecond: expect.any(Number) });
  }
});

test('a group that does not exist is refused, with those that do', async () => {
  const { code, stderr } = await runTool('bench', ['--group', 'nothing']);
  expect(stderr).toContain('there are embedded, socket, tcp, thread, takeover');
  expect(code).toBe(2);
});

/** Runs one step of one case as the benchmark does, and gives what it measured. */
async function runStep(group: string, name: string, step: string): Promise<Record<string, number>> {
  const folder = join(scratch, `${group}-${name}-${step}`);
  mkdirSync(folder);
  const program = fileURLToPath(new URL('../../.build/tools/bench/child.js', import.meta.url));
  const child = fork(program, [group, name, step, folder]);
  let measured: Record<string, number> = {};
  child.once('message', (message: Record<string, number>) => (measured = message));
  // Not `exit`, which may come before what the process said last.
  const [code] = await once(child, 'close');
  expect(code).toBe(0);
  return measured;
}
