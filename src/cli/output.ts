/** Where commands write to: plain for programs, with colours and within the width for people at a terminal. */
import { styleText } from 'node:util';
import { safeJson } from './text.ts';

const closed = new AbortController();
process.stdout.on('error', () => closed.abort());

/** Fires when nobody reads the output any more, such as behind `| head`. */
export const outputClosed: AbortSignal = closed.signal;

/** Writes a line; resolves when there is room for more. */
export async function writeLine(line: string): Promise<void> {
  if (closed.signal.aborted || process.stdout.write(`${line}\n`)) return;
  await new Promise<void>((resolve) => {
    const go = (): void => {
      process.stdout.off('drain', go);
      closed.signal.removeEventListener('abort', go);
      resolve();
    };
    process.stdout.on('drain', go);
    closed.signal.addEventListener('abort', go);
  });
}

/** A value on a line of its own, as JSON. */
export function writeJson(value: unknown): Promise<void> {
  return writeLine(jsonText(value));
}

export function jsonText(value: unknown): string {
  return safeJson(JSON.stringify(value));
}

/** A note for people that does not belong to the output. */
export function writeNote(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Colour, unless the output is no terminal or `NO_COLOR` is set. */
export function styled(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stdout });
}

/** How many characters fit on a line; any number where nobody looks. */
export function outputWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns : Infinity;
}

/** Whether a question can be asked and answered. */
export function isInteractive(): boolean {
  return process.stdin.isTTY && process.stdout.isTTY;
}
