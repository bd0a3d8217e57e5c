import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { interrupt, leftBehind, processesOf, runTool, startTool } from '../tools/running-tool.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-demo-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Root reads every file, whatever its mode says, by two privileges that a program can do without. */
const BOUND_BY_MODES: readonly string[] =
  process.getuid?.() === 0 ? ['setpriv', '--inh-caps=-all', '--bounding-set=-dac_override,-dac_read_search'] : [];

/** A name that is no UTF-8, with a line break; the demo names the odd byte by a lone surrogate. */
const ODD_NAME = Buffer.from('odd \xff\nname', 'latin1');
const ODD_TEXT = 'odd \udcff\nname';

test('the demo kills four workers and three brokers, loses nothing and records nothing twice', async () => {
  const folder = join(scratch, 'files');
  const hashes = fillFolder(folder);
  const results = join(scratch, 'results.jsonl');

  const demo = startTool('demo', ['--folder', folder, '--json', '--results', results]);
  const { code, stdout } = await demo.ended;

  const summary = summaryIn(stdout);
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
    workers: expect.any(Number),
    kills: 7,
    workerKills: 4,
    brokerKills: 3,
    seconds: expect.any(Number),
    messagesPerSecond: expect.any(Number),
    durability: 'disk',
  });
  expect(summary['redelivered']).toBeGreaterThan(0);
  expect(stdout).toContain('dead: dangling: ENOENT');
  expect(code).toBe(0);
  const lines = readFileSync(results, 'utf8').trimEnd().split('\n');
  const written = lines.map((line) => JSON.parse(line) as { path: string; sha256: string });
  expect(new Map(written.map(({ path, sha256 }) => [path, sha256]))).toEqual(hashes);
  expect(written.length).toBe(100);
  expect(leftBehind(demo)).toEqual([]);
});

test('the demo of an empty folder has nothing to kill for', async () => {
  const folder = join(scratch, 'empty');
  mkdirSync(folder);

  const { code, stdout } = await runTool('demo', ['--folder', folder, '--json']);

  expect(summaryIn(stdout)).toMatchObject({
    files: 0,
    produced: 0,
    completed: 0,
    dead: 0,
    lost: 0,
    doubled: 0,
    kills: 0,
  });
  expect(code).toBe(0);
});

test('the demo keeps a file that this user may not read as dead, and passes over such a folder', async () => {
  const folder = join(scratch, 'not all readable');
  mkdirSync(join(folder, 'closed'), { recursive: true });
  for (let i = 0; i < 9; i++) writeFileSync(join(folder, `file ${i}.txt`), `content ${i}`);
  writeFileSync(join(folder, 'locked.txt'), 'nobody reads this', { mode: 0 });
  chmodSync(join(folder, 'closed'), 0);
  onTestFinished(() => chmodSync(join(folder, 'closed'), 0o700));

  const { code, stdout } = await runTool('demo', ['--folder', folder, '--json'], BOUND_BY_MODES);

  expect(summaryIn(stdout)).toMatchObject({ files: 10, produced: 10, completed: 9, dead: 1, lost: 0, doubled: 0 });
  expect(stdout).toContain('dead: locked.txt: EACCES');
  expect(stdout).toContain('1 folder cannot be listed');
  expect(code).toBe(0);
});

describe.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('%s', (signal, expected) => {
  test.each(['101 files in', 'SIGKILL 1 ', 'SIGKILL 4 '])(
    'ends the demo after "%s" and leaves nothing',
    async (line) => {
      const folder = mkdtempSync(join(scratch, 'interrupted-'));
      fillFolder(folder);
      const demo = startTool('demo', ['--folder', folder]);
      await demo.said(line);

      const { code, stdout, stderr } = await interrupt(demo, signal);

      expect(stderr).toBe(`Ended by ${signal}\n`);
      expect(code).toBe(expected);
      expect(stdout).not.toContain('nothing lost');
      expect(leftBehind(demo)).toEqual([]);
    },
  );
});

test('a demo that is killed takes its processes along', async () => {
  const folder = mkdtempSync(join(scratch, 'killed-'));
  fillFolder(folder);
  const demo = startTool('demo', ['--folder', folder]);
  await demo.said('SIGKILL 2 ');
  expect(processesOf(demo).length).toBeGreaterThan(1);

  demo.process.kill('SIGKILL');
  await demo.ended;

  await expect.poll(() => processesOf(demo), { timeout: 10_000 }).toEqual([]);
});

test.each([
  [['--folder', join(scratch, 'absent')], 'there is no such folder'],
  [['--wat'], 'Cannot use "--wat": known are --folder'],
  [['--folder'], 'write --folder VALUE'],
  [['elsewhere'], 'Cannot use "elsewhere"'],
  [['--folder', scratch, '--data', scratch], 'it is not empty'],
])('the demo refuses %j', async (args, message) => {
  const { code, stderr } = await runTool('demo', args);

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

function summaryIn(stdout: string): Record<string, unknown> {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as Record<string, unknown>;
}
