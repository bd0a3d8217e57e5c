/** `holdfast schedule`: what produces messages again and again. */
import type { Command } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import type { Schedule, ScheduleInfo } from '../../api/schedules.ts';
import { systemClock } from '../../model/clock.ts';
import { HoldfastError } from '../../model/errors.ts';
import { outputWidth, styled, writeJson, writeLine } from '../output.ts';
import { addStoreCommand, wholeNumberFlag } from '../store-command.ts';
import { type Column, countText, distanceText, durationText, momentText, safeText, tableLines } from '../text.ts';
import { showInFull, toJson } from '../values.ts';
import { withStore } from '../with-store.ts';

interface JsonOption {
  readonly json?: true;
}

interface ListOptions extends JsonOption {
  readonly channel?: string;
  readonly limit: number;
}

/** How many schedules one request asks for. */
const PAGE = 100;

/** What can be done to a schedule, and what is said when it has been done. */
const ACTIONS = [
  ['pause', 'has no more ticks until it is resumed', 'is paused'],
  ['resume', 'has ticks again; those that have passed are left out', 'goes on'],
  ['run', 'produces its message once more, now', 'has run'],
  ['rm', 'is forgotten; its messages stay', 'is removed'],
] as const;

export function addSchedule(program: Command): void {
  const schedule = program.command('schedule').description('list schedules, and pause, resume, run or remove one');
  addStoreCommand(schedule, 'ls', 'list schedules by their keys', 'holdfast schedule ls --data ./data')
    .option('--channel <name>', 'only schedules of this channel')
    .option('--limit <count>', 'at most so many', wholeNumberFlag(1, 1_000_000), 100)
    .action((options: ListOptions, command: Command) => withStore(command, (hf) => list(hf, options)));
  addStoreCommand(schedule, 'get <key>', 'show all of one', 'holdfast schedule get nightly --data ./data').action(
    (key: string, { json }: JsonOption, command: Command) => withStore(command, (hf) => show(hf, key, json === true)),
  );
  for (const [action, description, done] of ACTIONS) {
    const example = `holdfast schedule ${action} nightly --data ./data`;
    addStoreCommand(schedule, `${action} <key>`, `a schedule ${description}`, example).action(
      (key: string, { json }: JsonOption, command: Command) =>
        withStore(command, async (hf) => {
          const id = await act(hf, key, action);
          if (json === true) return writeJson({ key, done: action, ...(id !== undefined && { id }) });
          return writeLine(`${safeText(key)} ${done}${id === undefined ? '' : `: ${id}`}`);
        }),
    );
  }
}

async function act(hf: Holdfast, key: string, action: (typeof ACTIONS)[number][0]): Promise<string | undefined> {
  switch (action) {
    case 'pause':
    case 'resume':
      await hf.schedules[action](key);
      return undefined;
    case 'run':
      return (await hf.schedules.runNow(key)).id;
    case 'rm':
      if (!(await hf.schedules.remove(key))) throw notFound(key);
      return undefined;
  }
}

async function list(hf: Holdfast, { channel, limit, json }: ListOptions): Promise<void> {
  const schedules: ScheduleInfo[] = [];
  for (let after: string | undefined = ''; after !== undefined && schedules.length < limit;) {
    const wanted = Math.min(PAGE, limit - schedules.length);
    const page = await hf.schedules.list({ after, limit: wanted, ...(channel !== undefined && { channel }) });
    schedules.push(...page.schedules);
    after = page.next;
  }
  if (json === true) return writeJson(schedules);
  if (schedules.length > 0) await writeLine(tableOf(schedules, systemClock.wallMs()).join('\n'));
}

async function show(hf: Holdfast, key: string, json: boolean): Promise<void> {
  const schedule = await hf.schedules.get(key);
  if (schedule === undefined) throw notFound(key);
  if (json) return writeJson({ ...schedule, message: toJson(schedule.message) });
  await writeLine(linesOf(schedule, systemClock.wallMs()).join('\n'));
}

const COLUMNS: readonly Column[] = [
  { title: 'KEY', least: 10 },
  { title: 'CHANNEL', least: 10 },
  { title: 'RULE', least: 10 },
  { title: 'STATE' },
  { title: 'NEXT' },
  { title: 'LAST' },
  { title: 'TICKS', align: 'right' },
];

function tableOf(schedules: readonly ScheduleInfo[], now: number): string[] {
  const rows = schedules.map((schedule) => [
    safeText(schedule.key),
    safeText(schedule.channel),
    ruleText(schedule),
    schedule.state,
    schedule.nextAt === undefined ? '-' : distanceText(schedule.nextAt, now),
    schedule.lastAt === undefined ? '-' : distanceText(schedule.lastAt, now),
    countText(schedule.ticks),
  ]);
  return tableLines(
    COLUMNS,
    rows,
    outputWidth(),
    (cell) => cell,
    (line) => styled('bold', line),
  );
}

function linesOf(schedule: Schedule, now: number): string[] {
  const { startAt, endAt, nextAt, lastAt, lastId, skippedAt, limit, jitterMs, failure } = schedule;
  const when = (at: number | undefined): string | undefined =>
    at === undefined ? undefined : `${momentText(at)}  (${distanceText(at, now)})`;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['channel', safeText(schedule.channel)],
    ['rule', ruleText(schedule)],
    ['state', schedule.state],
    ['failure', failure === undefined ? undefined : safeText(failure)],
    ['next', when(nextAt)],
    ['last', lastAt === undefined ? undefined : `${when(lastAt)}  ${lastId}`],
    ['skipped', when(skippedAt)],
    ['ticks', limit === undefined ? countText(schedule.ticks) : `${countText(schedule.ticks)} of ${countText(limit)}`],
    ['start', when(startAt)],
    ['end', when(endAt)],
    ['jitter', jitterMs === 0 ? undefined : durationText(jitterMs)],
    ['missed', schedule.missed],
    ['overlap', schedule.overlap],
    ['created', when(schedule.createdAt)],
  ];
  const lines = facts.flatMap(([name, fact]) => (fact === undefined ? [] : [`  ${name.padEnd(12)} ${fact}`]));
  const message = showInFull(schedule.message, outputWidth() - 4).map((line) => `    ${line}`);
  return [styled('bold', safeText(schedule.key)), ...lines, '', styled('bold', '  message'), ...message];
}

function ruleText({ rule }: ScheduleInfo): string {
  return 'cron' in rule ? safeText(`${rule.cron} ${rule.timeZone}`) : `every ${durationText(rule.everyMs)}`;
}

function notFound(key: string): HoldfastError {
  return new HoldfastError('NOT_FOUND', `No schedule has the key "${key}"`);
}
