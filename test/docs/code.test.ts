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
  /** Where it stands among all, without the ending. */
  readonly file: string;
  /** Programs of one place have their data in common, and run one after the other. */
  readonly place: string;
  readonly code: string;
  readonly runs: boolean;
  /** It goes on until it is told to end, which it is when it has printed something. */
  readonly isServing: boolean;
}

const compileTimeoutMs = 120_000;
const programs = await readPrograms();
let compiled: Compiled;

beforeAll(async () => {
  // What examples import from files of their reader comes along.
  const named = programs.map(({ file, code }) => [file, code]);
  compiled = await compile({ ...Object.fromEntries(named), 'my-store': MY_STORE }, ['injection']);
}, compileTimeoutMs);

afterAll(() => compiled.delete());

test.each(programs)('$name compiles under strict options', ({ file }) => {
  expect(compiled.complaintsOf(file)).toEqual([]);
});

test('nothing else is wrong', () => {
  expect(compiled.complaints).toEqual([]);
});

/** When the last program of each place that has begun, or waits to, has ended. */
const ends = new Map<string, Promise<void>>();

test.concurrent.each(programs.filter(({ runs }) => runs))(
  '$name runs, prints something and ends',
  async (program) => {
    const run = (ends.get(program.place) ?? Promise.resolve()).then(() => runProgram(program));
    ends.set(
      program.place,
      run.catch(() => {}),
    );
    await run;
  },
  compileTimeoutMs,
);

async function runProgram({ file, place, isServing }: Program): Promise<void> {
  const cwd = join(compiled.folder, 'data', place);
  await mkdir(cwd, { recursive: true });
  const running = promisify(execFile)(process.execPath, [compiled.pathOf(file)], { cwd, timeout: compileTimeoutMs });
  if (isServing) running.child.stdout?.once('data', () => running.child.kill('SIGTERM'));
  const { stdout, stderr } = await running;
  expect(stderr).toBe('');
  expect(stdout.trim()).not.toBe('');
}

/**
 * The marks of a block of code say what to do with it: `no-run`; `serving` for a program that goes on until it is told to end; and a name such
 * as `web.ts`, under which other blocks of the document import it, and with whose programs it shares its data.
 */
async function readPrograms(): Promise<Program[]> {
  const blocks = readDocuments()
    .flatMap(codeBlocksOf)
    // Those for Deepkit's compiler are compiled and run by `test/deepkit`.
    .filter(({ language, marks }) => language === 'ts' && !marks.includes('deepkit'));
  const inDocuments = blocks.map(({ path, line, marks, code }, i) => {
    const ownFile = marks.find((mark) => mark.endsWith('.ts'))?.slice(0, -'.ts'.length);
    const document = path.replaceAll(/\W+/g, '-');
    return {
      name: `${path}:${line}`,
      file: ownFile === undefined ? `program-${i}` : `${document}/${ownFile}`,
      place: ownFile === undefined ? String(i) : document,
      code,
      runs: !marks.includes('no-run'),
      isServing: marks.includes('serving'),
    };
  });
  const example = 'examples/hello/hello.ts';
  const code = await readFile(join(root, example), 'utf8');
  return [...inDocuments, { name: example, file: 'hello', place: 'hello', code, runs: true, isServing: false }];
}

const MY_STORE = `import type { StoreUnderTest } from 'holdfast/testing';
export declare function openMyStore(name: string): ReturnType<StoreUnderTest['open']>;
export declare function deleteMyData(name: string): Promise<void>;
`;
