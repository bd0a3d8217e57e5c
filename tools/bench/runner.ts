/** Runs cases: several rounds over all of them, so that a disturbance of the machine does not hit one case alone. */
import { fork } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { watchStolenTime } from './machine.ts';
import type { Case, CaseReport, Group, Limit, Measurement } from './case.ts';

export interface RunOptions {
  readonly rounds: number;
  /** Where the data folders are made; on the disk that is to be measured. */
  readonly folder: string;
  /** Hears what comes next. */
  readonly onStep: (what: string) => void;
}

interface Run {
  readonly group: Group;
  readonly one: Case;
  readonly measured: Measurement[];
  /** For each limit, its values. */
  readonly limits: Limit[][];
  /** The folder that serves all rounds, when there is one. */
  prepared: string | undefined;
}

export async function runGroups(groups: readonly Group[], options: RunOptions): Promise<CaseReport[]> {
  await mkdir(options.folder, { recursive: true });
  const base = await mkdtemp(join(options.folder, 'run-'));
  const stop = (signal: NodeJS.Signals): void => {
    rmSync(base, { recursive: true, force: true });
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const runs = groups.flatMap((group) =>
    group.cases.map((one): Run => ({ group, one, measured: [], limits: [], prepared: undefined })),
  );
  try {
    for (let round = 1; round <= options.rounds; round++) {
      for (const run of runs) {
        options.onStep(`${run.group.name}: ${run.one.name}, ${round} of ${options.rounds}`);
        await runOnce(run, base);
      }
    }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await rm(base, { recursive: true, force: true });
  }
  return runs.map(reportOf);
}

async function runOnce(run: Run, base: string): Promise<void> {
  const { group, one } = run;
  const step = (name: string, folder: string): Promise<unknown> => inOwnProcess([group.name, one.name, name, folder]);
  const folder = run.prepared ?? (await mkdtemp(join(base, 'data-')));
  if (one.prepare !== undefined && run.prepared === undefined) await step('prepare', folder);
  const stolen = watchStolenTime();
  const measured = (await step('run', folder)) as Measurement;
  const stolenPercent = stolen();
  run.measured.push(stolenPercent === undefined ? measured : { ...measured, stolenPercent });
  for (let i = 0; i < (one.limits?.length ?? 0); i++) {
    (run.limits[i] ??= []).push((await step(String(i), folder)) as Limit);
  }
  if (one.preparedOnce === true) run.prepared = folder;
  else await rm(folder, { recursive: true });
}

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));

/** No step takes longer on a machine that is worth measuring; one that does hangs. */
const STEP_TIMEOUT_MS = 120_000;

/** Runs `child.js` and gives what it sends. */
function inOwnProcess(args: readonly string[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = fork(CHILD, args, { stdio: ['ignore', 2, 2, 'ipc'], timeout: STEP_TIMEOUT_MS });
    let outcome: unknown;
    child.once('message', (message) => (outcome = message));
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0 && outcome !== undefined) resolve(outcome);
      else
        reject(new Error(`Cannot measure "${args.slice(0, 3).join(' / ')}": its process ended with ${signal ?? code}`));
    });
  });
}

function reportOf({ group, one, measured, limits }: Run): CaseReport {
  const report = { group: group.name, name: one.name, ...middle(measured, primary) };
  const [limit, ...otherLimits] = limits.map((values) =>
    middle(values, ({ perSecond, p50Ms }) => perSecond ?? p50Ms ?? 0),
  );
  return {
    ...report,
    ...(limit === undefined ? {} : { limit }),
    ...(otherLimits.length === 0 ? {} : { otherLimits }),
  };
}

/** The figure by which the runs of a case are ordered. */
function primary({ perSecond, p50Ms, openMs, acknowledgedMs }: Measurement): number {
  return perSecond ?? p50Ms ?? openMs ?? acknowledgedMs ?? 0;
}

/** The run in the middle, as a whole: its figures belong together. */
function middle<T>(runs: readonly T[], by: (run: T) => number): T {
  const sorted = [...runs].sort((a, b) => by(a) - by(b));
  return sorted[Math.floor((sorted.length - 1) / 2)] as T;
}
