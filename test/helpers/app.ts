/** Folders like those of applications, with the packages that they have installed. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { EndBehind } from '../network/processes.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Where what applications use is installed: beside BullMQ, beside NestJS, or web frameworks. `npm run integrations` does it. */
export type Integration = 'bullmq' | 'injection' | 'web';

const modulesOf = (integration: Integration): string => join(root, 'integrations', integration, 'node_modules');

export interface App {
  readonly folder: string;
  pathOf(file: string): string;
  /** Compiles it by its `tsconfig.json`. @returns what the compiler has against it, a line each */
  compile(): Promise<string[]>;
}

/** What an application is made of: the text of each file by its path, or a folder that is copied. */
export type AppFiles = Readonly<Record<string, string>> | URL;

/** Makes an application that has Holdfast, BullMQ and all of an integration installed; it is deleted as told. */
export function newApp(files: AppFiles, endBehind: EndBehind, integration: Integration = 'bullmq'): App {
  mkdirSync(join(root, '.build'), { recursive: true });
  const folder = mkdtempSync(join(root, '.build', 'app-'));
  endBehind(async () => rmSync(folder, { recursive: true, force: true }));
  install(modulesOf(integration), join(folder, 'node_modules'));
  if (files instanceof URL) cpSync(files, folder, { recursive: true });
  else writeFiles(folder, { 'package.json': '{ "type": "module" }', ...files });
  return {
    folder,
    pathOf: (file) => join(folder, file),
    compile: () => compile(folder),
  };
}

function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

/** Links lead to the one copy of each, so that a package and Holdfast mean the same BullMQ. */
function install(installed: string, modules: string): void {
  mkdirSync(modules);
  for (const name of readdirSync(installed)) {
    if (name.startsWith('.') || name === '@types') continue;
    // Of a scope, what is not among them is found in the repository.
    for (const path of name.startsWith('@')
      ? readdirSync(join(installed, name)).map((part) => join(name, part))
      : [name]) {
      mkdirSync(dirname(join(modules, path)), { recursive: true });
      symlinkSync(join(installed, path), join(modules, path));
    }
  }
  symlinkSync(root, join(modules, 'holdfast'));
  for (const name of ['bullmq', 'ioredis']) symlinkSync(join(root, 'node_modules', name), join(modules, name));
  // Those of Node are the same for all of a program.
  const types = join(installed, '@types');
  symlinkSync(existsSync(types) ? types : join(root, 'node_modules', '@types'), join(modules, '@types'));
}

async function compile(folder: string): Promise<string[]> {
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  const { stdout } = await promisify(execFile)(compiler, ['-p', folder, '--pretty', 'false']).catch(
    (error: unknown) => {
      const { stdout = '' } = error as { stdout?: string };
      if (stdout === '') throw error;
      return { stdout };
    },
  );
  return stdout.split('\n').filter((line) => line !== '');
}
