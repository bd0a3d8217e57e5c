/** The commands of `holdfast`, each in a file of its own. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addBackup } from './commands/backup.ts';
import { addBulk } from './commands/bulk.ts';
import { addCancel } from './commands/cancel.ts';
import { addFlow } from './commands/flow.ts';
import { addGet } from './commands/get.ts';
import { addGroups } from './commands/groups.ts';
import { addImport } from './commands/import.ts';
import { addLimit } from './commands/limit.ts';
import { addLs } from './commands/ls.ts';
import { addPause } from './commands/pause.ts';
import { addPeek } from './commands/peek.ts';
import { addPurge } from './commands/purge.ts';
import { addRedrive } from './commands/redrive.ts';
import { addRemove } from './commands/remove.ts';
import { addRestore } from './commands/restore.ts';
import { addResume } from './commands/resume.ts';
import { addRetry } from './commands/retry.ts';
import { addSearch } from './commands/search.ts';
import { addStats } from './commands/stats.ts';
import { addTail } from './commands/tail.ts';
import { addSchedule } from './commands/schedule.ts';
import { addServe } from './commands/serve.ts';
import { addToken } from './commands/token.ts';
import { addUsage } from './commands/usage.ts';
import { addUpdate } from './commands/update.ts';
import { addWorker } from './commands/worker.ts';

/** Adds one command, or several that belong together, to the program. */
type AddCommand = (program: Command) => void;

const COMMANDS: readonly AddCommand[] = [
  addServe,
  addStats,
  addLs,
  addPeek,
  addGet,
  addFlow,
  addSearch,
  addTail,
  addUsage,
  addRetry,
  addRedrive,
  addCancel,
  addUpdate,
  addRemove,
  addBulk,
  addPause,
  addResume,
  addGroups,
  addLimit,
  addPurge,
  addSchedule,
  addBackup,
  addRestore,
  addImport,
  addToken,
  addWorker,
];

export function createProgram(): Command {
  const program = new Command('holdfast')
    .description('Jobs, channels and KV that commit together')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .showHelpAfterError('(add --help for help)')
    .exitOverride()
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage');
  for (const add of COMMANDS) add(program);
  return program;
}

function readVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
