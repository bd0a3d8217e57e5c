/** `holdfast usage`: who has read and written how much. */
import { type Command, InvalidArgumentError } from 'commander';
import type { UsageReport } from '../../api/usage.ts';
import { outputWidth, styled, writeJson, writeLine } from '../output.ts';
import { addStoreCommand } from '../store-command.ts';
import { withStore } from '../with-store.ts';
import { type Column, countText, safeText, sizeText, tableLines } from '../text.ts';

interface UsageFlags {
  readonly json?: true;
  readonly from?: number;
  readonly to?: number;
  readonly of?: string;
  readonly channel?: string;
}

export function addUsage(program: Command): void {
  addStoreCommand(
    program,
    'usage',
    'show who has read and written how much, by day, access token and channel',
    'holdfast usage --data ./data --from 2030-01-01 --to 2030-01-31',
  )
    .option('--from <day>', 'the first day, in UTC, such as 2030-01-31; without it, that of --to', dayFlag)
    .option('--to <day>', 'the last day; without it, today', dayFlag)
    .option('--of <id>', 'only of this access token, by its id, or "embedded" for clients without one')
    .option('--channel <name>', 'only of this channel')
    .action(({ json, from, to, of, channel }: UsageFlags, command: Command) =>
      withStore(command, async (hf) => {
        const report = await hf.admin.usage({
          ...(from !== undefined && { from }),
          ...(to !== undefined && { to }),
          ...(of !== undefined && { token: of }),
          ...(channel !== undefined && { channel }),
        });
        if (json === true) return writeJson(report);
        const labels = new Map((await hf.tokens.list()).map(({ id, label }) => [id, label]));
        for (const line of usageLines(report, labels)) await writeLine(line);
      }),
    );
}

function dayFlag(text: string): number {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : NaN;
  // A day that the month does not have is taken for one of the next.
  if (Number.isNaN(at) || new Date(at).toISOString().slice(0, 10) !== text) {
    throw new InvalidArgumentError('It must be a day, such as 2030-01-31.');
  }
  return at;
}

const COLUMNS: readonly Column[] = [
  { title: 'DAY' },
  { title: 'TOKEN' },
  { title: 'LABEL', least: 5 },
  { title: 'OF', least: 8 },
  ...['READS', 'WRITES', 'MESSAGES', 'READ', 'WRITTEN'].map((title) => ({ title, align: 'right' as const })),
];

function usageLines({ rows, total }: UsageReport, labels: ReadonlyMap<string, string>): string[] {
  if (rows.length === 0) return ['Nothing was counted'];
  const cells = rows.map(({ day, token, of, channel, ...counts }) => [
    day,
    token,
    safeText(labels.get(token) ?? ''),
    of === 'channel' ? safeText(channel ?? '') : of === 'kv' ? '(KV)' : '(other channels)',
    ...countCells(counts),
  ]);
  cells.push(['total', '', '', '', ...countCells(total)]);
  const style = (cell: string, row: number): string => (row === rows.length ? styled('bold', cell) : cell);
  return tableLines(COLUMNS, cells, outputWidth(), style, (line) => styled('bold', line));
}

function countCells({ reads, writes, messages, bytesRead, bytesWritten }: UsageReport['total']): string[] {
  return [countText(reads), countText(writes), countText(messages), sizeText(bytesRead), sizeText(bytesWritten)];
}
