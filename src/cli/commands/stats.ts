/** `holdfast stats`: how much waits, runs and has ended, how fast, and how long it takes. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import { systemClock } from '../../model/clock.ts';
import type { ChannelView } from '../../model/views.ts';
import { HoldfastError } from '../../model/errors.ts';
import { type MetricsPage, type MetricsSummary, summarizeMetrics, type TimesSummary } from '../../model/metrics.ts';
import type { Retention } from '../../model/policy.ts';
import { outputWidth, styled, writeJson, writeLine } from '../output.ts';
import { addStoreCommand, durationFlag, untilInterrupted, waitFor } from '../store-command.ts';
import { type QueueStats, readQueues } from '../queue-stats.ts';
import { withStore } from '../with-store.ts';
import { type Column, countText, durationText, limitText, safeText, tableLines } from '../text.ts';

interface StatsOptions {
  readonly json?: true;
  readonly watch?: true;
  readonly every: number;
  readonly window: number;
}

/** A channel as it is now, and what it has done of late. */
interface Stats {
  readonly view: ChannelView;
  readonly lately: MetricsSummary;
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
    .option('--window <duration>', 'how far back rates and times go, up to a day', wholeMinutes, 300_000)
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

function wholeMinutes(text: string): number {
  const windowMs = durationFlag(text);
  if (windowMs > 0 && windowMs <= DAY_MS && windowMs % 60_000 === 0) return windowMs;
  throw new InvalidArgumentError('It must be whole minutes, from 1m to 1d.');
}

const DAY_MS = 86_400_000;

/** How many channels one request asks for. */
const PAGE = 1_000;

/** What all channels, or one, have done over the last while. */
async function readStats(hf: Holdfast, channel: string | undefined, windowMs: number): Promise<Stats[]> {
  const from = systemClock.wallMs() - windowMs;
  const stats: Stats[] = [];
  for (let after: number | undefined = 0; after !== undefined;) {
    const asked = { from, after, limit: PAGE, ...(channel !== undefined && { channel }) };
    const page: MetricsPage = await hf.admin.metrics(asked);
    stats.push(...page.channels.map((metrics) => ({ view: metrics.now, lately: summarizeMetrics(metrics) })));
    after = page.next;
  }
  if (channel !== undefined && stats.length === 0)
    throw new HoldfastError('NOT_FOUND', `No channel is named "${channel}"`);
  return stats.sort((a, b) => (a.view.channel < b.view.channel ? -1 : 1));
}

/** As `readStats`, where a queue of BullMQ's by that name will do as well. */
function statsOf(
  hf: Holdfast,
  channel: string | undefined,
  windowMs: number,
  queues: readonly QueueStats[],
): Promise<Stats[]> {
  return readStats(hf, channel, windowMs).catch((error: unknown) => {
    if (queues.length > 0 && error instanceof HoldfastError && error.code === 'NOT_FOUND') return [];
    throw error;
  });
}

async function watch(hf: Holdfast, channel: string | undefined, options: StatsOptions): Promise<void> {
  const interrupted = untilInterrupted();
  while (!interrupted.aborted) {
    const lines = options.json === true ? undefined : await statsLines(hf, channel, options.window);
    if (lines === undefined) await once(hf, channel, options);
    else if (process.stdout.isTTY) await writeLine(`\u001B[H\u001B[2J${lines.join('\n')}`);
    else await writeLine(`${lines.join('\n')}\n`);
    await waitFor(options.every, interrupted);
  }
}

async function once(hf: Holdfast, channel: string | undefined, { json, window }: StatsOptions): Promise<void> {
  if (json !== true) return writeLine((await statsLines(hf, channel, window)).join('\n'));
  const queues = await readQueues(hf, channel);
  const channels = (await statsOf(hf, channel, window, queues)).map(channelJson);
  if (channel !== undefined) return writeJson(channels[0] ?? queues[0]);
  const total = Object.fromEntries(
    [...COUNTS, 'backlog' as const].map((name) => [
      name,
      [...channels, ...queues].reduce((sum, view) => sum + view[name], 0),
    ]),
  );
  await writeJson({ channels, queues, total: { ...total, oldestReadyMs: oldestOf([...channels, ...queues]) ?? null } });
}

/** What autoscalers go by comes as numbers of its own. */
function channelJson({ view, lately }: Stats): Omit<ChannelView, 'oldestReadyMs'> & {
  readonly backlog: number;
  readonly oldestReadyMs: number | null;
  readonly lately: unknown;
} {
  const { latency, handling, ...rest } = lately;
  const times = { latency: withNulls(latency), handling: withNulls(handling) };
  return {
    ...view,
    backlog: backlogOf(view),
    oldestReadyMs: view.oldestReadyMs ?? null,
    lately: { ...rest, ...times },
  };
}

/** JSON leaves out what is undefined. */
function withNulls(times: TimesSummary): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(times).map(([name, value]) => [name, (value as number | undefined) ?? null]),
  );
}

function backlogOf({ ready, delayed, leased, waiting }: ChannelView): number {
  return ready + delayed + leased + waiting;
}

function oldestOf(views: readonly { readonly oldestReadyMs?: number | null | undefined }[]): number | undefined {
  const ages = views.flatMap(({ oldestReadyMs }) => oldestReadyMs ?? []);
  return ages.length === 0 ? undefined : Math.max(...ages);
}

async function statsLines(hf: Holdfast, channel: string | undefined, windowMs: number): Promise<string[]> {
  const queues = await readQueues(hf, channel);
  const stats = await statsOf(hf, channel, windowMs, queues);
  if (channel === undefined) return overviewLines(stats, queues);
  return stats.length > 0 ? stats.flatMap((one) => channelLines(one, windowMs)) : queues.flatMap(queueLines);
}

const LATELY = ['IN/S', 'DONE/S', 'START P95', 'RUN P95'] as const;

/** On a terminal narrower than this, what channels have done of late is left out; `stats CHANNEL` shows it anywhere. */
const WIDE_COLUMNS = 130;

function columnsOf(isWide: boolean): readonly Column[] {
  const numbers = [...COUNTS.map((name) => name.toUpperCase()), 'OLDEST', ...(isWide ? LATELY : [])];
  return [
    { title: 'CHANNEL', least: 8 },
    ...numbers.map((title) => ({ title, align: 'right' as const })),
    { title: '' },
  ];
}

function overviewLines(stats: readonly Stats[], queues: readonly QueueStats[]): string[] {
  if (stats.length + queues.length === 0) return ['There are no channels yet'];
  const views = [...stats.map(({ view }) => view), ...queues];
  const width = outputWidth();
  const isWide = width >= WIDE_COLUMNS;
  const columns = columnsOf(isWide);
  const ifWide = (cells: readonly string[]): readonly string[] => (isWide ? cells : []);
  const rows = stats.map(({ view, lately }) => [
    safeText(view.channel),
    ...COUNTS.map((name) => countText(view[name])),
    ageText(view.oldestReadyMs),
    ...ifWide([
      rateText(lately.perSecond.produced),
      rateText(lately.perSecond.completed),
      timeText(lately.latency.p95Ms),
      timeText(lately.handling.p95Ms),
    ]),
    view.paused ? 'paused' : '',
  ]);
  for (const queue of queues) {
    const counts = COUNTS.map((name) => countText(queue[name]));
    const age = ageText(queue.oldestReadyMs ?? undefined);
    rows.push([safeText(queue.queue), ...counts, age, ...ifWide(['', '', '', '']), queue.paused ? 'paused' : '']);
  }
  if (views.length > 1) {
    const totals = COUNTS.map((name) => countText(views.reduce((sum, view) => sum + view[name], 0)));
    const rates = (['produced', 'completed'] as const).map((name) =>
      rateText(stats.reduce((sum, { lately }) => sum + lately.perSecond[name], 0)),
    );
    rows.push(['total', ...totals, ageText(oldestOf(views)), ...ifWide([...rates, '', '']), '']);
  }
  const deadColumn = 1 + COUNTS.indexOf('dead');
  const style = (cell: string, row: number, column: number): string => {
    if (column === columns.length - 1) return styled('yellow', cell);
    if (column === deadColumn && cell !== '0') return styled('red', cell);
    return row === views.length ? styled('bold', cell) : cell;
  };
  return tableLines(columns, rows, width, style, (line) => styled('bold', line)).map((line) => line.trimEnd());
}

/** A queue of BullMQ's: its states in the words of channels. */
function queueLines(stats: QueueStats): string[] {
  const facts = [
    ...COUNTS.filter((name) => name !== 'cancelled').map((name) => [name, countText(stats[name])] as const),
    ['backlog', countText(stats.backlog)] as const,
    ['oldest', ageText(stats.oldestReadyMs ?? undefined)] as const,
  ];
  const title = styled('bold', safeText(stats.queue)) + (stats.paused ? styled('yellow', '  paused') : '');
  return [title, ...facts.map(([name, fact]) => `  ${name.padEnd(20)} ${fact}`)];
}

function channelLines({ view, lately }: Stats, windowMs: number): string[] {
  const { channel, paused, totals, settings } = view;
  const facts: (readonly [string, string])[] = [
    ...COUNTS.map((name) => [name, countText(view[name])] as const),
    ['backlog', countText(backlogOf(view))],
    ['oldest', ageText(view.oldestReadyMs)],
    ['groups', countText(view.groups)],
    ['concurrency', settings.concurrency === 0 ? 'any' : countText(settings.concurrency)],
    ['rate', limitText(settings.rate)],
    ['held back', durationText(view.heldMs)],
    ...Object.entries(totals).map(([name, total]) => [`total ${name}`, countText(total as number)] as const),
    ...(['produced', 'completed', 'failed', 'dead'] as const).map(
      (name) => [`${name} a second`, `${rateText(lately.perSecond[name])} over ${durationText(windowMs)}`] as const,
    ),
    ['ready to start', timesText(lately.latency)],
    ['start to end', timesText(lately.handling)],
    ['keeps completed', retentionText(settings.completed)],
    ['keeps dead', retentionText(settings.dead)],
  ];
  const title = styled('bold', safeText(channel)) + (paused ? styled('yellow', '  paused') : '');
  return [title, ...facts.map(([name, fact]) => `  ${name.padEnd(20)} ${fact}`)];
}

function ageText(ms: number | undefined): string {
  return ms === undefined ? '-' : durationText(ms);
}

function rateText(perSecond: number): string {
  return perSecond >= 100 ? countText(Math.round(perSecond)) : perSecond === 0 ? '0' : perSecond.toPrecision(2);
}

function timeText(ms: number | undefined): string {
  if (ms === undefined) return '-';
  return ms < 10 ? `${ms.toFixed(1)}ms` : durationText(ms);
}

function timesText({ count, p50Ms, p95Ms, p99Ms }: TimesSummary): string {
  if (count === 0) return '-';
  return `p50 ${timeText(p50Ms)}, p95 ${timeText(p95Ms)}, p99 ${timeText(p99Ms)} of ${countText(count)}`;
}

function retentionText({ count, ageMs }: Retention): string {
  const bounds = [
    ...(count === undefined ? [] : [`${countText(count)} messages`]),
    ...(ageMs === undefined ? [] : [durationText(ageMs)]),
  ];
  return bounds.length === 0 ? 'all' : bounds.join(', ');
}
