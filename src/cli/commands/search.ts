/** `holdfast search`: messages by what is in them and what has become of them. */
import type { Command } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import type { StoredMessage } from '../../api/stored.ts';
import { systemClock } from '../../model/clock.ts';
import { HoldfastError } from '../../model/errors.ts';
import { addFilterFlags, type FilterFlags, filterOptions } from '../filter-flags.ts';
import { messageJson, messageTable } from '../messages.ts';
import { outputClosed, writeJson, writeLine } from '../output.ts';
import { addStoreCommand, wholeNumberFlag } from '../store-command.ts';
import { withStore } from '../with-store.ts';

interface SearchFlags extends FilterFlags {
  readonly json?: true;
  readonly limit: number;
  readonly oldest?: true;
}

/** How many messages one request asks for. */
const PAGE = 100;

export function addSearch(program: Command): void {
  const command = addStoreCommand(
    program,
    'search [channel]',
    'find messages, of one channel or of all',
    'holdfast search mail --data ./data --state dead --failure timeout',
  );
  addFilterFlags(command)
    .option('--limit <count>', 'at most so many messages', wholeNumberFlag(1, 1_000_000), 20)
    .option('--oldest', 'the oldest first')
    .action((channel: string | undefined, flags: SearchFlags, self: Command) =>
      withStore(self, (hf) => search(hf, channel, flags)),
    );
}

async function search(hf: Holdfast, channel: string | undefined, flags: SearchFlags): Promise<void> {
  if (channel !== undefined && (await hf.admin.inspect(channel)) === undefined) {
    throw new HoldfastError('NOT_FOUND', `No channel is named "${channel}"`);
  }
  const found: StoredMessage<unknown>[] = [];
  let cursor: string | undefined;
  do {
    const page = await hf.admin.search({
      ...filterOptions(flags),
      ...(channel !== undefined && { channel }),
      ...(cursor !== undefined && { cursor }),
      limit: Math.min(PAGE, flags.limit - found.length),
      order: flags.oldest === true ? 'oldest' : 'newest',
    });
    found.push(...page.messages);
    ({ cursor } = page);
  } while (cursor !== undefined && found.length < flags.limit && !outputClosed.aborted);
  if (flags.json === true) return writeJson(found.map(messageJson));
  if (found.length > 0) await writeLine(messageTable(found, systemClock.wallMs()).join('\n'));
}
