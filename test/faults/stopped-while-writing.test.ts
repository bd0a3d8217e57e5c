import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { open } from 'holdfast';
import { expect, test } from 'vitest';
import { need } from '../store/children.ts';
import { temporaryFolder } from './folders.ts';
import { pathOfProgram } from './programs.ts';

const folder = temporaryFolder();

test('a leader that was stopped while it wrote holds up the next one, which says so, until it is gone', async () => {
  need('strace');
  const data = join(folder, 'data');
  // The pages of LMDB are written by this call and by no other, in a write transaction.
  const stop = ['-f', '-qq', '-o', '/dev/null', '-e', 'trace=writev', '-e', 'inject=writev:signal=SIGSTOP:when=8'];
  const leader = spawn('strace', [...stop, process.execPath, pathOfProgram('produce-endlessly'), data], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const kill = (): void => void process.kill(-(leader.pid as number), 'SIGKILL');
  try {
    await once(leader.stdout, 'data');
    let warn = (_message: string): void => {};
    const warned = new Promise<string>((resolve) => (warn = resolve));
    const opening = open(`file:${data}`, { log: ({ message }) => warn(message) });
    expect(await warned).toContain('was stopped while it wrote to the store');

    const gone = once(leader, 'exit');
    kill();
    await gone;
    await using holdfast = await opening;
    expect((await holdfast.channel('endless').inspect()).ready).toBeGreaterThan(0);
  } finally {
    if (leader.exitCode === null && leader.signalCode === null) kill();
  }
});
