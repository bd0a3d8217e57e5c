/** `holdfast import`: what other systems hold, moved over. */
import type { Command } from 'commander';
import type { ImportedQueue } from '../../doors/bullmq/import/import.ts';
import type * as ImportModule from '../../doors/bullmq/import/import.ts';
import type * as RedisModule from '../../doors/bullmq/import/redis.ts';
import type * as TargetModule from '../../doors/bullmq/import/target.ts';
import { EXIT } from '../exit.ts';
import { outputWidth, styled, writeJson, writeLine, writeNote } from '../output.ts';
import { addStoreCommand, untilInterrupted } from '../store-command.ts';
import { openTarget, type TargetOptions } from '../target.ts';
import { countText, safeText, tableLines } from '../text.ts';

interface ImportOptions extends TargetOptions {
  readonly json?: true;
  readonly dryRun?: true;
  readonly force?: true;
  readonly prefix: string;
  readonly queue?: readonly string[];
}

export function addImport(program: Command): void {
  const group = program.command('import').description('move what other systems hold into a store');
  addStoreCommand(
    group,
    'bullmq <redis-url>',
    'move the jobs and schedulers of BullMQ over from Redis',
    'holdfast import bullmq redis://localhost:6379 --data ./data --dry-run',
  )
    .option('--dry-run', 'only say what would be moved')
    .option('--force', 'although there are workers; the jobs that they hold run again')
    .option('--prefix <text>', 'what the keys in Redis begin with', 'bull')
    .option('--queue <name...>', 'only these queues')
    .action(importFromBullMQ);
}

async function importFromBullMQ(redisUrl: string, options: ImportOptions): Promise<void> {
  const { connectRedis, importQueues, importTarget } = await loadImport();
  const signal = untilInterrupted();
  const dryRun = options.dryRun === true;
  const redis = await connectRedis(redisUrl);
  try {
    // Unlike other commands this one makes a store, where there is none.
    const hf = dryRun ? undefined : await openTarget(options);
    try {
      const imported = await importQueues(redis, hf && importTarget(hf), {
        prefix: options.prefix,
        queues: options.queue ?? [],
        force: options.force === true,
        signal,
      });
      await report(imported, options);
    } finally {
      await hf?.close();
    }
  } finally {
    redis.disconnect();
  }
}

/** It takes packages that nothing else here needs. @throws TypeError when one of them is missing */
async function loadImport(): Promise<Loaded> {
  try {
    const modules = await Promise.all([
      import('../../doors/bullmq/import/redis.ts'),
      import('../../doors/bullmq/import/import.ts'),
      import('../../doors/bullmq/import/target.ts'),
    ]);
    return { ...modules[0], ...modules[1], ...modules[2] };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new TypeError('Cannot import from BullMQ: first npm install bullmq ioredis', { cause: error });
  }
}

type Loaded = typeof ImportModule & typeof RedisModule & typeof TargetModule;

const PLACES = [
  'wait',
  'paused',
  'prioritized',
  'delayed',
  'failed',
  'waiting-children',
  'active',
  'schedulers',
] as const;

const COLUMNS = [
  { title: 'QUEUE', least: 8 },
  ...['WAITING', 'PRIORITIZED', 'DELAYED', 'FAILED', 'PARENTS', 'ACTIVE', 'SCHEDULERS'].map((title) => ({
    title,
    align: 'right' as const,
  })),
];

async function report(imported: readonly ImportedQueue[], { json, dryRun }: ImportOptions): Promise<void> {
  const clashes = imported.reduce((sum, queue) => sum + queue.clashes.length, 0);
  if (json === true) await writeJson({ dryRun: dryRun === true, queues: imported });
  else await writeTable(imported, dryRun === true);
  if (clashes > 0) {
    process.exitCode = EXIT.failed;
    writeNote(`holdfast: ${clashes} jobs stay in Redis, because other jobs have their ids in the store (WRONG_STATE)`);
  }
}

async function writeTable(imported: readonly ImportedQueue[], dryRun: boolean): Promise<void> {
  if (imported.length === 0) return writeLine('There are no queues');
  const rows = imported.map(({ queue, moved }) => {
    const [wait, paused, ...rest] = PLACES.map((place) => moved[place]) as [number, number, ...number[]];
    return [safeText(queue), ...[wait + paused, ...rest].map(countText)];
  });
  const lines = tableLines(
    COLUMNS,
    rows,
    outputWidth(),
    (cell) => cell,
    (line) => styled('bold', line),
  );
  for (const line of lines) await writeLine(line.trimEnd());
  for (const { queue, oldSchedulers, workers } of imported) {
    const name = safeText(queue);
    if (workers > 0) writeNote(`"${name}" has workers: ${countText(workers)}`);
    if (oldSchedulers.length > 0) {
      writeNote(
        `"${name}" has repeatable jobs of an old version, which stay: ${oldSchedulers.map(safeText).join(', ')}`,
      );
    }
  }
  await writeLine(dryRun ? 'Nothing was moved: this is what would be' : 'Moved');
}
