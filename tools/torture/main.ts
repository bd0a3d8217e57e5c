/** `npm run torture`: faults on real processes and real file systems, and a count of what was acknowledged. */
import { parseCommandLine, USAGE_EXIT_CODE, UsageError, wholeNumber } from '../command-line.ts';
import { abortWhenInterrupted, exitInterrupted, Interrupted } from '../interruption.ts';
import { Campaign, type CampaignOptions, SHORTEST_LOAD_MS } from './campaign.ts';
import { type FileSystem, killPlace, powerCutPlace } from './place.ts';
import { SharedCampaign } from './shared-campaign.ts';
import type { Tally } from './tally.ts';

const HELP = `Usage: npm run torture -- kill --cycles N [--processes P] [--seed S] [--load MS] [--json]
       npm run torture -- powercut --cycles N --fs ext4|xfs [--seed S] [--load MS] [--json]

Processes that produce and consume are struck at random moments and started again on the same data. Handlers move money
between entries of KV with their ack, and some messages are produced by transactions that count them. Beside them, BullMQ's
classes add jobs to a queue and work on them.

  kill       SIGKILL for one of them or several, whichever leads most often; now and then SIGSTOP for so long
             that the others take it for dead, and SIGCONT
  powercut   the file system, on a loop device, loses what it has not made durable; needs root; one process

  --cycles N      how many faults
  --processes P   one leads at first, one produces, the others work: 4 when left out; 1 does everything itself
  --fs NAME       the file system that loses its power: ext4 or xfs
  --seed S        decides the moments of the faults
  --load MS       the longest time under load before a fault; 2000 when left out
  --json          prints one JSON object as the last line`;

interface TortureRequest {
  readonly fault: 'kill' | 'powercut';
  readonly fileSystem: FileSystem | undefined;
  readonly cycles: number;
  readonly processes: number;
  readonly seed: number;
  readonly longestLoadMs: number;
  readonly json: boolean;
}

const MAX_CYCLES = 1_000_000;
const MAX_SEED: number = 2 ** 32 - 1;
const LONGEST_LOAD_MS = 2_000;
const MAX_LOAD_MS = 600_000;
const PROCESSES = 4;
const MAX_PROCESSES = 64;
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
  const { fault, fileSystem, cycles, processes, seed, longestLoadMs } = request;
  const place = fileSystem === undefined ? killPlace() : powerCutPlace(fileSystem);
  const startedAt = performance.now();
  const seconds = (): number => Number(((performance.now() - startedAt) / 1_000).toFixed(1));
  const where =
    fileSystem === undefined ? (processes === 1 ? '' : ` among ${processes} processes`) : ` on ${fileSystem}`;
  console.log(`${fault}${where}, ${cycles} cycles, seed ${seed}`);
  const onCycle = (tally: Tally): void => showCycle(tally, cycles, seconds());
  const options: CampaignOptions = { place, seed, longestLoadMs, onCycle };
  const campaign = processes === 1 ? new Campaign(options) : new SharedCampaign(options, processes);
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
  const { acknowledged, ended, missing, doubled, altered, revived, miscounted } = tally;
  const width = String(cycles).length;
  const wrong = missing + doubled + altered + revived + miscounted;
  const kinds = `${missing} missing, ${doubled} doubled, ${altered} altered, ${revived} revived, ${miscounted} miscounted`;
  const faults = wrong === 0 ? '' : `   ${kinds}`;
  const cycle = `${String(tally.cycles).padStart(width)} of ${cycles}`;
  console.log(`  ${cycle}   ${acknowledged} acknowledged, ${ended} known to have ended, ${seconds} s${faults}`);
}

function showSummary(tally: Tally, seconds: number): void {
  const { shared } = tally;
  const rows: (readonly [string, string | number])[] = [
    ['cycles', tally.cycles],
    ['acknowledged', tally.acknowledged],
    ['known to have ended', tally.ended],
    ['transfers with an ack', tally.moved],
    ['produced by transact', tally.counted],
    ['jobs added', tally.jobsAdded],
    ['jobs known to have ended', tally.jobsEnded],
    ['missing', tally.missing],
    ['doubled', tally.doubled],
    ['altered', tally.altered],
    ['delivered after the end', tally.revived],
    ['miscounted entries', tally.miscounted],
    ['ms to open again', shown(spread(tally.reopenMs))],
  ];
  if (shared !== undefined) {
    rows.push(['processes killed', `${shared.kills} (${shared.leaderKills} led the store)`]);
    rows.push(['processes stopped', shared.stops]);
    rows.push(['ms to the next leader', `${shown(spread(shared.takeoverMs))}, ${shared.takeoverMs.length} times`]);
  }
  rows.push(['seconds', seconds]);
  console.log('');
  for (const [label, value] of rows) console.log(`  ${label.padEnd(24)}${value}`);
  console.log('');
}

function summaryOf(request: TortureRequest, tally: Tally, seconds: number): Record<string, unknown> {
  const { fault, fileSystem, processes, seed } = request;
  const { reopenMs, shared, ...counts } = tally;
  return {
    fault,
    ...(fileSystem !== undefined && { fs: fileSystem }),
    processes,
    seed,
    ...counts,
    reopenMs: spread(reopenMs),
    ...(shared !== undefined && { ...shared, takeoverMs: spread(shared.takeoverMs) }),
    seconds,
  };
}

interface Spread {
  readonly median: number;
  readonly max: number;
}

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b).map(Math.round);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 };
}

function shown({ median, max }: Spread): string {
  return `${median} (at most ${max})`;
}

function readRequest(args: readonly string[]): TortureRequest | undefined {
  const line = parseCommandLine(args, {
    words: 1,
    values: ['cycles', 'processes', 'fs', 'seed', 'load'],
    flags: ['json', 'help'],
  });
  if (line.flags.has('help')) return undefined;
  const [fault] = line.words;
  if (fault !== 'kill' && fault !== 'powercut') throw new UsageError(`Cannot go on: name the fault\n\n${HELP}`);
  const fileSystem = line.values.get('fs');
  if (fault === 'kill' && fileSystem !== undefined)
    throw new UsageError('Cannot use "--fs" with kill: it is for powercut');
  if (fault === 'powercut' && fileSystem !== 'ext4' && fileSystem !== 'xfs') {
    throw new UsageError(`Cannot use "${fileSystem ?? ''}" as "--fs": it must be ext4 or xfs`);
  }
  const processes = wholeNumber(line, 'processes', 1, MAX_PROCESSES) ?? (fault === 'kill' ? PROCESSES : 1);
  if (processes === 2) throw new UsageError('Cannot use "2" as "--processes": one leads, one produces, one works');
  if (fault === 'powercut' && processes !== 1)
    throw new UsageError('Cannot use "--processes" with powercut: it is for kill');
  const cycles = wholeNumber(line, 'cycles', 1, MAX_CYCLES);
  if (cycles === undefined) throw new UsageError('Cannot go on: give the number of faults with --cycles N');
  const seed = wholeNumber(line, 'seed', 0, MAX_SEED) ?? Math.floor(Math.random() * MAX_SEED);
  return {
    fault,
    fileSystem: fileSystem as FileSystem | undefined,
    cycles,
    processes,
    seed,
    longestLoadMs: wholeNumber(line, 'load', SHORTEST_LOAD_MS, MAX_LOAD_MS) ?? LONGEST_LOAD_MS,
    json: line.flags.has('json'),
  };
}
