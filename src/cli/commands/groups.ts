/** `holdfast groups`: what the groups of a channel hold. */
import type { Command } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import type { GroupView } from '../../model/views.ts';
import { HoldfastError } from '../../model/errors.ts';
import { outputWidth, styled, writeJson, writeLine } from '../output.ts';
import { addStoreCommand, wholeNumberFlag } from '../store-command.ts';
import { type Column, countText, durationText, limitText, safeText, tableLines } from '../text.ts';
import { withStore } from '../with-store.ts';

interface GroupsOptions {
  readonly json?: true;
  readonly limit: number;
}

export function addGroups(program: Command): void {
  addStoreCommand(
    program,
    'groups <channel>',
    'show the groups of a channel, in the order in which they came up',
    'holdfast groups mail --data ./data',
  )
    .option('--limit <count>', 'at most so many groups', wholeNumberFlag(1, 1_000_000), 100)
    .action((channel: string, options: GroupsOptions, command: Command) =>
      withStore(command, (hf) => show(hf, channel, options)),
    );
}

async function show(hf: Holdfast, channel: string, { json, limit }: GroupsOptions): Promise<void> {
  const view = await hf.admin.inspect(channel);
  if (view === undefined) throw new HoldfastError('NOT_FOUND', `No channel is named "${channel}"`);
  const groups: GroupView[] = [];
  for await (const group of hf.admin.groups(channel)) {
    if (groups.push(group) >= limit) break;
  }
  if (json === true) return writeJson(groups);
  if (groups.length === 0) return writeLine(`${safeText(channel)} has no groups`);
  const lines = groupLines(groups);
  if (view.groups > groups.length) lines.push(`and ${countText(view.groups - groups.length)} more`);
  await writeLine(lines.join('\n'));
}

const COLUMNS: readonly Column[] = [
  { title: 'GROUP', least: 8 },
  { title: 'READY', align: 'right' },
  { title: 'LEASED', align: 'right' },
  { title: 'BACKLOG', align: 'right' },
  { title: 'HELD', align: 'right' },
  { title: 'AT A TIME', align: 'right' },
  { title: 'RATE' },
  { title: 'WEIGHT', align: 'right' },
  { title: 'PRIORITY', align: 'right' },
  { title: '' },
];

function groupLines(groups: readonly GroupView[]): string[] {
  const rows = groups.map(({ group, ready, leased, backlog, heldMs, paused, rules }) => [
    safeText(group),
    countText(ready),
    countText(leased),
    countText(backlog),
    heldMs === 0 ? '-' : durationText(heldMs),
    rules.concurrency === 0 ? 'any' : countText(rules.concurrency),
    limitText(rules.rate),
    String(rules.weight),
    String(rules.priority),
    paused ? 'paused' : '',
  ]);
  const style = (cell: string, _row: number, column: number): string =>
    column === COLUMNS.length - 1 ? styled('yellow', cell) : cell;
  return tableLines(COLUMNS, rows, outputWidth(), style, (line) => styled('bold', line)).map((line) => line.trimEnd());
}
