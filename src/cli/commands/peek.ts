/** `holdfast peek`: the messages that come next, without taking them. */
import type { Command } from 'commander';
import { systemClock } from '../../model/clock.ts';
import { HoldfastError } from '../../model/errors.ts';
import { messageJson, messageLines } from '../messages.ts';
import { writeJson, writeLine } from '../output.ts';
import { addStoreCommand, wholeNumberFlag } from '../store-command.ts';
import { withStore } from '../with-store.ts';

export function addPeek(program: Command): void {
  addStoreCommand(
    program,
    'peek <channel>',
    'show the messages that come next, without taking them',
    'holdfast peek mail --data ./data --limit 3',
  )
    .option('--limit <count>', 'so many messages', wholeNumberFlag(1, 100), 1)
    .action((channel: string, options: { readonly json?: true; readonly limit: number }, command: Command) =>
      withStore(command, async (hf) => {
        if ((await hf.admin.inspect(channel)) === undefined) {
          throw new HoldfastError('NOT_FOUND', `No channel is named "${channel}"`);
        }
        const messages = await hf.admin.list(channel, 'ready', { limit: options.limit });
        if (options.json === true) return writeJson(messages.map(messageJson));
        const now = systemClock.wallMs();
        for (const [i, message] of messages.entries()) {
          await writeLine([...(i === 0 ? [] : ['']), ...messageLines(message, now)].join('\n'));
        }
      }),
    );
}
