import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compile, type Compiled } from '../helpers/compile.ts';
import { codeBlocksOf, readDocuments, root } from './markdown.ts';

// Code in documents is compiled in one go, inside the repository, where `holdfast` means the built package.

/** A program of a document or of an example; `runs` unless it needs something that a test has not. */
interface Program {
  readonly name: string;
  readonly code: string;
  readonly runs: boolean;
}

const compileTimeoutMs = 120_000;
const programs = await readPrograms();
let compiled: Compiled;

beforeAll(async () => {
  // What examples import from files of their reader comes along.
  const named = programs.map(({ code }, i) => [nameOf(i), code]);
  compiled = await compile({ ...Object.fromEntries(named), 'my-store': MY_STORE }, ['injection']);
}, compileTimeoutMs);

afterAll(() => compiled.delete());

const nameOf = (i: number): string => `program-${i}`;

test.each(programs.map((program, i) => ({ ...program, i })))('$name compiles under strict options', ({ i }) => {
  expect(compiled.complaintsOf(nameOf(i))).toEqual([]);
});

test('nothing else is wrong', () => {
  expect(compiled.complaints).toEqual([]);
});

test.concurrent.each(programs.map((program, i) => ({ ...program, i })).filter(({ runs }) => runs))(
  '$name runs, prints something and ends by itself',
  async ({ i }) => {
    const data = join(compiled.folder, `data-${i}`);
    await mkdir(data);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [compiled.pathOf(nameOf(i))], {
      cwd: data,
      timeout: compileTimeoutMs,
    });
    expect(stderr).toBe('');
    expect(stdout.trim()).not.toBe('');
  },
  compileTimeoutMs,
);

async function readPrograms(): Promise<Program[]> {
  const blocks = readDocuments()
    .flatMap(codeBlocksOf)
    .filter(({ language }) => language === 'ts');
  const inDocuments = blocks.map(({ path, line, marks, code }) => ({
    name: `${path}:${line}`,
    code,
    runs: !marks.includes('no-run'),
  }));
  const example = 'examples/hello/hello.ts';
  return [...inDocuments, { name: example, code: await readFile(join(root, example), 'utf8'), runs: true }];
}

const MY_STORE = `import type { StoreUnderTest } from 'holdfast/testing';
export declare function openMyStore(name: string): ReturnType<StoreUnderTest['open']>;
export declare function deleteMyData(name: string): Promise<void>;
`;
