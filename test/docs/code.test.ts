import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
let folder = '';
let complaints = '';

beforeAll(async () => {
  await mkdir(join(root, '.build'), { recursive: true });
  folder = await mkdtemp(join(root, '.build', 'docs-'));
  // What examples import from files of their reader.
  await writeFile(join(folder, 'my-store.ts'), MY_STORE);
  for (const [i, { code }] of programs.entries()) await writeFile(join(folder, `program-${i}.ts`), code);
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(CONFIGURATION));
  complaints = await output(join(root, 'node_modules', '.bin', 'tsc'), ['-p', folder]);
}, compileTimeoutMs);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test.each(programs.map((program, i) => ({ ...program, i })))('$name compiles under strict options', ({ i }) => {
  expect(complaints.split('\n').filter((line) => line.includes(`program-${i}.ts`))).toEqual([]);
});

test('nothing else is wrong', () => {
  expect(complaints).toBe('');
});

test.concurrent.each(programs.map((program, i) => ({ ...program, i })).filter(({ runs }) => runs))(
  '$name runs, prints something and ends by itself',
  async ({ i }) => {
    const data = join(folder, `data-${i}`);
    await mkdir(data);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [join(folder, `program-${i}.js`)], {
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

/** What a program prints, whether it succeeds or not. */
async function output(file: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(file, args, { timeout: compileTimeoutMs });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    if (stdout === '') throw error;
    return stdout + stderr;
  }
}

const CONFIGURATION = {
  compilerOptions: {
    target: 'es2023',
    lib: ['es2023'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    types: ['node'],
    pretty: false,
    skipLibCheck: true,
  },
  include: ['*.ts'],
};

const MY_STORE = `import type { StoreUnderTest } from 'holdfast/testing';
export declare function openMyStore(name: string): ReturnType<StoreUnderTest['open']>;
export declare function deleteMyData(name: string): Promise<void>;
`;
