import { join } from 'node:path';
import { open } from 'holdfast';
import { expect, test } from 'vitest';
import { temporaryFolder } from './folders.ts';
import { kill, startProgram } from './programs.ts';

const folder = temporaryFolder();

test('a folder that another process has open is shared, and stays open when that process is killed', async () => {
  const data = join(folder, 'held');
  const holder = await startProgram('hold', data);
  await using holdfast = await open(`file:${data}`);
  const channel = holdfast.channel<string>('held');
  const [held] = await channel.list('ready');
  expect(held?.message).toBe('stored before the kill');
  await kill(holder);
  await channel.produce('stored after the kill');
  expect((await channel.list('ready')).map(({ message }) => message)).toEqual([
    'stored before the kill',
    'stored after the kill',
  ]);
});
