/** `holdfast token`: who may come in from elsewhere, and what that allows. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import type { NewToken } from '../../api/tokens.ts';
import type { TokenView } from '../../model/views.ts';
import { type Duration, parseDuration } from '../../model/duration.ts';
import { parseScope } from '../../model/scopes.ts';
import { addTargetOptions, openTarget, type TargetOptions } from '../target.ts';

interface JsonOption {
  readonly json: boolean;
}

interface CreateOptions extends TargetOptions, JsonOption {
  readonly label: string;
  readonly scope: readonly string[];
  readonly expiresIn?: number;
}

const SCOPES = `
Scopes:
  channel:GLOB:RIGHTS   RIGHTS are some of produce, consume, read, admin, joined by commas; * stands for any characters
  kv:PREFIX:r|w         keys that begin with PREFIX
  server:admin          everything, access tokens included
`;

const CREATE_EXAMPLE = `${SCOPES}
The token is printed on standard output, and can never be shown again.

Example:
  holdfast token create --data ./data --label worker --scope 'channel:mail/*:consume' --expires-in 90d`;

const LIST_EXAMPLE = `
Example:
  holdfast token list --data ./data`;

const REVOKE_EXAMPLE = `
Connections that came in with it are closed at once.

Example:
  holdfast token revoke --data ./data 8f3a61c07d25`;

export function addToken(program: Command): void {
  const token = program.command('token').description('make, list and revoke access tokens');
  addTargetOptions(token.command('create'))
    .description('make an access token')
    .requiredOption('--label <text>', 'what it is for')
    .addOption(
      new Option('--scope <scope...>', 'what it allows; may be given again')
        .argParser(collectScopes)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--expires-in <duration>', 'how long it is good for, such as 90d (default: for ever)').argParser(
        readDuration,
      ),
    )
    .option('--json', 'print JSON', false)
    .addHelpText('after', CREATE_EXAMPLE)
    .action(create);
  addTargetOptions(token.command('list'))
    .description('list access tokens, also those that have ended')
    .option('--json', 'print JSON', false)
    .addHelpText('after', LIST_EXAMPLE)
    .action(list);
  addTargetOptions(token.command('revoke'))
    .description('end an access token for good')
    .argument('<id>', 'the id, as in the list')
    .option('--json', 'print JSON', false)
    .addHelpText('after', REVOKE_EXAMPLE)
    .action(revoke);
}

async function create({ label, scope, expiresIn, json, ...target }: CreateOptions): Promise<void> {
  const made = await withTarget(target, (hf) =>
    hf.tokens.create({ label, scopes: scope, ...(expiresIn !== undefined && { expiresIn }) }),
  );
  if (json) return printJson(made);
  // Only the token itself goes to standard output, so that it can be piped to where it is kept.
  process.stderr.write(`${describe(made)}\nThis is the only time that it is shown:\n`);
  process.stdout.write(`${made.token}\n`);
}

async function list({ json, ...target }: TargetOptions & JsonOption): Promise<void> {
  const tokens = await withTarget(target, (hf) => hf.tokens.list());
  if (json) return printJson(tokens);
  const rows = tokens.map(({ id, state, createdAt, expiresAt, label, scopes }) => [
    id,
    state,
    date(createdAt),
    expiresAt === undefined ? 'never' : date(expiresAt),
    printable(label),
    printable(scopes.join(' ')),
  ]);
  printTable([['ID', 'STATE', 'CREATED', 'EXPIRES', 'LABEL', 'SCOPES'], ...rows]);
}

async function revoke(id: string, { json, ...target }: TargetOptions & JsonOption): Promise<void> {
  await withTarget(target, (hf) => hf.tokens.revoke(id));
  if (json) printJson({ id, state: 'revoked' } satisfies Pick<TokenView, 'id' | 'state'>);
  else process.stdout.write(`Access token "${id}" is revoked\n`);
}

async function withTarget<T>(target: TargetOptions, use: (hf: Holdfast) => Promise<T>): Promise<T> {
  const hf = await openTarget(target);
  try {
    return await use(hf);
  } finally {
    await hf.close();
  }
}

function describe({ id, label, scopes, expiresAt }: NewToken): string {
  const ends = expiresAt === undefined ? 'does not expire' : `expires ${date(expiresAt)}`;
  return `Access token "${id}" for "${printable(label)}" allows ${printable(scopes.join(', '))} and ${ends}`;
}

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  for (const row of rows) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
    process.stdout.write(`${cells.join('  ').trimEnd()}\n`);
  }
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Whoever makes a token must not be able to write to the terminal of whoever lists it. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

function date(at: number): string {
  return new Date(at).toISOString();
}

function collectScopes(text: string, before: readonly string[] = []): readonly string[] {
  try {
    parseScope(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  return [...before, text];
}

function readDuration(text: string): number {
  try {
    return parseDuration((/^\d+$/.test(text) ? Number(text) : text) as Duration, 'expires-in');
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
