/** The arguments of a tool: `--name value`, `--flag` and plain words, refused by name when they are not known. */

/** What stood on the command line. */
export interface CommandLine {
  readonly words: readonly string[];
  readonly values: ReadonlyMap<string, string>;
  readonly flags: ReadonlySet<string>;
}

/** An argument that cannot be used; its message says what is allowed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What a tool accepts. */
export interface Usage {
  /** How many plain words there may be. */
  readonly words: number;
  readonly values: readonly string[];
  readonly flags: readonly string[];
}

/** The exit code for arguments that cannot be used. */
export const USAGE_EXIT_CODE = 2;

/** @throws UsageError */
export function parseCommandLine(args: readonly string[], usage: Usage): CommandLine {
  const words: string[] = [];
  const values = new Map<string, string>();
  const flags = new Set<string>();
  const left = [...args];
  for (let arg = left.shift(); arg !== undefined; arg = left.shift()) {
    const [, name, inline] = /^--([^=]*)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name === undefined) {
      if (arg.startsWith('-') || words.length === usage.words)
        throw new UsageError(`Cannot use "${arg}": ${known(usage)}`);
      words.push(arg);
    } else if (usage.flags.includes(name) && inline === undefined) {
      flags.add(name);
    } else if (usage.values.includes(name)) {
      const value = inline ?? left.shift();
      if (value === undefined || value === '')
        throw new UsageError(`Cannot use "--${name}" alone: write --${name} VALUE`);
      if (values.has(name)) throw new UsageError(`Cannot use "--${name}" twice: give it once`);
      values.set(name, value);
    } else {
      throw new UsageError(`Cannot use "${arg}": ${known(usage)}`);
    }
  }
  return { words, values, flags };
}

/** The value of an option that is a whole number. @throws UsageError */
export function wholeNumber({ values }: CommandLine, name: string, from: number, to: number): number | undefined {
  const text = values.get(name);
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= from && value <= to) return value;
  throw new UsageError(`Cannot use "${text}" as "--${name}": it must be a whole number from ${from} to ${to}`);
}

function known({ values, flags }: Usage): string {
  const options = [...values.map((name) => `--${name} VALUE`), ...flags.map((name) => `--${name}`)];
  return `known are ${options.join(', ')}`;
}
