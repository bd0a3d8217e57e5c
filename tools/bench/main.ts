/** `npm run bench`: speed and memory, each case in a fresh process on a fresh folder, beside what the disk alone can do. */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseCommandLine, USAGE_EXIT_CODE, UsageError, wholeNumber } from '../command-line.ts';
import type { CaseReport, Group } from './case.ts';
import { groupNames, selectGroups } from './groups.ts';
import { describeMachine } from './machine.ts';
import { runGroups } from './runner.ts';
import { formatTables } from './table.ts';

const HELP = `Usage: npm run bench -- [--group NAME] [--rounds N] [--folder DIR] [--json]

Runs all cases several times over; of each case the run in the middle is shown.

  --group NAME   one group: ${groupNames().join(', ')}
  --rounds N     how often each case runs: 3 unless given
  --folder DIR   where the data is written: choose the disk that is to be measured
  --json         prints one JSON object as the last line`;

interface BenchRequest {
  readonly groups: readonly Group[];
  readonly rounds: number;
  readonly folder: string;
  readonly json: boolean;
}

const DEFAULT_ROUNDS = 3;
const MAX_ROUNDS = 1_000;

/** Not in the temporary folder of the system: that is often in memory, where a sync costs nothing. */
const DEFAULT_FOLDER = fileURLToPath(new URL('../../../.build/bench/', import.meta.url));

try {
  const request = readRequest(process.argv.slice(2));
  if (request === undefined) console.log(HELP);
  else await bench(request);
} catch (error) {
  process.exitCode = error instanceof UsageError ? USAGE_EXIT_CODE : 1;
  console.error(error instanceof UsageError ? `${error.message}\n\n${HELP}` : error);
}

async function bench({ groups, rounds, folder, json }: BenchRequest): Promise<void> {
  await mkdir(folder, { recursive: true });
  const machine = describeMachine(folder);
  const reports = await runGroups(groups, { rounds, folder, onStep: (what) => console.error(what) });
  console.log(json ? JSON.stringify({ machine, cases: reports.map(rounded) }) : formatTables(machine, reports));
}

/** What the arguments ask for; `undefined` for the help. @throws UsageError */
function readRequest(args: readonly string[]): BenchRequest | undefined {
  const line = parseCommandLine(args, { words: 0, values: ['group', 'rounds', 'folder'], flags: ['json', 'help'] });
  if (line.flags.has('help')) return undefined;
  const groups = selectGroups(line.values.get('group'));
  if (groups.length === 0) {
    throw new UsageError(`Cannot find the group "${line.values.get('group')}": there are ${groupNames().join(', ')}`);
  }
  return {
    groups,
    rounds: wholeNumber(line, 'rounds', 1, MAX_ROUNDS) ?? DEFAULT_ROUNDS,
    folder: line.values.get('folder') ?? DEFAULT_FOLDER,
    json: line.flags.has('json'),
  };
}

/** Figures with no more digits than they deserve. */
function rounded(report: CaseReport): CaseReport {
  const round = (_key: string, value: unknown): unknown =>
    typeof value === 'number' ? Math.round(value * 1_000) / 1_000 : value;
  return JSON.parse(JSON.stringify(report, round)) as CaseReport;
}
