/** The documents of the repository, and what can be read from them: code, links, tables. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root: string = fileURLToPath(new URL('../../', import.meta.url));

/** A document by its path in the repository, with forward slashes. */
export interface Document {
  readonly path: string;
  readonly text: string;
}

/** A fenced block: ` ```ts no-run ` has the language `ts` and the mark `no-run`. */
export interface CodeBlock {
  readonly path: string;
  readonly line: number;
  readonly language: string;
  readonly marks: readonly string[];
  readonly code: string;
}

/** Every Markdown file at the root, in `docs` and in `examples`. */
export function readDocuments(): Document[] {
  const files = readdirSync(root).filter((name) => name.endsWith('.md'));
  for (const folder of ['docs', 'examples']) {
    const entries = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
    files.push(...entries.filter((name) => name.endsWith('.md')).map((name) => join(folder, name)));
  }
  return files.map((path) => ({ path: path.replaceAll('\\', '/'), text: readFileSync(join(root, path), 'utf8') }));
}

export function codeBlocksOf({ path, text }: Document): CodeBlock[] {
  return [...text.matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].map((match) => {
    const [language = '', ...marks] = (match[1] as string).trim().split(/\s+/);
    const line = text.slice(0, match.index).split('\n').length;
    return { path, line, language, marks, code: match[2] as string };
  });
}

/** The targets of all links, without those inside code. */
export function linksOf({ text }: Document): string[] {
  const prose = text.replaceAll(/^```.*?^```$/gms, '').replaceAll(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] as string);
}

/** The paths of this repository that stand in code, such as `src/store/store.ts`. */
export function pathsIn({ text }: Document): string[] {
  const paths = [...text.matchAll(/`((?:src|test|tools|docs|examples)\/[\w./*-]+)`/g)].map(
    (match) => match[1] as string,
  );
  return paths.filter((path) => !path.includes('*'));
}

/** The anchors that headings give, as GitHub makes them. */
export function anchorsOf({ text }: Document): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map((match) => match[1] as string);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** The rows of all tables below a heading, up to the next one: cells without the marks of code. */
export function rowsUnder({ text }: Document, heading: string): string[][] {
  const section = text.split(/^(?=## )/m).find((part) => part.startsWith(`## ${heading}\n`));
  if (section === undefined) throw new Error(`Cannot find the heading "${heading}"`);
  const lines = section.split('\n').filter((line) => line.startsWith('|') && !/^\|[\s|:-]+\|$/.test(line));
  return lines.map((line) =>
    line
      .slice(1, line.lastIndexOf('|'))
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
}
