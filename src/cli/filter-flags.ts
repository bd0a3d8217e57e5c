/** The flags that say which messages are meant. */
import { type Command, Option } from 'commander';
import type { FilterOptions } from '../api/search.ts';
import { type State, STATES } from '../model/states.ts';
import { momentFlag, wholeNumberFlag } from './store-command.ts';

export interface FilterFlags {
  readonly state?: readonly State[];
  readonly name?: string;
  readonly group?: string;
  readonly text?: string;
  readonly failure?: string;
  readonly producedAfter?: number;
  readonly producedBefore?: number;
  readonly endedAfter?: number;
  readonly endedBefore?: number;
  readonly minAttempts?: number;
  readonly maxAttempts?: number;
}

const MOST_ATTEMPTS = 1_000_000_000;

export function addFilterFlags(command: Command): Command {
  const count = wholeNumberFlag(0, MOST_ATTEMPTS);
  return command
    .addOption(new Option('--state <state...>', 'only messages of these states').choices(STATES))
    .option('--name <name>', 'only messages of this name')
    .option('--group <key>', 'only messages of this group')
    .option('--text <text>', 'only messages with this text in them')
    .option('--failure <text>', 'only messages with this text in their last failure')
    .option('--produced-after <time>', 'produced then or later: a moment, or how long ago', momentFlag)
    .option('--produced-before <time>', 'produced before then, likewise', momentFlag)
    .option('--ended-after <time>', 'ended then or later, likewise', momentFlag)
    .option('--ended-before <time>', 'ended before then, likewise', momentFlag)
    .option('--min-attempts <count>', 'with so many attempts or more', count)
    .option('--max-attempts <count>', 'with so many attempts or fewer', count);
}

const NAMES = [
  'state',
  'name',
  'group',
  'text',
  'failure',
  'producedAfter',
  'producedBefore',
  'endedAfter',
  'endedBefore',
  'minAttempts',
  'maxAttempts',
] as const satisfies readonly (keyof FilterFlags & keyof FilterOptions)[];

/** Those of the flags that were given. */
export function filterOptions(flags: FilterFlags): FilterOptions {
  return Object.fromEntries(NAMES.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]));
}
