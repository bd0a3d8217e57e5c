import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { open } from 'holdfast';
import { newFolder, openUntilEnd, startInMemory } from '../helpers/instances.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a module that uses the package; resolves with its exit code and what it printed. */
function runScript(script: string): {
  readonly ended: Promise<{ code: number | null; output: string }>;
  readonly kill: () => void;
  readonly said: (text: string) => Promise<void>;
} {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const listeners = new Set<() => void>();
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    for (const listener of listeners) listener();
  });
  const ended = new Promise<{ code: number | null; output: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, output }));
  });
  const said = (text: string): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (output.includes(text)) resolve();
      };
      listeners.add(look);
      look();
    });
  return { ended, said, kill: () => void child.kill('SIGKILL') };
}

describe('open()', () => {
  test.each([true, false])(
    'twice on one folder gives one broker, which lives until the last one closes (thread: %s)',
    async (thread) => {
      const url = `file:${newFolder()}`;
      const [first, second] = await Promise.all([open(url, { thread }), open(url, { thread })]);
      const { id } = await first.channel<string>('mail').produce('hello');
      await first.close();
      expect(await second.channel<string>('mail').get(id)).toMatchObject({ message: 'hello' });
      await second.close();
      const third = await openUntilEnd(url, { thread });
      expect(await third.channel<string>('mail').get(id)).toMatchObject({ message: 'hello', state: 'ready' });
    },
  );

  test('of `memory:` gives a new store each time', async () => {
    const [first, second] = [await startInMemory(), await startInMemory()];
    await first.hf.channel<number>('mail').produce(1);
    expect(await second.hf.channelNames()).toEqual([]);
    expect(first.hf.durability).toBe('memory');
  });
});

describe('a process', () => {
  test('that only produces ends by itself and loses nothing', async () => {
    const url = `file:${newFolder()}`;
    const { ended } = runScript(`
      import { open } from 'holdfast';
      const hf = await open(${JSON.stringify(url)});
      const channel = hf.channel('mail');
      for (let i = 0; i < 100; i++) void channel.produce(i).then(() => console.log('stored'));
    `);
    const { code, output } = await ended;
    expect([code, output.match(/stored/g)?.length]).toEqual([0, 100]);
    const hf = await openUntilEnd(url);
    expect(await hf.channel<number>('mail').inspect()).toMatchObject({ ready: 100 });
  });

  test('with an open consumer stays alive, and ends when it is closed', async () => {
    const url = `file:${newFolder()}`;
    const { ended, said } = runScript(`
      import { open } from 'holdfast';
      const hf = await open(${JSON.stringify(url)});
      const channel = hf.channel('mail');
      const consumer = await channel.consume((number) => {
        console.log('got ' + number);
        if (number === 2) void consumer.close();
      });
      void channel.produce(1);
      void channel.produce(2, { delay: 300 });
    `);
    await said('got 2');
    expect(await ended).toEqual({ code: 0, output: 'got 1\ngot 2\n' });
  });
});

// In a process of its own, since any other instance of a process shares in that listener.
test('a process may have many instances open, and what it hears at its end is one listener for all of them', async () => {
  const { ended } = runScript(`
    import { open } from 'holdfast';
    const count = () => process.listenerCount('beforeExit');
    const before = count();
    const instances = await Promise.all(Array.from({ length: 12 }, () => open('memory:')));
    console.log('more', count() - before);
    await Promise.all(instances.map((instance) => instance.close()));
    console.log('more', count() - before);
  `);
  expect(await ended).toEqual({ code: 0, output: 'more 1\nmore 0\n' });
});
