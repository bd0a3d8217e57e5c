/** `npm run torture`: faults on real processes and real file systems, and a count of what was acknowledged. */
import { parseCommandLine, USAGE_EXIT_CODE, UsageError, wholeNumber } from '../command-line.ts';
import { abortWhenInterrupted, exitInterrupted, Interrupted } from '../interruption.ts';
import { Campaign, SHORTEST_LOAD_MS, type Tally } from './campaign.ts';
import { type FileSystem, killPlace, powerCutPlace } from './place.ts';

const HELP = `Usage: npm run torture -- kill --cycles N [--seed S] [--load MS] [--json]
       npm run torture -- powercut --cycles N --fs ext4|xfs [--seed S] [--load MS] [--json]

A process that produces and consumes is struck at random moments and started again on the same data.

  kill       SIGKILL
  powercut   the file system, on a loop device, loses what it has not made durable; needs root

  --cycles N   how many faults
  --fs NAME    the file system that loses its power: ext4 or xfs
  --seed S     decides the moments of the faults
  --load MS    the longest time under load before a fault; 2000 when left out
  --json       prints one JSON object as the last line`;

interface TortureRequest {
  readonly fault: 'kill' | 'powercut';
  readonly fileSystem: FileSystem | undefined;
  readonly cycles: number;
  readonly seed: number;
  readonly longestLoadMs: number;
  readonly json: boolean;
}

const MAX_CYCLES = 1_000_000;
const MAX_SEED: number = 2 ** 32 - 1;
const LONGEST_LOAD_MS = 2_000;
const MAX_LOAD_MS = 600_000;
/** How many violations are shown. */
const SHOWN = 10;

process.stdout.on('error', () => {});

const interruption = abortWhenInterrupted();
try {
  const request = readRequest(process.argv.slice(2));
  if (request === undefined) console.log(HELP);
  else process.exitCode = await torture(request);
} catch (error) {
  if (error instanceof Interrupted) exitInterrupted(error);
  process.exitCode = error instanceof UsageError ? USAGE_EXIT_CODE : 1;
  console.error(error instanceof UsageError ? error.message : error);
}

async function torture(request: TortureRequest): Promise<number> {
  const { fault, fileSystem, cycles, seed } = request;
  const place = fileSystem === undefined ? killPlace() : powerCutPlace(fileSystem);
  const startedAt = performance.now();
  const seconds = (): number => Number(((performance.now() - startedAt) / 1_000).toFixed(1));
  console.log(`${fault}${fileSystem === undefined ? '' : ` on ${fileSystem}`}, ${cycles} cycles, seed ${seed}`);
  const campaign = new Campaign(place, seed, request.longestLoadMs, (tally) => showCycle(tally, cycles, seconds()));
  try {
    const tally = await campaign.run(cycles, interruption);
    showSummary(tally, seconds());
    for (const line of campaign.describe().slice(0, SHOWN)) console.log(`  ${line}`);
    if (request.json) console.log(JSON.stringify(summaryOf(request, tally, seconds())));
    return campaign.isViolated ? 1 : 0;
  } finally {
    place.close();
  }
}

function showCycle(tally: Tally, cycles: number, seconds: number): void {
  const { acknowledged, ended, missing, doubled, altered, revived } = tally;
  const width = String(cycles).length;
  const wrong = missing + doubled + altered + revived;
  const faults = wrong === 0 ? '' : `   ${missing} missing, ${doubled} doubled, ${altered} altered, ${revived} revived`;
  const cycle = `${String(tally.cycles).padStart(width)} of ${cycles}`;
  console.log(`  ${cycle}   ${acknowledged} acknowledged, ${ended} known to have ended, ${seconds} s${faults}`);
}

function showSummary(tally: Tally, seconds: number): void {
  const { median, max } = reopening(tally);
  const rows: readonly (readonly [string, string | number])[] = [
    ['cycles', tally.cycles],
    ['acknowledged', tally.acknowledged],
    ['known to have ended', tally.ended],
    ['missing', tally.missing],
    ['doubled', tally.doubled],
    ['altered', tally.altered],
    ['delivered after the end', tally.revived],
    ['ms to open again', `${median} (at most ${max})`],
    ['seconds', seconds],
  ];
  console.log('');
  for (const [label, value] of rows) console.log(`  ${label.padEnd(24)}${value}`);
  console.log('');
}

function summaryOf(request: TortureRequest, tally: Tally, seconds: number): Record<string, unknown> {
  const { fault, fileSystem, seed } = request;
  return {
    fault,
    ...(fileSystem !== undefined && { fs: fileSystem }),
    seed,
    ...tally,
    reopenMs: reopening(tally),
    seconds,
  };
}

function reopening({ reopenMs }: Tally): { median: number; max: number } {
  const sorted = reopenMs.toSorted((a, b) => a - b).map(Math.round);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 };
}

function readRequest(args: readonly string[]): TortureRequest | undefined {
  const line = parseCommandLine(args, { words: 1, values: ['cycles', 'fs', 'seed', 'load'], flags: ['json', 'help'] });
  if (line.flags.has('help')) return undefined;
  const [fault] = line.words;
  if (fault !== 'kill' && fault !== 'powercut') throw new UsageError(`Cannot go on: name the fault\n\n${HELP}`);
  const fileSystem = line.values.get('fs');
  if (fault === 'kill' && fileSystem !== undefined)
    throw new UsageError('Cannot use "--fs" with kill: it is for powercut');
  if (fault === 'powercut' && fileSystem !== 'ext4' && fileSystem !== 'xfs') {
    throw new UsageError(`Cannot use "${fileSystem ?? ''}" as "--fs": it must be ext4 or xfs`);
  }
  const cycles = wholeNumber(line, 'cycles', 1, MAX_CYCLES);
  if (cycles === undefined) throw new UsageError('Cannot go on: give the number of faults with --cycles N');
  const seed = wholeNumber(line, 'seed', 0, MAX_SEED) ?? Math.floor(Math.random() * MAX_SEED);
  return {
    fault,
    fileSystem: fileSystem as FileSystem | undefined,
    cycles,
    seed,
    longestLoadMs: wholeNumber(line, 'load', SHORTEST_LOAD_MS, MAX_LOAD_MS) ?? LONGEST_LOAD_MS,
    json: line.flags.has('json'),
  };
}
