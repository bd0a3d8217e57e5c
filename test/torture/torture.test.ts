import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const main = fileURLToPath(new URL('../../.build/tools/torture/main.js', import.meta.url));

const NO_VIOLATIONS = { missing: 0, doubled: 0, altered: 0, revived: 0 };

test('20 kills at random moments lose no acknowledged message and double no effect', async () => {
  const { code, stdout, stderr } = await torture(['kill', '--cycles', '20', '--seed', '7', '--load', '500', '--json']);

  expect(stderr).toBe('');
  expect(summaryIn(stdout)).toMatchObject({ fault: 'kill', seed: 7, cycles: 20, ...NO_VIOLATIONS });
  expect(summaryIn(stdout)['acknowledged']).toBeGreaterThan(100);
  expect(code).toBe(0);
}, 240_000);

test('two power cuts of an ext4 file system lose no acknowledged message', async () => {
  const args = ['powercut', '--fs', 'ext4', '--cycles', '2', '--seed', '3', '--load', '800', '--json'];
  const { code, stdout, stderr } = await torture(args);

  expect(stderr).toBe('');
  expect(summaryIn(stdout)).toMatchObject({ fault: 'powercut', fs: 'ext4', cycles: 2, ...NO_VIOLATIONS });
  expect(code).toBe(0);
  expect(readFileSync('/proc/mounts', 'utf8')).not.toContain('holdfast-powercut');
}, 120_000);

test.each([
  [[], 'name the fault'],
  [['kill'], '--cycles N'],
  [['kill', '--cycles', 'many'], 'Cannot use "many" as "--cycles"'],
  [['kill', '--cycles', '1', '--fs', 'xfs'], 'it is for powercut'],
  [['powercut', '--cycles', '1', '--fs', 'fat'], 'it must be ext4 or xfs'],
])('torture refuses %j', async (args, message) => {
  const { code, stderr } = await torture(args);

  expect(stderr).toContain(message);
  expect(code).toBe(2);
});

function summaryIn(stdout: string): Record<string, unknown> {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as Record<string, unknown>;
}

function torture(args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...output }));
  });
}
