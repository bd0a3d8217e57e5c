import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Holdfast, open, restore } from 'holdfast';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryFolder } from './folders.ts';
import { kill, startProgram } from './programs.ts';

const folder = temporaryFolder();
const PROGRAMS = 2;
const ENOUGH = 200;

/** Every message of a state, by its content. */
async function all(hf: Holdfast, channel: string, state: 'ready' | 'leased'): Promise<string[]> {
  const texts: string[] = [];
  for (;;) {
    const page = await hf.admin.list(channel, state, { offset: texts.length, limit: 100 });
    texts.push(...page.map(({ message }) => message as string));
    if (page.length < 100) return texts;
  }
}

test('a backup that is taken while several processes work has all that was acknowledged, once', async () => {
  const data = join(folder, 'data');
  const acknowledged: string[] = [];
  let enough = (): void => {};
  const isEnough = new Promise<void>((resolve) => (enough = resolve));
  const programs = await Promise.all(
    Array.from({ length: PROGRAMS }, async (_, i) => {
      const program = await startProgram('double', data, `program${i}`);
      onTestFinished(() => void program.kill('SIGKILL'));
      if (program.stdout === null) throw new Error('The program has no output');
      createInterface({ input: program.stdout }).on('line', (line) => {
        acknowledged.push(line.slice(37));
        if (acknowledged.length === ENOUGH) enough();
      });
      return program;
    }),
  );
  const file = join(folder, 'backup');
  let before: string[];
  {
    await using hf = await open(`file:${data}`);
    await isEnough;
    before = [...acknowledged];
    await pipeline(Readable.from(hf.backup()), createWriteStream(file));
  }
  for (const program of programs) await kill(program);

  const target = join(folder, 'restored');
  await restore(file, target);
  await using restored = await open(`file:${target}`);
  const waiting = await all(restored, 'jobs', 'ready');
  const doubled = await all(restored, 'doubled', 'ready');
  const there = [...waiting, ...doubled];
  expect(new Set(there).size).toBe(there.length);
  const missing = new Set(before);
  for (const text of there) missing.delete(text);
  expect([...missing]).toEqual([]);
  expect(before.length).toBeGreaterThanOrEqual(ENOUGH);
  expect(await restored.admin.inspect('jobs')).toMatchObject({
    ready: waiting.length,
    leased: 0,
    totals: { produced: there.length, completed: doubled.length },
  });
});
