import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { anchorsOf, linksOf, pathsIn, readDocuments, root } from './markdown.ts';

const documents = readDocuments();
const byPath = new Map(documents.map((document) => [document.path, document]));

describe.each(documents)('$path', (document) => {
  test('has links that lead somewhere', () => {
    const broken = linksOf(document).filter((link) => {
      if (/^https?:/.test(link)) return false;
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? document.path : join(dirname(document.path), path);
      if (!existsSync(join(root, target))) return true;
      const linked = byPath.get(target);
      return anchor !== undefined && (linked === undefined || !anchorsOf(linked).has(anchor));
    });
    expect(broken).toEqual([]);
  });

  test('names files and folders that exist', () => {
    expect(pathsIn(document).filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});

test('every decision is in the list of decisions', () => {
  const list = byPath.get('docs/decisions/README.md');
  const files = readdirSync(join(root, 'docs/decisions')).filter((name) => /^\d{4}-/.test(name));
  expect(new Set(list === undefined ? [] : linksOf(list))).toEqual(new Set(files));
});

test('ARCHITECTURE.md shows every folder of src', () => {
  const text = byPath.get('ARCHITECTURE.md')?.text ?? '';
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).filter((name) => !text.includes(`src/${name} `))).toEqual([]);
});
