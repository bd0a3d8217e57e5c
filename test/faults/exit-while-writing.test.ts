import { join } from 'node:path';
import { open } from 'holdfast';
import { expect, test } from 'vitest';
import { temporaryFolder } from './folders.ts';
import { runProgram } from './programs.ts';

const folder = temporaryFolder();

test('a process that exits while its broker writes ends, and lets others write', async () => {
  for (const delayMs of [1, 11, 17, 23, 31, 37, 47, 53, 61, 71]) {
    const data = join(folder, `left-after-${delayMs}`);
    expect(await runProgram('exit-while-writing', data, String(delayMs))).toMatchObject({ code: 0 });
    await using holdfast = await open(`file:${data}`);
    const channel = holdfast.channel<Uint8Array>('large');
    expect((await channel.inspect()).ready % 4).toBe(0);
    await channel.produce(new Uint8Array(1));
  }
});
