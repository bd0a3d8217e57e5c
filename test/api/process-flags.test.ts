import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { newFolder } from '../helpers/instances.ts';

const run = promisify(execFile);
const PACKAGE = new URL('../../dist/index.js', import.meta.url).href;

const SCRIPT = `
const { open } = await import(process.argv[3]);
const hf = await open(process.argv[2]);
const { durability } = await hf.channel('mail').produce('hello');
console.log(durability);
await hf.close();
`;

/** Flags that Node takes for a process, and that a thread of it must have, ignore, or do without. */
const FLAGS = [
  ['--max-old-space-size=256'],
  ['--max-semi-space-size=32'],
  ['--stack-size=1000', '--expose-gc'],
  ['--enable-source-maps', '--no-warnings'],
  ['--import', 'data:text/javascript,globalThis.imported = true'],
];

test.each(FLAGS.map((flags) => ({ flags })))('a process with $flags opens a folder', async ({ flags }) => {
  const folder = newFolder();
  const script = join(folder, 'script.mjs');
  await writeFile(script, SCRIPT);
  const { stdout } = await run(process.execPath, [...flags, script, `file:${join(folder, 'data')}`, PACKAGE]);
  expect(stdout).toBe('disk\n');
});
