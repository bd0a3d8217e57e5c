import { describe, expect, test } from 'vitest';
import { cyclesAmong } from './cycles.ts';
import { readSources, referencesOf, type Reference, type Sources } from './sources.ts';

/**
 * What each folder of `src`, and each file that lies in `src` itself, may import of ours; its own files always. A new folder
 * gets a row here, and a decision about it.
 */
const mayImport: Readonly<Record<string, readonly string[] | 'anything'>> = {
  model: [],
  codec: ['model'],
  machine: ['model'],
  store: ['model'],
  wire: ['model', 'codec'],
  broker: ['model', 'codec', 'machine', 'store', 'wire'],
  client: ['model', 'codec', 'wire'],
  api: ['model', 'codec', 'client'],
  isolate: ['model', 'codec', 'api'],
  server: ['model', 'wire'],
  host: ['model', 'store', 'wire', 'broker', 'server'],
  doors: ['model', 'codec', 'client', 'api', 'open.ts'],
  'open.ts': 'anything',
  'restore.ts': 'anything',
  'index.ts': ['model', 'api', 'open.ts', 'restore.ts'],
  testing: 'anything',
  cli: 'anything',
};

/** What only these may import, even where the table above says `anything`. */
const importedOnlyBy: Readonly<Record<string, readonly string[]>> = {
  'open.ts': ['index.ts', 'doors', 'testing', 'cli'],
  'restore.ts': ['index.ts', 'testing', 'cli'],
  cli: [],
  isolate: ['cli'],
};

/** The only files of these folders that may import modules of Node. Theirs are the effects, and the packages; the rest is pure. */
const nodeModulesOnlyIn: Readonly<Record<string, readonly string[]>> = {
  machine: [],
  // Rules of cron are read by a package, which is looked for only when there are any.
  model: ['model/clock.ts', 'model/random.ts', 'model/recurrence.ts'],
};

/** Packages that only these may import. A driver belongs to its store alone. */
const packagesOnlyIn: Readonly<Record<string, readonly string[]>> = {
  lmdb: ['store'],
  ws: ['wire', 'server'],
  commander: ['cli'],
  ioredis: ['doors'],
  '@nestjs/common': ['doors'],
  '@nestjs/core': ['doors'],
  croner: ['model'],
  pino: ['cli'],
};

/** A computed specifier hides a direction, so only these may have one. */
const mayComputeSpecifiers: readonly string[] = ['cli', 'isolate'];

/** The folder directly below `src` that a path is in, or the file itself when it is in none. */
function partOf(path: string): string {
  return path.split('/', 1)[0] ?? path;
}

/** Says why a reference is not allowed, or nothing when it is. */
function objectionTo(reference: Reference, sources: Sources): string | undefined {
  const { path, specifier, target } = reference;
  const part = partOf(path);
  const allowed = mayImport[part];
  if (allowed === undefined) return `${part} has no row in the table of allowed imports`;
  if (specifier === undefined) return mayComputeSpecifiers.includes(part) ? undefined : `${part} computes a specifier`;
  if (target !== undefined) return objectionToOurs(part, allowed, target, sources);
  return objectionToOthers(path, part, specifier);
}

function objectionToOurs(
  part: string,
  allowed: readonly string[] | 'anything',
  target: string,
  sources: Sources,
): string | undefined {
  if (!sources.has(target)) return `"${target}" is no source file below src`;
  const targetPart = partOf(target);
  if (targetPart === part) return undefined;
  if (allowed !== 'anything' && !allowed.includes(targetPart)) return `${part} may not import ${targetPart}`;
  const importers = importedOnlyBy[targetPart];
  return importers && !importers.includes(part) ? `${part} may not import ${targetPart}` : undefined;
}

function objectionToOthers(path: string, part: string, specifier: string): string | undefined {
  if (specifier.startsWith('#') || specifier === 'holdfast' || specifier.startsWith('holdfast/')) {
    return 'sources import each other by relative paths';
  }
  if (specifier.startsWith('node:')) {
    const files = nodeModulesOnlyIn[part];
    return files && !files.includes(path) ? `${path} may not import modules of Node` : undefined;
  }
  if (part === 'machine') return 'the machine is pure and imports no package';
  const parts = packagesOnlyIn[specifier];
  return parts && !parts.includes(part) ? `${part} may not import ${specifier}` : undefined;
}

function objectionsIn(sources: Sources): string[] {
  return referencesOf(sources).flatMap((reference) => {
    const objection = objectionTo(reference, sources);
    return objection === undefined ? [] : [`src/${reference.path}:${reference.line} ${objection}`];
  });
}

function cyclesIn(sources: Sources): string[][] {
  const targets = new Map<string, string[]>([...sources.keys()].map((path) => [path, []]));
  for (const { path, target } of referencesOf(sources)) if (target !== undefined) targets.get(path)?.push(target);
  return cyclesAmong(targets);
}

describe('the imports of src', () => {
  const sources = readSources();

  test('are found', () => {
    expect(sources.size).toBeGreaterThan(0);
  });

  test('keep to the allowed directions', () => {
    expect(objectionsIn(sources)).toEqual([]);
  });

  test('make no cycle, types included', () => {
    expect(cyclesIn(sources)).toEqual([]);
  });
});

describe('a planted import is refused', () => {
  const planted: readonly (readonly [name: string, path: string, text: string, objection: string])[] = [
    ['value', 'machine/a.ts', `import { a } from '../store/store.ts';`, 'machine may not import store'],
    ['type', 'codec/a.ts', `import type { A } from '../store/store.ts';`, 'codec may not import store'],
    ['export from', 'model/a.ts', `export * from '../store/store.ts';`, 'model may not import store'],
    ['dynamic', 'client/a.ts', `await import('../store/store.ts');`, 'client may not import store'],
    ['import type', 'api/a.ts', `type A = import('../store/store.ts').A;`, 'api may not import store'],
    ['over lines', 'wire/a.ts', `import {\n  a, // 'x'\n} from\n  '../store/store.ts';`, 'wire may not import store'],
    ['of open', 'broker/a.ts', `import { open } from '../open.ts';`, 'broker may not import open.ts'],
    ['of cli', 'testing/a.ts', `import '../cli/main.ts';`, 'testing may not import cli'],
    ['of Node', 'machine/a.ts', `import fs from 'node:fs';`, 'machine/a.ts may not import modules of Node'],
    ['of Node', 'model/a.ts', `import fs from 'node:fs';`, 'model/a.ts may not import modules of Node'],
    ['of a package', 'machine/a.ts', `import { BSON } from 'bson';`, 'the machine is pure and imports no package'],
    ['of a driver', 'broker/a.ts', `import { open } from 'lmdb';`, 'broker may not import lmdb'],
    [
      'of ourselves',
      'api/a.ts',
      `import { a } from '#holdfast/store/store.js';`,
      'sources import each other by relative paths',
    ],
    ['computed', 'api/a.ts', `await import(name);`, 'api computes a specifier'],
    ['missing', 'api/a.ts', `import './b.js';`, '"api/b.js" is no source file below src'],
    ['unlisted', 'misc/a.ts', `import './a.ts';`, 'misc has no row in the table of allowed imports'],
  ];

  test.each(planted)('%s in %s', (_name, path, text, objection) => {
    const others = ['store/store.ts', 'open.ts', 'cli/main.ts'].map((other) => [other, ''] as const);
    expect(objectionsIn(new Map([...others, [path, text]]))).toEqual([`src/${path}:1 ${objection}`]);
  });

  test('in a comment or a string only, it is none', () => {
    const text = `// import '../store/store.ts'\nexport const a = "import '../store/store.ts'";`;
    expect(objectionsIn(new Map([['model/a.ts', text]]))).toEqual([]);
  });

  test('when it closes a cycle', () => {
    const sources = new Map([
      ['model/a.ts', `import { b } from './b.ts';`],
      ['model/b.ts', `import type { C } from './c.ts';`],
      ['model/c.ts', `export type { A } from './a.ts';`],
      ['model/d.ts', `import './a.ts';`],
    ]);
    expect(cyclesIn(sources)).toEqual([['model/a.ts', 'model/b.ts', 'model/c.ts']]);
  });

  test('when a file imports itself', () => {
    expect(cyclesIn(new Map([['model/a.ts', `import './a.ts';`]]))).toEqual([['model/a.ts']]);
  });
});
