import { join } from 'node:path';
import { open } from 'holdfast';
import { expect, test } from 'vitest';
import { temporaryFolder } from './folders.ts';
import { kill, startProgram } from './programs.ts';

const folder = temporaryFolder();

test('a folder that another process has open is refused, and opens as soon as that process is killed', async () => {
  const data = join(folder, 'held');
  const holder = await startProgram('hold', data);
  try {
    await expect(open(`file:${data}`)).rejects.toMatchObject({ code: 'STORE_IN_USE' });
  } finally {
    await kill(holder);
  }

  await using holdfast = await open(`file:${data}`);
  const [held] = await holdfast.channel<string>('held').list('ready');
  expect(held?.message).toBe('stored before the kill');
});
