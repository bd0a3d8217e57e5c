/** `holdfast bulk`: does something to all messages that a filter holds for. */
import { Argument, type Command } from 'commander';
import type { Bulk, BulkOptions } from '../../api/bulk.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import { BULK_ACTIONS, type BulkAction } from '../../model/filter.ts';
import type { BulkView } from '../../model/life.ts';
import { addFilterFlags, type FilterFlags, filterOptions } from '../filter-flags.ts';
import { writeJson, writeLine } from '../output.ts';
import { addStoreCommand, untilInterrupted, wholeNumberFlag } from '../store-command.ts';
import { countText, safeText, tableLines } from '../text.ts';
import { withStore } from '../with-store.ts';
import { addCancelFlags, type CancelFlags, cancelOptions } from './cancel.ts';
import { addRetryFlags, type RetryFlags, retryOptions } from './retry.ts';
import { addChangeFlags, type ChangeFlags, changeOptions } from './update.ts';

interface BulkFlags extends FilterFlags, CancelFlags, RetryFlags, ChangeFlags {
  readonly json?: true;
  readonly limit?: number;
  readonly wait: boolean;
}

interface BulksFlags {
  readonly json?: true;
  readonly stop?: number;
}

const MOST = 2 ** 40;

export function addBulk(program: Command): void {
  const command = addStoreCommand(
    program,
    'bulk',
    'cancel, promote, update, retry or remove all messages of a channel that the flags say',
    'holdfast bulk retry mail --data ./data --state dead --failure timeout --ended-after 1h',
  );
  command.addArgument(new Argument('<action>', 'what to do').choices(BULK_ACTIONS)).argument('<channel>');
  addFilterFlags(command)
    .option('--limit <count>', 'after so many messages, the oldest first, it ends', wholeNumberFlag(1, MOST))
    .option('--no-wait', 'do not wait for its end: the broker goes on with it');
  addCancelFlags(command);
  addRetryFlags(command);
  addChangeFlags(command);
  command.action((action: BulkAction, channel: string, flags: BulkFlags, self: Command) =>
    withStore(self, (hf) => run(hf, action, channel, flags)),
  );
  addStoreCommand(
    program,
    'bulks [channel]',
    'show the bulks that run, and the last ones',
    'holdfast bulks --data ./data',
  )
    .option('--stop <number>', 'end this one where it stands', wholeNumberFlag(1, Number.MAX_SAFE_INTEGER))
    .action((channel: string | undefined, flags: BulksFlags, self: Command) =>
      withStore(self, (hf) => showBulks(hf, channel, flags)),
    );
}

async function run(hf: Holdfast, action: BulkAction, channel: string, flags: BulkFlags): Promise<void> {
  const bulk: Bulk = await hf.admin.startBulk(channel, action, filterOptions(flags), optionsOf(flags));
  if (!flags.wait) return show([await bulk.progress()], flags.json === true);
  const signal = untilInterrupted();
  // Interrupted, this command ends, and the bulk goes on.
  const view = await bulk.done({ signal }).catch((error: unknown) => {
    if (signal.aborted) return bulk.progress();
    throw error;
  });
  if (flags.json === true) return writeJson(view);
  const { changed, looked, state } = view;
  await writeLine(`${safeText(channel)}: ${countText(changed)} of ${countText(looked)} messages changed, ${state}`);
}

/** What does not go with the action is refused where the bulk begins. */
function optionsOf(flags: BulkFlags): BulkOptions {
  const { limit } = flags;
  return {
    ...cancelOptions(flags),
    ...retryOptions(flags),
    ...changeOptions(flags),
    ...(limit !== undefined && { limit }),
  };
}

async function showBulks(hf: Holdfast, channel: string | undefined, { json, stop }: BulksFlags): Promise<void> {
  if (stop !== undefined) await hf.admin.bulk(stop).stop();
  await show(
    stop === undefined ? await hf.admin.bulks(channel) : [await hf.admin.bulk(stop).progress()],
    json === true,
  );
}

async function show(views: readonly BulkView[], json: boolean): Promise<void> {
  if (json) return writeJson(views);
  const columns = [
    { title: 'BULK' },
    { title: 'CHANNEL' },
    { title: 'ACTION' },
    { title: 'STATE' },
    { title: 'CHANGED', align: 'right' },
    { title: 'LOOKED AT', align: 'right' },
  ] as const;
  const rows = views.map(({ id, channel, action, state, changed, looked }) => [
    String(id),
    safeText(channel),
    action,
    state,
    countText(changed),
    countText(looked),
  ]);
  if (rows.length > 0) await writeLine(tableLines(columns, rows, Infinity).join('\n'));
}
