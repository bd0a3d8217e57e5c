/** Messages as commands show them. */
import type { StoredMessage } from '../api/stored.ts';
import { outputWidth, styled } from './output.ts';
import { type Column, distanceText, momentText, safeText, tableLines } from './text.ts';
import { showBriefly, showInFull, toJson } from './values.ts';

/** A message for programs. Of one that cannot be decoded, `messageError` says why. */
export function messageJson(stored: StoredMessage<unknown>): unknown {
  const { state, failure, log, history, ...rest } = stored;
  const fields: Record<string, unknown> = {};
  for (const name of NUMBERS) if (rest[name] !== undefined) fields[name] = rest[name];
  const value = readValue(() => stored.message);
  const result = readValue(() => stored.result);
  const progress = readValue(() => stored.progress);
  return {
    id: rest.id,
    channel: rest.channel,
    state,
    ...fields,
    ...('error' in value ? { messageError: value.error } : { message: toJson(value.is) }),
    ...(state === 'completed' && ('error' in result ? { resultError: result.error } : { result: toJson(result.is) })),
    ...('error' in progress
      ? { progressError: progress.error }
      : progress.is !== undefined && { progress: toJson(progress.is) }),
    ...(failure !== undefined && { failure }),
    ...(rest.schedule !== undefined && { schedule: rest.schedule }),
    log,
    history,
  };
}

const NUMBERS = ['priority', 'attempts', 'deaths', 'undecodable', 'producedAt', 'dueAt', 'endedAt'] as const;

const COLUMNS: readonly Column[] = [
  { title: 'ID' },
  { title: 'STATE' },
  { title: 'WHEN' },
  { title: 'ATTEMPTS', align: 'right' },
  { title: 'MESSAGE', least: 10 },
];

/** A line a message. */
export function messageTable(messages: readonly StoredMessage<unknown>[], now: number): string[] {
  const rows = messages.map((stored) => [
    stored.id,
    stored.state,
    distanceText(stored.endedAt ?? stored.dueAt ?? stored.producedAt, now),
    String(stored.attempts),
    brief(stored),
  ]);
  const style = (cell: string, row: number, column: number): string =>
    column === 1 ? stateText(messages[row]?.state ?? '', cell) : cell;
  return tableLines(COLUMNS, rows, outputWidth(), style, (line) => styled('bold', line));
}

/** Everything that is known of a message. */
export function messageLines(stored: StoredMessage<unknown>, now: number): string[] {
  const { id, channel, state, priority, attempts, deaths, undecodable, producedAt, dueAt, endedAt } = stored;
  const { name, group, schedule } = stored;
  const facts: [string, string][] = [
    ['channel', safeText(channel)],
    ...(name === undefined ? [] : [['name', safeText(name)] as [string, string]]),
    ...(group === undefined ? [] : [['group', safeText(group)] as [string, string]]),
    ...(schedule === undefined
      ? []
      : [['schedule', `${safeText(schedule.key)}, for ${momentText(schedule.at)}`] as [string, string]]),
    ['state', stateText(state, state)],
    ['produced', whenText(producedAt, now)],
  ];
  if (dueAt !== undefined) facts.push(['due', whenText(dueAt, now)]);
  if (endedAt !== undefined) facts.push(['ended', whenText(endedAt, now)]);
  facts.push(['attempts', String(attempts)]);
  if (deaths > 0) facts.push(['deaths', String(deaths)]);
  if (undecodable > 0) facts.push(['undecodable', String(undecodable)]);
  if (priority !== 0) facts.push(['priority', String(priority)]);
  const lines = [styled('bold', id), ...facts.map(([name, fact]) => `  ${name.padEnd(12)} ${fact}`)];
  lines.push(
    ...section(
      'message',
      valueLines(() => stored.message),
    ),
  );
  if (state === 'completed')
    lines.push(
      ...section(
        'result',
        valueLines(() => stored.result),
      ),
    );
  const progress = valueLines(() => stored.progress);
  if (progress[0] !== 'undefined') lines.push(...section('progress', progress));
  lines.push(...failureLines(stored));
  if (stored.log.length > 0) lines.push(...section('log', stored.log.map(safeText)));
  return [...lines, ...historyLines(stored)];
}

function failureLines({ failure }: StoredMessage<unknown>): string[] {
  if (failure === undefined) return [];
  const { name, message, stack } = failure;
  const lines = stack === undefined ? [`${name}: ${message}`] : stack.split('\n');
  return section('failure', lines.map(safeText));
}

function historyLines({ history }: StoredMessage<unknown>): string[] {
  const lines = history.map(({ at, what, attempt, note }) => {
    const attemptText = attempt === 0 ? '' : `  attempt ${attempt}`;
    return `${momentText(at)}  ${what.padEnd(10)}${attemptText}${note === undefined ? '' : `  ${safeText(note)}`}`.trimEnd();
  });
  return section('history', lines);
}

function section(title: string, lines: readonly string[]): string[] {
  return ['', styled('bold', `  ${title}`), ...lines.map((line) => `    ${line}`)];
}

function valueLines(read: () => unknown): string[] {
  const value = readValue(read);
  return 'error' in value ? [undecodableText(value.error)] : showInFull(value.is, outputWidth() - 4);
}

function brief(stored: StoredMessage<unknown>): string {
  const value = readValue(() => stored.message);
  return 'error' in value ? undecodableText(value.error) : showBriefly(value.is);
}

function undecodableText(error: string): string {
  return `<undecodable: ${safeText(error)}>`;
}

function readValue(read: () => unknown): { readonly is: unknown } | { readonly error: string } {
  try {
    return { is: read() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

const STATE_STYLES = { ready: 'green', leased: 'cyan', dead: 'red', delayed: 'yellow', waiting: 'yellow' } as const;

export function stateText(state: string, cell: string): string {
  return styled(STATE_STYLES[state as keyof typeof STATE_STYLES] ?? 'gray', cell);
}

function whenText(at: number, now: number): string {
  return `${momentText(at)} (${distanceText(at, now)})`;
}
