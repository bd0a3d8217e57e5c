import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as Deno from 'holdfast/deno';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bunProgram } from '../helpers/bun.ts';
import { newFolder } from '../helpers/instances.ts';
import { startServer, type Talking, talking } from '../network/processes.ts';

const program = (name: string): string => fileURLToPath(new URL(`programs/${name}.mjs`, import.meta.url));

const { clonable } = (await import(program('values'))) as {
  clonable: () => Record<string, unknown>;
};

async function opened(folder: string): Promise<Deno.Kv> {
  const kv = await Deno.openKv(folder);
  onTestFinished(() => kv[Symbol.dispose]());
  return kv;
}

/** Starts Bun on a folder, with one who listens. */
async function startBeside(folder: string): Promise<Talking> {
  const bun = talking([program('beside'), folder], {}, onTestFinished, bunProgram());
  await bun.says(({ text }) => text === 'opened');
  return bun;
}

describe('openKv() on Bun', () => {
  test.each<[string, () => string | Promise<string>]>([
    ['in memory', () => ':memory:'],
    ['in a folder', () => newFolder()],
    ['over the network', async () => (await startServer({ folder: newFolder(), endBehind: onTestFinished })).url],
  ])('does %s what it does on Node', async (_name, place) => {
    const { stdout } = await promisify(execFile)(bunProgram(), [program('scenario'), await place()]);
    expect(JSON.parse(stdout)).toEqual({
      isSame: true,
      bytes: [1, 2],
      listed: [3, 2, 1],
      many: [{ id: 1 }, null],
      commits: [true, false],
      sum: '5',
      left: null,
      watched: [null, 'a'],
      refusal: 'TypeError: () => 1 could not be cloned.',
      heard: ['1', 'second', 'third'],
    });
  });

  test('exchanges values and messages with Node, which leads the folder', async () => {
    const folder = newFolder();
    const kv = await opened(folder);
    await kv.set(['others'], clonable());
    const bun = await startBeside(folder);
    expect((await kv.get(['own'])).value).toEqual(clonable());
    await kv.enqueue(clonable());
    expect(await bun.says((line) => 'heard' in line)).toEqual({ heard: true, read: true });
  });

  test('leads a folder for Node, which takes over when it dies', async () => {
    const folder = newFolder();
    const bun = await startBeside(folder);
    const kv = await opened(folder);
    await kv.set(['others'], clonable());
    await kv.enqueue(clonable());
    expect(await bun.says((line) => 'heard' in line)).toEqual({ heard: true, read: true });
    await bun.end('SIGKILL');
    expect((await kv.get(['own'])).value).toEqual(clonable());
    await kv.set(['others'], 'behind it');
    expect((await kv.get(['others'])).value).toBe('behind it');
  });
});
