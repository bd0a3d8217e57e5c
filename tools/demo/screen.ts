/** What the demo shows: a bar that moves on a terminal, plain lines elsewhere, and the table at the end. */
import type { WriteStream } from 'node:tty';
import type { Kill } from './kills.ts';

export interface Row {
  readonly label: string;
  readonly value: string;
  readonly note?: string;
  readonly tone?: 'good' | 'bad';
}

const BAR_WIDTH = 36;
const NUMBERS = new Intl.NumberFormat('en-US');
const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

export class Screen {
  readonly #stream: WriteStream;
  readonly #isTerminal: boolean;
  readonly #hasColor: boolean;
  #total = 0;
  #bar = '';

  constructor(stream: WriteStream) {
    this.#stream = stream;
    this.#isTerminal = stream.isTTY;
    // https://no-color.org: the variable counts when it is there and not empty.
    this.#hasColor = this.#isTerminal && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
  }

  /** @param total how many files there are to work on */
  begin(folder: string, total: number): void {
    this.#total = total;
    this.#line('');
    this.#line(`  ${this.#style('bold', 'Holdfast')}  one message a file, and processes that are killed on the way`);
    this.#line(`  ${this.#style('dim', `${count(total, 'file')} in ${folder}`)}`);
    this.#line('');
  }

  progress(stored: number, ended: number): void {
    if (!this.#isTerminal || this.#total === 0) return;
    // Storing is the quick half of the work, and moves a thin bar below the one of what is done.
    const full = Math.floor((BAR_WIDTH * ended) / this.#total);
    const waiting = Math.max(full, Math.floor((BAR_WIDTH * stored) / this.#total));
    const bar =
      this.#style('cyan', '━'.repeat(full)) +
      this.#style('dim', '━'.repeat(waiting - full) + '╌'.repeat(Math.max(0, BAR_WIDTH - waiting)));
    const percent = Math.floor((100 * ended) / this.#total);
    this.#draw(`  ${bar}  ${String(percent).padStart(3)} %   ${number(ended)} of ${number(this.#total)}`);
  }

  killed(kills: number, { victim, phase, afterSteps }: Kill): void {
    const who = victim === 'broker' ? 'the broker, so another process leads' : 'a worker';
    const where = `${number(afterSteps)} of ${number(this.#total)} ${phase === 'producing' ? 'stored' : 'done'}`;
    this.#line(`  ${this.#style('yellow', `SIGKILL ${kills}`)}   ${who.padEnd(38)}  ${this.#style('dim', where)}`);
  }

  note(text: string): void {
    this.#line(`  ${this.#style('dim', text)}`);
  }

  table(rows: readonly Row[], closing: Row): void {
    this.#draw('');
    this.#line('');
    const labels = Math.max(...rows.map(({ label }) => label.length));
    const values = Math.max(...rows.map(({ value }) => value.length));
    for (const { label, value, note, tone } of rows) {
      const shown = value.padStart(values);
      const styled =
        tone === undefined ? this.#style('bold', shown) : this.#style(tone === 'good' ? 'green' : 'red', shown);
      const behind = note === undefined ? '' : `   ${this.#style('dim', note)}`;
      this.#line(`  ${label.padEnd(labels)}   ${styled}${behind}`);
    }
    this.#line('');
    this.#line(`  ${this.#style(closing.tone === 'bad' ? 'red' : 'green', closing.label)}  ${closing.value}`);
    this.#line('');
  }

  /** Takes the bar away. */
  clear(): void {
    this.#draw('');
  }

  #line(text: string): void {
    const bar = this.#bar;
    this.#draw('');
    this.#stream.write(`${text}\n`);
    this.#draw(bar);
  }

  #draw(bar: string): void {
    if (!this.#isTerminal || bar === this.#bar) return;
    this.#bar = bar;
    this.#stream.write(`\r\x1b[K${bar}`);
  }

  #style(style: keyof typeof STYLES, text: string): string {
    return this.#hasColor && text !== '' ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text;
  }
}

/** A number as people read it: `6,082`. */
export function number(value: number): string {
  return NUMBERS.format(value);
}

/** A number of things: `1 file`, `6,082 files`, `7 processes`. */
export function count(value: number, noun: string): string {
  const ending = value === 1 ? '' : noun.endsWith('s') ? 'es' : 's';
  return `${number(value)} ${noun}${ending}`;
}
