/** `npm run demo`: real files as input, processes that are killed on the way, and a count that must come out. */
import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { USAGE_EXIT_CODE, UsageError } from '../command-line.ts';
import { abortWhenInterrupted, exitInterrupted, Interrupted } from '../interruption.ts';
import { countAll, type Counted } from './count.ts';
import { listFolder } from './folder.ts';
import { shownPath, textOfPath } from './path-text.ts';
import { type DemoRequest, HELP, readRequest } from './request.ts';
import { count, number, type Row, Screen } from './screen.ts';
import { type Supervised, Supervisor } from './supervisor.ts';

/** How many dead files are shown with their reasons. */
const SHOWN_DEAD = 5;

// A reader that has seen enough, such as `head`, ends the output and not the work.
process.stdout.on('error', () => {});

const interruption = abortWhenInterrupted();
try {
  const request = await readRequest(process.argv.slice(2));
  if (request === undefined) console.log(HELP);
  else process.exitCode = await runDemo(request);
} catch (error) {
  if (error instanceof Interrupted) exitInterrupted(error);
  process.exitCode = error instanceof UsageError ? USAGE_EXIT_CODE : 1;
  console.error(error instanceof UsageError ? `${error.message}\n\n${HELP}` : error);
}

async function runDemo(request: DemoRequest): Promise<number> {
  const { folder, data } = request;
  const screen = new Screen(process.stdout);
  try {
    const startedAt = Date.now();
    const { files, closed } = await listFolder(folder, data, interruption);
    screen.begin(shownFolder(folder), files.length);
    if (closed.length > 0) screen.note(`${count(closed.length, 'folder')} cannot be listed and are left out`);
    const supervisor = new Supervisor({ folder, data }, files.length, {
      started: (workers) => screen.note(`a broker, a producer and ${count(workers, 'worker')}, each a process`),
      progress: (stored, ended) => screen.progress(stored, ended),
      killed: (kills, kill) => screen.killed(kills, kill),
    });
    const supervised = await supervisor.run(interruption);
    const counted = await countAll({ folder, data, before: files, startedAt }, interruption);
    showTable(screen, counted, supervised);
    await writeResults(request, counted);
    if (request.json) console.log(JSON.stringify(summaryOf(folder, counted, supervised)));
    return counted.lost.length === 0 && counted.doubled === 0 ? 0 : 1;
  } finally {
    screen.clear();
    if (request.dataIsTemporary) rmSync(data, { recursive: true, force: true });
  }
}

function showTable(screen: Screen, counted: Counted, supervised: Supervised): void {
  const { files, bytes, produced, completed, dead, redelivered, lost, doubled, durability } = counted;
  const synced = durability === 'disk' ? 'synced to the disk before it is acknowledged' : 'not on a disk';
  const rows: Row[] = [
    { label: 'files', value: number(files), note: `${(bytes / 1e6).toFixed(1)} MB, counted again at the end` },
    { label: 'produced', value: number(produced) },
    { label: 'completed', value: number(completed.length), note: 'SHA-256, lines, gzip size' },
    { label: 'dead', value: number(dead.length), ...(dead.length > 0 && { note: 'kept, each with its reason' }) },
    { label: 'redelivered after a kill', value: number(redelivered) },
    { label: 'workers killed', value: number(supervised.workerKills), note: `of ${supervised.workers} at a time` },
    { label: 'brokers killed', value: number(supervised.brokerKills), note: 'each time another process took over' },
    { label: 'lost', value: number(lost.length), tone: lost.length === 0 ? 'good' : 'bad' },
    { label: 'results recorded twice', value: number(doubled), tone: doubled === 0 ? 'good' : 'bad' },
    {
      label: 'messages a second',
      value: number(messagesPerSecond(counted, supervised)),
      note: 'kills and restarts included',
    },
    { label: 'durability', value: durability, note: synced },
  ];
  const passed = lost.length === 0 && doubled === 0;
  const kills = `Killed ${count(supervised.workerKills + supervised.brokerKills, 'process')} in ${supervised.seconds.toFixed(1)} s`;
  const verdict = passed ? 'nothing lost, nothing recorded twice' : 'files are lost or recorded twice, which is a bug';
  screen.table(rows, { label: kills, value: verdict, tone: passed ? 'good' : 'bad' });
  for (const { path, reason } of dead.slice(0, SHOWN_DEAD)) screen.note(`dead: ${shownPath(path)}: ${reason}`);
  if (dead.length > SHOWN_DEAD) screen.note(`and ${count(dead.length - SHOWN_DEAD, 'other')}`);
  for (const path of lost.slice(0, SHOWN_DEAD)) screen.note(`lost: ${shownPath(path)}`);
}

async function writeResults({ results }: DemoRequest, { completed }: Counted): Promise<void> {
  if (results === undefined) return;
  const lines = completed.map(({ path, sha256 }) => `${JSON.stringify({ path: textOfPath(path), sha256 })}\n`);
  await writeFile(results, lines.join(''));
}

function summaryOf(folder: string, counted: Counted, supervised: Supervised): Record<string, string | number> {
  const { files, bytes, produced, redelivered, doubled, durability } = counted;
  return {
    folder,
    files,
    bytes,
    produced,
    completed: counted.completed.length,
    dead: counted.dead.length,
    redelivered,
    lost: counted.lost.length,
    doubled,
    workers: supervised.workers,
    kills: supervised.workerKills + supervised.brokerKills,
    workerKills: supervised.workerKills,
    brokerKills: supervised.brokerKills,
    seconds: Number(supervised.seconds.toFixed(3)),
    messagesPerSecond: messagesPerSecond(counted, supervised),
    durability,
  };
}

function messagesPerSecond({ completed, dead }: Counted, { seconds }: Supervised): number {
  return Math.round((completed.length + dead.length) / seconds);
}

function shownFolder(folder: string): string {
  const shorter = relative(process.cwd(), folder);
  return shorter === '' || shorter.startsWith('..') ? folder : shorter;
}
