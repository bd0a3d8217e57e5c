import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { STRICT } from '../helpers/compile.ts';

// What a newcomer does: install the package into an empty project, paste the first example of the README, run it.

const root = fileURLToPath(new URL('../../', import.meta.url));
const installTimeoutMs = 180_000;
let project = '';

beforeAll(async () => {
  // A path through a symbolic link would make Node and the compiler disagree about where the package lies.
  project = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-tarball-')));
  const packed = await run('npm', ['pack', '--json', '--pack-destination', project], root);
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }];

  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'newcomer', private: true, type: 'module' }));
  const quietly = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
  await run('npm', ['install', ...quietly, `./${filename}`], project);
}, installTimeoutMs);

afterAll(async () => {
  await rm(project, { recursive: true, force: true });
});

test('the first example of the README compiles under strict options, runs and prints something', async () => {
  await writeFile(join(project, 'example.ts'), await firstExample());
  await writeFile(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        ...STRICT,
        // The declarations of the package are checked as well: a newcomer may not skip them.
        skipLibCheck: false,
        typeRoots: [join(root, 'node_modules', '@types')],
      },
      files: ['example.ts'],
    }),
  );
  await run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', project], project);

  const printed = await run(process.execPath, ['example.js'], project);
  expect(printed.trim()).not.toBe('');
});

test('the tarball holds the library, its sources for the source maps, and no leftovers', async () => {
  const installed = join(project, 'node_modules', 'holdfast');
  for (const path of ['LICENSE', 'README.md', 'dist/index.js', 'dist/index.d.ts', 'src/index.ts']) {
    expect(existsSync(join(installed, path)), path).toBe(true);
  }
  for (const path of ['test', 'tools', 'scripts', 'src/tsconfig.json', 'dist/.tsbuildinfo']) {
    expect(existsSync(join(installed, path)), path).toBe(false);
  }
});

test('every subpath is there, and a framework is asked for only by its own', async () => {
  const installed = join(project, 'node_modules', 'holdfast');
  const { exports } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
    exports: Record<string, string | Record<string, string>>;
  };
  for (const target of Object.values(exports)) {
    const paths = typeof target === 'string' ? [target] : Object.values(target);
    for (const path of paths) expect(existsSync(join(installed, path)), path).toBe(true);
  }
  expect(existsSync(join(project, 'node_modules', '@nestjs'))).toBe(false);
  const program = `await import('holdfast'); await import('holdfast/deno'); await import('holdfast/testing');
    await import('holdfast/nestjs').catch(({ code, message }) => console.log(code, message));`;
  const missing = await run(process.execPath, ['--input-type=module', '--eval', program], project);
  expect(missing).toContain("ERR_MODULE_NOT_FOUND Cannot find package '@nestjs/");
  // The one that the repository has, as an application has its own.
  await symlink(join(root, 'node_modules', '@nestjs'), join(project, 'node_modules', '@nestjs'));
  const known = `console.log(Object.keys(await import('holdfast/nestjs')).join())`;
  expect(await run(process.execPath, ['--input-type=module', '--eval', known], project)).toContain('HoldfastModule');
});

/** The first fenced block of the README that is marked as TypeScript. */
async function firstExample(): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8').catch((cause: unknown) => {
    throw new Error('Cannot run the first example: README.md is missing', { cause });
  });
  const example = /^```ts\n(.*?)^```$/ms.exec(readme)?.[1];
  if (example === undefined)
    throw new Error('Cannot run the first example: README.md has no block that starts with ```ts');
  return example;
}

/** Runs a program and resolves to what it prints; a failure shows all of its output. */
async function run(file: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(file, args, { cwd, timeout: installTimeoutMs });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`Cannot run "${[file, ...args].join(' ')}":\n${stdout}${stderr}`, { cause: error });
  }
}
