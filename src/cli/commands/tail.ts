/** `holdfast tail`: what happens to messages, as it happens. */
import { type Command, InvalidArgumentError } from 'commander';
import type { EventsOptions, MessageHappened } from '../../api/events.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import { systemClock } from '../../model/clock.ts';
import { jsonText, styled, writeLine, writeNote } from '../output.ts';
import { addStoreCommand, durationFlag, untilInterrupted } from '../store-command.ts';
import { withStore } from '../with-store.ts';
import { momentText, safeText } from '../text.ts';

interface TailOptions {
  readonly json?: true;
  readonly since?: number;
  readonly after?: string;
}

export function addTail(program: Command): void {
  addStoreCommand(
    program,
    'tail [channel]',
    'show what happens to messages, until interrupted',
    'holdfast tail mail --data ./data --since 10m',
  )
    .option('--since <time>', 'begin in the past: a duration, or a moment such as 2030-01-31T12:00:00Z', readSince)
    .option('--after <position>', 'go on behind the event with this "position", as --json shows it')
    .action((channel: string | undefined, options: TailOptions, command: Command) =>
      withStore(command, (hf) => tail(hf, channel, options)),
    );
}

function readSince(text: string): number {
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : systemClock.wallMs() - durationFlag(text);
  if (Number.isFinite(at)) return at;
  throw new InvalidArgumentError('It must be a duration, such as 10m, or a moment, such as 2030-01-31T12:00:00Z.');
}

async function tail(hf: Holdfast, channel: string | undefined, { json, since, after }: TailOptions): Promise<void> {
  if (since !== undefined && after !== undefined) throw new TypeError('Cannot use --since and --after together');
  const signal = untilInterrupted();
  const from = after ?? since;
  const options: EventsOptions = {
    signal,
    ...(channel !== undefined && { channel }),
    ...(from !== undefined && { after: from }),
  };
  const lines = new Lines();
  try {
    for await (const event of hf.events(options)) {
      if (json === true) await lines.add(jsonText(event));
      else if (event.kind === 'message') await lines.add(eventText(event));
      else writeNote('holdfast: some events are missing here: they were trimmed before they could be read');
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await lines.write();
  }
}

/** Lines of one moment, written together: one at a time they would not keep up with a busy store. */
class Lines {
  #gathered: string[] = [];
  #written: Promise<void> = Promise.resolve();

  /** Resolves when there is room for more. */
  add(line: string): Promise<void> {
    if (this.#gathered.push(line) === 1) systemClock.defer(() => void this.write());
    return this.#written;
  }

  write(): Promise<void> {
    const lines = this.#gathered.splice(0);
    if (lines.length > 0) this.#written = writeLine(lines.join('\n'));
    return this.#written;
  }
}

function eventText(event: MessageHappened): string {
  const { at, what, channel, id = '(removed)', attempt, session } = event;
  const details = `${attempt === 0 ? '' : `  attempt ${attempt}`}${session === undefined ? '' : `  session ${session}`}`;
  return `${momentText(at)}  ${whatText(what)}  ${id.padEnd(36)}  ${safeText(channel)}${details}`;
}

const STYLES = { acked: 'green', failed: 'red', nacked: 'yellow', leaseLost: 'yellow', expired: 'red' } as const;

function whatText(what: string): string {
  const style = STYLES[what as keyof typeof STYLES];
  const padded = what.padEnd(9);
  return style === undefined ? padded : styled(style, padded);
}
