/** What documents say of the code, read from the code itself: constants that files keep to themselves, and defaults. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './markdown.ts';

function sourceOf(path: string): string {
  return readFileSync(join(root, 'src', path), 'utf8');
}

function found(what: string, path: string, match: RegExpExecArray | null): string {
  const text = match?.[1];
  if (text === undefined) throw new Error(`Cannot find ${what} in src/${path}`);
  return text;
}

/** What the documentation of an option says is its default. */
export function documentedDefault(path: string, option: string): string {
  const pattern = new RegExp(`@default ([^\\n]*?)(?: \\*/)?\\n(?: *\\*/\\n)? *readonly ${option}\\?:`);
  return found(`the default of "${option}"`, path, pattern.exec(sourceOf(path)));
}

/** The default of a flag that is a number. */
export function flagDefault(path: string, flag: string): number {
  const pattern = new RegExp(`'--${flag} [^]*?\\.default\\(([\\d_]+)\\)`);
  return Number(found(`the default of "--${flag}"`, path, pattern.exec(sourceOf(path))).replaceAll('_', ''));
}

/** A constant that a file keeps to itself: a product of integers. */
export function constant(path: string, name: string): number {
  const pattern = new RegExp(`^(?:export )?const ${name}(?:: number)? = ([\\d_ *]+);`, 'm');
  return found(`the constant "${name}"`, path, pattern.exec(sourceOf(path)))
    .replaceAll('_', '')
    .split('*')
    .reduce((product, factor) => product * Number(factor), 1);
}

/** The numbers of kinds, such as `const KIND = { produce: 1, … } as const`: each number with its name. */
export function numbersOf(path: string, name: string): string[] {
  const pattern = new RegExp(`^(?:export )?const ${name} = \\{([^}]*)\\} as const;`, 'm');
  const body = found(`the numbers "${name}"`, path, pattern.exec(sourceOf(path)));
  return [...body.matchAll(/(\w+): (\d+)/g)].map(([, kind, number]) => `${number} ${kind}`);
}

/** A list of texts, such as `const OUTCOMES = ['ack', …] as const`. */
export function textsOf(path: string, name: string): string[] {
  const pattern = new RegExp(`^(?:export )?const ${name} = \\[([^\\]]*)\\] as const;`, 'm');
  return quoted(found(`the list "${name}"`, path, pattern.exec(sourceOf(path))));
}

/** The members of a union of texts, such as `export type ErrorCode = | 'CLOSED' | …`. */
export function membersOf(path: string, name: string): string[] {
  const pattern = new RegExp(`^export type ${name} =([^;]*);`, 'm');
  return quoted(found(`the union "${name}"`, path, pattern.exec(sourceOf(path))));
}

/** The fields of an interface. */
export function fieldsOf(path: string, name: string): string[] {
  const pattern = new RegExp(`^export interface ${name}(?: extends \\w+)? \\{\\n([^]*?)^\\}`, 'm');
  const body = found(`the interface "${name}"`, path, pattern.exec(sourceOf(path)));
  return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, field]) => field as string);
}

/** The least memory of an isolate, of each kind. */
export function leastMemory(): string {
  const path = 'api/isolated.ts';
  const sizes = found('the least memory', path, /^const LEAST_BYTES = (.*);$/m.exec(sourceOf(path)));
  const bytesOf = (kind: string): number =>
    Number(new RegExp(`${kind}: (\\d+) \\* 2 \\*\\* 20`).exec(sizes)?.[1]) * 2 ** 20;
  return `${bytesOf('process')} bytes, ${bytesOf('thread')} bytes`;
}

/** The documents that the broker takes: their kind, and their fields, with `?` where one may be missing. */
export function checkedDocuments(): { readonly kind: string; readonly fields: readonly string[] }[] {
  const path = 'wire/documents.ts';
  const checks = found('the checks', path, /^const isCommand = anyOf\(\n([^]*?)^\);/m.exec(sourceOf(path)));
  return [...checks.matchAll(/^ {2}fields\(\{(?: (.*) \}|\n([^]*?)^ {2}\})\),$/gm)].map((match) => {
    const body = (match[1] ?? match[2]) as string;
    const [kind, what] = [/kind: oneOf\(([^)]*)\)/, /what: oneOf\(([^)]*)\)/].map((pattern) =>
      quoted(pattern.exec(body)?.[1] ?? '').join(' or '),
    );
    const fields = [...withoutCalls(body).matchAll(/(\w+): (optional)?/g)].map(
      ([, field, isOptional]) => `${field}${isOptional === undefined ? '' : '?'}`,
    );
    return { kind: `${kind} ${what}`.trim(), fields: fields.filter((field) => field !== 'kind') };
  });
}

/** The text without what stands in parentheses. */
function withoutCalls(text: string): string {
  const shorter = text.replaceAll(/\([^()]*\)/g, '');
  return shorter === text ? text : withoutCalls(shorter);
}

function quoted(text: string): string[] {
  return [...text.matchAll(/'([^']*)'/g)].map(([, each]) => each as string);
}
