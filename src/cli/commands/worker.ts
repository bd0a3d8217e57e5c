/** `holdfast worker`: runs modules with consumers in several processes. */
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Logger } from 'pino';
import { systemClock } from '../../model/clock.ts';
import { type Duration, parseDuration } from '../../model/duration.ts';
import { systemRandom } from '../../model/random.ts';
import { EXIT } from '../exit.ts';
import { createLogger, LOG_LEVELS } from '../log.ts';
import { addTargetOptions, type TargetOptions } from '../target.ts';
import { Learned, stateFolder } from '../worker/learned.ts';
import type { Supervisor } from '../worker/supervisor.ts';

interface WorkerOptions extends TargetOptions {
  readonly processes: number;
  readonly min?: number;
  readonly grace: number;
  readonly idle: number;
  readonly maxMemory?: number;
  readonly state?: string;
  readonly logLevel: string;
}

const EXAMPLE = `
A FILE is a module: one that opens its consumers itself, or one whose default export, or exports named consume…, are
functions that are given an instance and open consumers with it. open() without arguments opens what --url or --data name.

Examples:
  holdfast worker dist/mail.js --data ./data
  holdfast worker dist/*.js --url holdfasts://queue.internal --processes 8 --min 0

Signals: with SIGTERM or SIGINT processes take no more messages, finish within --grace and give back the rest; a second
one ends them at once.`;

/** One Ctrl+C may arrive twice, from the terminal and from npm; what comes later than this is a second one. */
const SAME_SIGNAL_MS = 250;

const MAX_PROCESSES = 1_024;

export function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description('run modules with consumers, in several processes')
    .argument('<file...>', 'modules to load in each process');
  addTargetOptions(command)
    .addOption(
      new Option('--processes <count>', 'how many processes there are at most; "auto" is one for each core')
        .env('HOLDFAST_PROCESSES')
        .argParser(readProcesses)
        .default(availableParallelism(), 'auto'),
    )
    .addOption(
      new Option('--min <count>', 'how many there are when nothing is to do (default: all); 0 starts them on demand')
        .env('HOLDFAST_MIN')
        .argParser(readCount),
    )
    .addOption(durationOption('--grace', 'how long handlers may go on when processes end', 'HOLDFAST_GRACE', '25s'))
    .addOption(durationOption('--idle', 'how long a process above --min waits for messages', 'HOLDFAST_IDLE', '30s'))
    .addOption(
      new Option('--max-memory <bytes>', 'replace a process that takes more than this, such as 512MiB')
        .env('HOLDFAST_MAX_MEMORY')
        .argParser(readBytes),
    )
    .addOption(
      new Option('--state <folder>', 'where --min 0 remembers what the modules listen to (default: of this user)').env(
        'HOLDFAST_STATE',
      ),
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged').env('HOLDFAST_LOG_LEVEL').choices(LOG_LEVELS).default('info'),
    )
    .addHelpText('after', EXAMPLE)
    .action(work);
}

async function work(files: readonly string[], options: WorkerOptions): Promise<void> {
  const { processes, min = processes, grace, idle, maxMemory, logLevel } = options;
  if (min > processes) throw new RangeError(`Cannot keep ${min} processes of at most ${processes}: lower --min`);
  const paths = files.map((file) => resolve(file));
  const url = urlOf(options);
  // What this process opens itself, and what its worker processes open, finds these in the environment.
  if (options.token !== undefined) process.env['HOLDFAST_TOKEN'] = options.token;
  if (options.space !== undefined) process.env['HOLDFAST_SPACE'] = options.space;
  const learned = new Learned(options.state ?? stateFolder(), paths, url ?? '');
  const logger = await createLogger(logLevel);
  const { Supervisor } = await import('../worker/supervisor.ts');
  const supervisor = new Supervisor(
    { files: paths, processes, min, graceMs: grace, idleMs: idle, memoryBytes: maxMemory, url },
    { clock: systemClock, random: systemRandom, logger, env: environment(url), learned },
  );
  const missing = await firstMissing(paths);
  if (missing !== undefined) {
    logger.fatal({ file: missing }, 'A file cannot be loaded: there is none');
    process.exitCode = EXIT.failed;
    return;
  }
  stopOnSignals(supervisor, logger);
  process.exitCode = await supervisor.run();
}

/** What is written on the command line counts before the environment. */
function urlOf({ url, data }: WorkerOptions): string | undefined {
  return url ?? (data === undefined ? undefined : `file:${resolve(data)}`);
}

/** What `open()` without arguments finds in a worker process. */
function environment(url: string | undefined): NodeJS.ProcessEnv {
  if (url === undefined) return process.env;
  const { HOLDFAST_DATA: _data, ...env } = process.env;
  return { ...env, HOLDFAST_URL: url };
}

function stopOnSignals(supervisor: Supervisor, logger: Logger): void {
  let stoppedAt: number | undefined;
  const stop = (signal: NodeJS.Signals): void => {
    const now = systemClock.monotonicMs();
    if (stoppedAt === undefined) {
      stoppedAt = now;
      logger.info({ signal }, 'Ending');
      supervisor.stop(EXIT.done);
    } else if (now - stoppedAt > SAME_SIGNAL_MS) {
      logger.warn({ signal }, 'Ending at once');
      supervisor.kill();
      process.exit(EXIT.failed);
    }
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
}

async function firstMissing(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() !== true) return path;
  }
  return undefined;
}

function durationOption(flag: string, description: string, env: string, fallback: Duration): Option {
  const name = flag.slice(2);
  return new Option(`${flag} <duration>`, description)
    .env(env)
    .argParser((text) => readDuration(text, name))
    .default(parseDuration(fallback, name), String(fallback));
}

function readDuration(text: string, name: string): number {
  try {
    return parseDuration((/^\d+$/.test(text) ? Number(text) : text) as Duration, name);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function readProcesses(text: string): number {
  const count = text === 'auto' ? availableParallelism() : readCount(text);
  if (count >= 1 && count <= MAX_PROCESSES) return count;
  throw new InvalidArgumentError(`It must be "auto" or a number from 1 to ${MAX_PROCESSES}.`);
}

function readCount(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number.');
}

const UNIT_BYTES = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

function readBytes(text: string): number {
  const [, count, unit = ''] = /^(\d+(?:\.\d+)?)(KiB|MiB|GiB)?$/.exec(text) ?? [];
  if (count === undefined) throw new InvalidArgumentError('It must be bytes, or a number with KiB, MiB or GiB.');
  return Number(count) * UNIT_BYTES[unit as keyof typeof UNIT_BYTES];
}
