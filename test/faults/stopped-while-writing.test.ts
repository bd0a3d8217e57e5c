import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'holdfast';
import { expect, onTestFinished, test } from 'vitest';
import { need } from '../store/children.ts';
import { temporaryFolder } from './folders.ts';
import { pathOfProgram } from './programs.ts';

const folder = temporaryFolder();

/** Resolves when the process that strace runs does nothing any more: none of its threads has had its turn for a while. */
async function standsStill(strace: number): Promise<void> {
  const [child = ''] = readFileSync(`/proc/${strace}/task/${strace}/children`, 'utf8').split(' ');
  const turns = (): string =>
    readdirSync(`/proc/${child}/task`)
      .map((task) => /^voluntary.*$/m.exec(readFileSync(`/proc/${child}/task/${task}/status`, 'utf8'))?.[0])
      .join();
  let before = '';
  const isStill = (): boolean => before === (before = turns());
  await expect.poll(isStill, { interval: 200, timeout: 20_000 }).toBe(true);
}

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
  // Also when the test runs out of time.
  onTestFinished(() => {
    if (leader.exitCode === null && leader.signalCode === null) kill();
  });
  await once(leader.stdout, 'data');
  // Whoever opens the folder while it still writes stands still as LMDB itself does, and can say nothing.
  await standsStill(leader.pid as number);
  let warn = (): void => {};
  const warned = new Promise<void>((resolve) => (warn = resolve));
  const log = ({ message }: { readonly message: string }): void => {
    if (message.includes('was stopped while it wrote to the store')) warn();
  };
  const opening = open(`file:${data}`, { log });
  await warned;

  const gone = once(leader, 'exit');
  kill();
  await gone;
  await using holdfast = await opening;
  expect((await holdfast.channel('endless').inspect()).ready).toBeGreaterThan(0);
});
