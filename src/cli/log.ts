/** The log of a command that runs for long: JSON for machines, and plain lines for whoever watches a terminal. */
import type { Logger } from 'pino';

export const LOG_LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** Synchronous, so that the last lines before an end are not lost. */
export async function createLogger(level: string): Promise<Logger> {
  const { destination, pino } = await import('pino');
  const output = destination({ dest: 1, sync: true });
  if (!process.stdout.isTTY) return pino({ level }, output);
  return pino({ level }, { write: (line: string) => output.write(readable(line, pino.levels.labels)) });
}

/** `10:42:01 warn  A worker process has died  pid=71 code=1`, and what belongs to it on lines below. */
function readable(line: string, labels: Readonly<Record<number, string>>): string {
  const { level, time, msg, err, pid: _pid, hostname: _hostname, ...rest } = JSON.parse(line) as LogRecord;
  const details = Object.entries(rest).map(([name, value]) => {
    return `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`;
  });
  const error = err === undefined ? '' : `${err.stack ?? err.message}\n`;
  const name = labels[level] ?? '';
  return `${clockTime(time)} ${name.padEnd(5)} ${[msg, ...details].join('  ')}\n${error}`;
}

interface LogRecord {
  readonly level: number;
  readonly time: number;
  readonly msg: string;
  readonly err?: { readonly message: string; readonly stack?: string };
  readonly [detail: string]: unknown;
}

function clockTime(time: number): string {
  return new Date(time).toTimeString().slice(0, 8);
}
