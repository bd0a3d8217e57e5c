/** `holdfast tail`: what happens to messages, as it happens. */
import type { Command } from 'commander';
import type { EventsOptions, JournalEvent } from '../../api/events.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import type { EventKind } from '../../model/views.ts';
import { systemClock } from '../../model/clock.ts';
import { jsonText, styled, writeLine, writeNote } from '../output.ts';
import { addStoreCommand, momentFlag, untilInterrupted } from '../store-command.ts';
import { withStore } from '../with-store.ts';
import { momentText, safeText } from '../text.ts';
import { showBriefly, toJson } from '../values.ts';

interface TailOptions {
  readonly json?: true;
  readonly since?: number;
  readonly after?: string;
  readonly kinds?: EventKind[];
}

export function addTail(program: Command): void {
  addStoreCommand(
    program,
    'tail [channel]',
    'show what happens to messages, until interrupted',
    'holdfast tail mail --data ./data --since 10m',
  )
    .option('--since <time>', 'begin in the past: a duration, or a moment such as 2030-01-31T12:00:00Z', momentFlag)
    .option('--after <position>', 'go on behind the event with this "position", as --json shows it')
    .option('--kinds <kinds>', 'only what is among these words, with commas between them', readKinds)
    .action((channel: string | undefined, options: TailOptions, command: Command) =>
      withStore(command, (hf) => tail(hf, channel, options)),
    );
}

/** What is no such word, `events` refuses. */
function readKinds(text: string): EventKind[] {
  return text.split(',') as EventKind[];
}

async function tail(
  hf: Holdfast,
  channel: string | undefined,
  { json, since, after, kinds }: TailOptions,
): Promise<void> {
  if (since !== undefined && after !== undefined) throw new TypeError('Cannot use --since and --after together');
  const signal = untilInterrupted();
  const from = after ?? since;
  const options: EventsOptions = {
    signal,
    ...(channel !== undefined && (channel.includes('*') ? { channels: channel } : { channel })),
    ...(kinds !== undefined && { kinds }),
    ...(from !== undefined && { after: from }),
  };
  const lines = new Lines();
  try {
    for await (const event of hf.events(options)) {
      if (json === true) await lines.add(jsonText(eventJson(event)));
      else if (event.kind !== 'trimmed') await lines.add(eventText(event));
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

function eventText(event: Exclude<JournalEvent, { kind: 'trimmed' }>): string {
  const { at, what, channel } = event;
  const start = `${momentText(at)}  ${whatText(what)}`;
  if (event.kind === 'channel') return `${start}  ${''.padEnd(ID_CHARACTERS)}  ${safeText(channel)}`;
  const { id = '(removed)', attempt, session, progress, note } = event;
  const details = [
    attempt === 0 ? undefined : `attempt ${attempt}`,
    session === undefined ? undefined : `session ${session}`,
    progress === undefined ? undefined : showBriefly(progress),
    note === undefined ? undefined : safeText(note),
  ];
  const known = details.filter((detail) => detail !== undefined);
  return [`${start}  ${id.padEnd(ID_CHARACTERS)}  ${safeText(channel)}`, ...known].join('  ');
}

const ID_CHARACTERS = 36;

/** Progress is a value of the application, which JSON may have no place for. */
function eventJson(event: JournalEvent): unknown {
  if (event.kind !== 'message' || event.progress === undefined) return event;
  return { ...event, progress: toJson(event.progress) };
}

const STYLES = { acked: 'green', failed: 'red', nacked: 'yellow', leaseLost: 'yellow', expired: 'red' } as const;

function whatText(what: string): string {
  const style = STYLES[what as keyof typeof STYLES];
  const padded = what.padEnd(9);
  return style === undefined ? padded : styled(style, padded);
}
