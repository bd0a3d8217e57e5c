/** `holdfast get`: everything that is known of a message. */
import type { Command } from 'commander';
import { systemClock } from '../../model/clock.ts';
import { HoldfastError } from '../../model/errors.ts';
import { messageJson, messageLines } from '../messages.ts';
import { writeJson, writeLine } from '../output.ts';
import { addStoreCommand } from '../store-command.ts';
import { withStore } from '../with-store.ts';

export function addGet(program: Command): void {
  addStoreCommand(
    program,
    'get <id>',
    'show a message with its result, errors and history',
    'holdfast get 019a8c1e-4f00-7000-8000-0123456789ab --data ./data',
  ).action((id: string, options: { readonly json?: true }, command: Command) =>
    withStore(command, async (hf) => {
      const message = await hf.admin.get(id);
      if (message === undefined) throw new HoldfastError('NOT_FOUND', `No message has the id "${id}" any more`);
      if (options.json === true) return writeJson(messageJson(message));
      await writeLine(messageLines(message, systemClock.wallMs()).join('\n'));
    }),
  );
}
