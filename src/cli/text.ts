/** Texts for people: harmless on a terminal, of a known width, in units that can be read. */

import type { Rate } from '../model/policy.ts';

/** Control characters, and those that change the direction or the place of what follows. Emoji are joined by U+200D. */
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?!\u{200d})\p{Cf}/gu;

const SHORT_ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** The text with everything escaped that a terminal would obey instead of showing it. */
export function safeText(text: string): string {
  return text.replaceAll(UNSAFE, (c) => SHORT_ESCAPES[c] ?? `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** JSON with the same characters escaped; it stands for the same value. */
export function safeJson(json: string): string {
  return json.replaceAll(UNSAFE, (c) => Array.from({ length: c.length }, (_, i) => unitEscape(c, i)).join(''));
}

function unitEscape(text: string, at: number): string {
  return `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
const NARROWLESS = /^[\p{M}\u200d]$/u;

/** How many columns a text takes on a terminal. */
function textWidth(text: string): number {
  let width = 0;
  for (const c of text) width += NARROWLESS.test(c) ? 0 : WIDE.test(c) ? 2 : 1;
  return width;
}

/** The text in at most so many columns; what was cut shows as an ellipsis. */
function cutText(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  let cut = '';
  let width = 0;
  for (const c of text) {
    width += textWidth(c);
    if (width > columns - 1) break;
    cut += c;
  }
  return `${cut}…`;
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** A duration in its two largest units: `3d 4h`, `5m 20s`, `12s`, `250ms`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  const first = UNITS.findIndex(([, unitMs]) => ms >= unitMs);
  const parts: string[] = [];
  let left = ms;
  for (const [unit, unitMs] of UNITS.slice(first, first + 2)) {
    const count = Math.floor(left / unitMs);
    left -= count * unitMs;
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.join(' ');
}

/** A moment as seen from another: `5m 20s ago`, `in 2h`. */
export function distanceText(at: number, now: number): string {
  const ms = now - at;
  return ms >= 0 ? `${durationText(ms)} ago` : `in ${durationText(-ms)}`;
}

/** A moment in UTC, to the millisecond. */
export function momentText(at: number): string {
  return new Date(at).toISOString().replace('T', ' ');
}

export function countText(count: number): string {
  return count.toLocaleString('en-US');
}

const SIZES = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** A rate as the command `limit` takes it: `100/1m`. */
export function limitText(rate: Rate | null): string {
  if (rate === null) return 'any';
  const burst = rate.kind === 'bucket' && rate.burst !== rate.count ? `, ${countText(rate.burst)} at once` : '';
  return `${rate.count}/${durationText(rate.perMs)}${burst}${rate.kind === 'window' ? ', by windows' : ''}`;
}

export function sizeText(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 1_024 && unit < SIZES.length - 1) {
    size /= 1_024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${SIZES[unit]}`;
}

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** May be cut, down to this width, when the table does not fit. */
  readonly least?: number;
}

/**
 * Lines of a table that fits into this width, as far as its columns may be cut. Cells must be safe; styling comes last.
 *
 * @param style styles a cell that has its final width
 */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  style: (cell: string, row: number, column: number) => string = (cell) => cell,
  heading: (line: string) => string = (line) => line,
): string[] {
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...rows.map((row) => textWidth(row[i] ?? ''))));
  fit(widths, columns, width - 2 * (columns.length - 1));
  const line = (cells: readonly string[], row: number): string => {
    const padded = cells.map((cell, i) => {
      const cut = cutText(cell, widths[i] as number);
      const space = ' '.repeat(Math.max(0, (widths[i] as number) - textWidth(cut)));
      const shown = row < 0 ? cut : style(cut, row, i);
      if (columns[i]?.align === 'right') return space + shown;
      // No spaces at the end of a line.
      return i === columns.length - 1 ? shown : shown + space;
    });
    return padded.join('  ');
  };
  const titles = columns.map(({ title }) => title);
  return [heading(line(titles, -1)), ...rows.map((row, i) => line(row, i))];
}

/** Cuts the columns that may be cut, the widest first, until all fit. */
function fit(widths: number[], columns: readonly Column[], available: number): void {
  for (let over = sum(widths) - available; over > 0;) {
    const room = widths.map((width, i) => width - (columns[i]?.least ?? width));
    const widest = widths.reduce((best, width, i) => {
      return (room[i] as number) > 0 && (best < 0 || width > (widths[best] as number)) ? i : best;
    }, -1);
    if (widest < 0) return;
    const next = Math.max(...widths.map((width, i) => (i !== widest && (room[i] as number) > 0 ? width : 0)));
    const cut = Math.min(over, room[widest] as number, Math.max(1, (widths[widest] as number) - next));
    widths[widest] = (widths[widest] as number) - cut;
    over -= cut;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
