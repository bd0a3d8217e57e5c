/**
 * Measures speed and memory: `npm run bench -- [--json] [--group NAME] [--runs N] [--folder DIR]`.
 *
 * Each case runs in a fresh process on a fresh folder, three rounds over all cases; the run in the middle is shown.
 * With `--json` the last line is one JSON object.
 */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { CaseReport } from './case.ts';
import { selectGroups } from './groups.ts';
import { describeMachine } from './machine.ts';
import { runGroups } from './runner.ts';
import { formatTables } from './table.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    group: { type: 'string' },
    runs: { type: 'string', default: '3' },
    // Not in the temporary folder of the system: that is often in memory, where a sync costs nothing.
    folder: { type: 'string', default: fileURLToPath(new URL('../../../.build/bench/', import.meta.url)) },
  },
});

const { json, group, runs, folder } = values;
const rounds = Number(runs);
if (!(Number.isInteger(rounds) && rounds >= 1))
  throw new RangeError(`Cannot run "${runs}" rounds: give a whole number`);
const groups = selectGroups(group);

await mkdir(folder, { recursive: true });
const machine = describeMachine(folder);
const reports = await runGroups(groups, { rounds, folder, onStep: (what) => console.error(what) });
console.log(json ? JSON.stringify({ machine, cases: reports.map(rounded) }) : formatTables(machine, reports));

/** Figures with no more digits than they deserve. */
function rounded(report: CaseReport): CaseReport {
  const round = (_key: string, value: unknown): unknown =>
    typeof value === 'number' ? Math.round(value * 1_000) / 1_000 : value;
  return JSON.parse(JSON.stringify(report, round)) as CaseReport;
}
