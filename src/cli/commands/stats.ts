/** `holdfast stats`: how much waits, runs and has ended. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import type { ChannelView } from '../../model/command.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Retention } from '../../model/policy.ts';
import { outputWidth, styled, writeJson, writeLine } from '../output.ts';
import { addStoreCommand, durationFlag, untilInterrupted, waitFor } from '../store-command.ts';
import { withStore } from '../with-store.ts';
import { type Column, countText, durationText, rateText, safeText, tableLines } from '../text.ts';

interface StatsOptions {
  readonly json?: true;
  readonly watch?: true;
  readonly every: number;
}

const COUNTS = ['ready', 'delayed', 'leased', 'waiting', 'completed', 'dead', 'cancelled', 'consumers'] as const;

export function addStats(program: Command): void {
  addStoreCommand(
    program,
    'stats [channel]',
    'show what channels hold: what is ready, leased, dead, …',
    'holdfast stats --data ./data --watch',
  )
    .option('--watch', 'again and again, until interrupted')
    .option('--every <duration>', 'how often with --watch', atLeast100, 2_000)
    .action(async (channel: string | undefined, options: StatsOptions, command: Command) => {
      await withStore(command, (hf) =>
        options.watch === true ? watch(hf, channel, options) : once(hf, channel, options),
      );
    });
}

function atLeast100(text: string): number {
  const everyMs = durationFlag(text);
  if (everyMs >= 100) return everyMs;
  throw new InvalidArgumentError('It must be 100ms or longer.');
}

async function watch(hf: Holdfast, channel: string | undefined, options: StatsOptions): Promise<void> {
  const interrupted = untilInterrupted();
  while (!interrupted.aborted) {
    const lines = options.json === true ? undefined : await statsLines(hf, channel);
    if (lines === undefined) await once(hf, channel, options);
    else if (process.stdout.isTTY) await writeLine(`\u001B[H\u001B[2J${lines.join('\n')}`);
    else await writeLine(`${lines.join('\n')}\n`);
    await waitFor(options.every, interrupted);
  }
}

async function once(hf: Holdfast, channel: string | undefined, { json }: StatsOptions): Promise<void> {
  if (json !== true) return writeLine((await statsLines(hf, channel)).join('\n'));
  if (channel !== undefined) return writeJson(channelJson(await find(hf, channel)));
  const channels = (await hf.admin.overview()).map(channelJson);
  const total = Object.fromEntries(
    [...COUNTS, 'backlog' as const].map((name) => [name, channels.reduce((sum, view) => sum + view[name], 0)]),
  );
  await writeJson({ channels, total: { ...total, oldestReadyMs: oldestOf(channels) ?? null } });
}

async function find(hf: Holdfast, channel: string): Promise<ChannelView> {
  const view = await hf.admin.inspect(channel);
  if (view === undefined) throw new HoldfastError('NOT_FOUND', `No channel is named "${channel}"`);
  return view;
}

/** What autoscalers go by comes as numbers of its own. */
function channelJson(view: ChannelView): Omit<ChannelView, 'oldestReadyMs'> & {
  readonly backlog: number;
  readonly oldestReadyMs: number | null;
} {
  return { ...view, backlog: backlogOf(view), oldestReadyMs: view.oldestReadyMs ?? null };
}

function backlogOf({ ready, delayed, leased, waiting }: ChannelView): number {
  return ready + delayed + leased + waiting;
}

function oldestOf(views: readonly { readonly oldestReadyMs?: number | null | undefined }[]): number | undefined {
  const ages = views.flatMap(({ oldestReadyMs }) => oldestReadyMs ?? []);
  return ages.length === 0 ? undefined : Math.max(...ages);
}

async function statsLines(hf: Holdfast, channel: string | undefined): Promise<string[]> {
  return channel === undefined ? overviewLines(await hf.admin.overview()) : channelLines(await find(hf, channel));
}

const COLUMNS: readonly Column[] = [
  { title: 'CHANNEL', least: 8 },
  ...COUNTS.map((title) => ({ title: title.toUpperCase(), align: 'right' as const })),
  { title: 'OLDEST', align: 'right' },
  { title: '' },
];

function overviewLines(views: readonly ChannelView[]): string[] {
  if (views.length === 0) return ['There are no channels yet'];
  const rows = views.map((view) => [
    safeText(view.channel),
    ...COUNTS.map((name) => countText(view[name])),
    ageText(view.oldestReadyMs),
    view.paused ? 'paused' : '',
  ]);
  if (views.length > 1) {
    const totals = COUNTS.map((name) => countText(views.reduce((sum, view) => sum + view[name], 0)));
    rows.push(['total', ...totals, ageText(oldestOf(views)), '']);
  }
  const deadColumn = 1 + COUNTS.indexOf('dead');
  const style = (cell: string, row: number, column: number): string => {
    if (column === COLUMNS.length - 1) return styled('yellow', cell);
    if (column === deadColumn && cell !== '0') return styled('red', cell);
    return row === views.length ? styled('bold', cell) : cell;
  };
  return tableLines(COLUMNS, rows, outputWidth(), style, (line) => styled('bold', line)).map((line) => line.trimEnd());
}

function channelLines(view: ChannelView): string[] {
  const { channel, paused, totals, settings } = view;
  const facts: (readonly [string, string])[] = [
    ...COUNTS.map((name) => [name, countText(view[name])] as const),
    ['backlog', countText(backlogOf(view))],
    ['oldest', ageText(view.oldestReadyMs)],
    ['groups', countText(view.groups)],
    ['concurrency', settings.concurrency === 0 ? 'any' : countText(settings.concurrency)],
    ['rate', rateText(settings.rate)],
    ['held back', durationText(view.heldMs)],
    ...Object.entries(totals).map(([name, total]) => [`total ${name}`, countText(total as number)] as const),
    ['keeps completed', retentionText(settings.completed)],
    ['keeps dead', retentionText(settings.dead)],
  ];
  const title = styled('bold', safeText(channel)) + (paused ? styled('yellow', '  paused') : '');
  return [title, ...facts.map(([name, fact]) => `  ${name.padEnd(20)} ${fact}`)];
}

function ageText(ms: number | undefined): string {
  return ms === undefined ? '-' : durationText(ms);
}

function retentionText({ count, ageMs }: Retention): string {
  const bounds = [
    ...(count === undefined ? [] : [`${countText(count)} messages`]),
    ...(ageMs === undefined ? [] : [durationText(ageMs)]),
  ];
  return bounds.length === 0 ? 'all' : bounds.join(', ');
}
