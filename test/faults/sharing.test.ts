import { join } from 'node:path';
import { open } from 'holdfast';
import { expect, test } from 'vitest';
import { untilTrue } from '../helpers/until-true.ts';
import { temporaryFolder } from './folders.ts';
import { kill, startProgram } from './programs.ts';

const folder = temporaryFolder();

test('a folder that another process has open is shared, and stays open when that process is killed', async () => {
  const data = join(folder, 'held');
  const holder = await startProgram('hold', data);
  const log: string[] = [];
  await using holdfast = await open(`file:${data}`, { log: ({ message }) => void log.push(message) });
  const channel = holdfast.channel<string>('held');
  const [held] = await channel.list('ready');
  expect(held?.message).toBe('stored before the kill');
  expect(log).toEqual([]);
  const lost = `The process that led "${data}" is gone, or does not answer`;
  await kill(holder);
  await channel.produce('stored after the kill');
  await untilTrue(() => log.length >= 2);
  expect(log).toEqual([lost, `This process leads "${data}" now`]);
  expect((await channel.list('ready')).map(({ message }) => message)).toEqual([
    'stored before the kill',
    'stored after the kill',
  ]);
});
