import { readdirSync, readFileSync } from 'node:fs';
import { posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync, Visitor, type Expression, type VisitorObject } from 'oxc-parser';

/** Source texts by their path below `src`, with forward slashes: `machine/machine.ts`. */
export type Sources = ReadonlyMap<string, string>;

/** Something that one line of one source file says. */
export type Finding = { readonly path: string; readonly line: number };

/** A reference of one module to another: an import of any kind, of values or of types, or an export from elsewhere. */
export type Reference = Finding & {
  /** What stands between the quotes; undefined when it is computed, and so cannot be read. */
  readonly specifier: string | undefined;
  /** The path below `src` that a relative specifier means; undefined for a package or a built-in module. */
  readonly target: string | undefined;
};

/** Reads every TypeScript file below `src`. */
export function readSources(): Sources {
  const folder = fileURLToPath(new URL('../../src/', import.meta.url));
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && entry.name.endsWith('.ts'),
  );
  const sources = new Map<string, string>();
  for (const { parentPath, name } of files.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = posix.join(parentPath.split(sep).join('/'), name);
    sources.set(relative(folder, file).split(sep).join('/'), readFileSync(file, 'utf8'));
  }
  return sources;
}

/** Lists every reference of every source: static, type-only and dynamic imports, import types, and exports from elsewhere. */
export function referencesOf(sources: Sources): Reference[] {
  const references: Reference[] = [];
  for (const [path, text] of sources) {
    const add = (source: Expression | null, start: number): void => {
      if (source === null) return;
      const specifier = source.type === 'Literal' && typeof source.value === 'string' ? source.value : undefined;
      const target = specifier?.startsWith('.') ? posix.join(posix.dirname(path), specifier) : undefined;
      references.push({ path, line: lineAt(text, start), specifier, target });
    };
    visit(path, text, {
      ImportDeclaration: (node) => add(node.source, node.start),
      ExportNamedDeclaration: (node) => add(node.source, node.start),
      ExportAllDeclaration: (node) => add(node.source, node.start),
      ImportExpression: (node) => add(node.source, node.start),
      TSImportType: (node) => add(node.source, node.start),
    });
  }
  return references;
}

/** Lists where a source makes a Date of the current time: `new Date()` and `Date()`. */
export function currentDatesIn(sources: Sources): Finding[] {
  const findings: Finding[] = [];
  for (const [path, text] of sources) {
    const isDate = (callee: Expression): boolean => callee.type === 'Identifier' && callee.name === 'Date';
    visit(path, text, {
      NewExpression: (node) => {
        if (isDate(node.callee) && node.arguments.length === 0) findings.push({ path, line: lineAt(text, node.start) });
      },
      CallExpression: (node) => {
        if (isDate(node.callee)) findings.push({ path, line: lineAt(text, node.start) });
      },
    });
  }
  return findings;
}

function visit(path: string, text: string, visitor: VisitorObject): void {
  const { program, errors } = parseSync(path, text);
  // A file that cannot be parsed would seem to import nothing at all.
  if (errors.length > 0)
    throw new Error(`Cannot parse src/${path}: ${errors.map((error) => error.message).join('; ')}`);
  new Visitor(visitor).visit(program);
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
