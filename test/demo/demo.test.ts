import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const main = fileURLToPath(new URL('../../.build/tools/demo/main.js', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'holdfast-demo-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A name that is no UTF-8, with a line break; the demo names the odd byte by a lone surrogate. */
const ODD_NAME = Buffer.from('odd \xff\nname', 'latin1');
const ODD_TEXT = 'odd \udcff\nname';

test('the demo kills its working process three times or more, loses nothing and records nothing twice', async () => {
  const folder = join(scratch, 'files');
  const hashes = fillFolder(folder);
  const results = join(scratch, 'results.jsonl');
  const temporary = join(scratch, 'temporary');
  mkdirSync(temporary);

  const { code, stdout } = await runDemo(['--folder', folder, '--json', '--results', results], temporary);

  const summary = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as Record<string, unknown>;
  expect(summary).toEqual({
    folder,
    files: 101,
    bytes: expect.any(Number),
    produced: 101,
    completed: 100,
    dead: 1,
    redelivered: expect.any(Number),
    lost: 0,
    doubled: 0,
    kills: expect.any(Number),
    seconds: expect.any(Number),
    messagesPerSecond: expect.any(Number),
    durability: 'disk',
  });
  expect(summary['kills']).toBeGreaterThanOrEqual(3);
  expect(summary['redelivered']).toBeGreaterThan(0);
  expect(stdout).toContain('dead: dangling: ENOENT');
  expect(code).toBe(0);
  const lines = readFileSync(results, 'utf8').trimEnd().split('\n');
  const written = lines.map((line) => JSON.parse(line) as { path: string; sha256: string });
  expect(new Map(written.map(({ path, sha256 }) => [path, sha256]))).toEqual(hashes);
  expect(written.length).toBe(100);
  expect(readdirSync(temporary)).toEqual([]);
}, 120_000);

test('the demo of an empty folder has nothing to kill for', async () => {
  const folder = join(scratch, 'empty');
  mkdirSync(folder);

  const { code, stdout } = await runDemo(['--folder', folder, '--json'], scratch);

  const summary = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as Record<string, unknown>;
  expect(summary).toMatchObject({ files: 0, produced: 0, completed: 0, dead: 0, lost: 0, doubled: 0, kills: 0 });
  expect(code).toBe(0);
});

test.each([
  [['--folder', join(scratch, 'absent')], 'there is no such folder'],
  [['--wat'], 'Cannot use "--wat": known are --folder'],
  [['--folder'], 'write --folder VALUE'],
  [['elsewhere'], 'Cannot use "elsewhere"'],
  [['--folder', scratch, '--data', scratch], 'it is not empty'],
])('the demo refuses %j', async (args, message) => {
  const { code, stderr } = await runDemo(args, scratch);

  expect(stderr).toContain(message);
  expect(code).toBe(2);
});

/** A hundred files, one of them with an odd name, a link that leads nowhere, and what the demo passes over. */
function fillFolder(folder: string): Map<string, string> {
  mkdirSync(join(folder, 'deep', 'er'), { recursive: true });
  const hashes = new Map<string, string>();
  const add = (path: string | Buffer, text: string, content: string): void => {
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(path)]), content);
    hashes.set(text, createHash('sha256').update(content).digest('hex'));
  };
  for (let i = 0; i < 99; i++) {
    const path = `${['', 'deep/', 'deep/er/'][i % 3]}file ${i}.txt`;
    add(path, path, `line ${i}\n`.repeat(i * 10));
  }
  add(ODD_NAME, ODD_TEXT, 'odd');
  symlinkSync('nowhere', join(folder, 'dangling'));
  symlinkSync('deep', join(folder, 'not followed'));
  return hashes;
}

function runDemo(
  args: readonly string[],
  temporary: string,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, TMPDIR: temporary } });
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...output }));
  });
}
