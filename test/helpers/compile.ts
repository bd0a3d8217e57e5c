import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

/** Programs that were compiled under strict options, inside the repository, where `holdfast` means the built package. */
export interface Compiled {
  readonly folder: string;
  /** All that the compiler has against them, a line each. */
  readonly complaints: readonly string[];
  /** What the compiler has against one of them, a line each. */
  complaintsOf(name: string): string[];
  pathOf(name: string): string;
  urlOf(name: string): string;
  delete(): Promise<void>;
}

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Compiles programs, given by name, or by a path below one folder, that may use these integrations; those that the compiler complains of as well. */
export async function compile(
  programs: Readonly<Record<string, string>>,
  integrations: readonly string[] = [],
): Promise<Compiled> {
  await mkdir(join(root, '.build'), { recursive: true });
  const folder = await mkdtemp(join(root, '.build', 'compiled-'));
  for (const name of integrations) await install(join(root, 'integrations', name, 'node_modules'), folder);
  for (const [name, code] of Object.entries(programs)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, `${name}.ts`), code);
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(CONFIGURATION));
  const complaints = await complaintsIn(folder);
  const pathOf = (name: string): string => join(folder, `${name}.js`);
  return {
    folder,
    complaints,
    complaintsOf: (name) => complaints.filter((line) => line.includes(`${name}.ts(`)),
    pathOf,
    urlOf: (name) => pathToFileURL(pathOf(name)).href,
    delete: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Each package by a link of its own: what is not among them is found in the repository. */
async function install(packages: string, folder: string): Promise<void> {
  for (const name of await readdir(packages)) {
    if (name.startsWith('.')) continue;
    const inScope = name.startsWith('@') ? await readdir(join(packages, name)) : [''];
    for (const part of inScope) {
      const target = join(folder, 'node_modules', name, part);
      await mkdir(join(target, '..'), { recursive: true });
      await symlink(join(packages, name, part), target);
    }
  }
}

async function complaintsIn(folder: string): Promise<string[]> {
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  const { stdout } = await promisify(execFile)(compiler, ['-p', folder]).catch((error: unknown) => {
    const { stdout = '' } = error as { stdout?: string };
    if (stdout === '') throw error;
    return { stdout };
  });
  return stdout.split('\n').filter((line) => line !== '');
}

/** How strict a reader's compiler may be. */
export const STRICT = {
  target: 'es2023',
  lib: ['es2023'],
  module: 'nodenext',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  types: ['node'],
};

const CONFIGURATION = {
  compilerOptions: {
    ...STRICT,
    rewriteRelativeImportExtensions: true,
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
    pretty: false,
    skipLibCheck: true,
  },
  include: ['**/*.ts'],
};
