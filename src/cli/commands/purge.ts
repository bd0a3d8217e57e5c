/** `holdfast purge`: deletes what waits in a channel. */
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import { HoldfastError } from '../../model/errors.ts';
import { addChannelCommand } from '../channel-command.ts';
import { isInteractive, writeNote } from '../output.ts';
import { countText, safeText } from '../text.ts';

export function addPurge(program: Command): void {
  const action = {
    name: 'purge',
    description: 'delete the messages of a channel that wait: ready, delayed, or behind another one',
    done: (channel: string, count: string) => `${channel}: ${count} messages deleted`,
    act: (hf: Holdfast, channel: string) => hf.admin.purge(channel),
  };
  addChannelCommand(program, action, confirm).option('--yes', 'do not ask');
}

async function confirm(hf: Holdfast, channel: string, command: Command): Promise<boolean> {
  if (command.getOptionValue('yes') === true) return true;
  if (!isInteractive()) throw new TypeError('Cannot purge without asking: add --yes where nobody can answer');
  const view = await hf.admin.inspect(channel);
  if (view === undefined) throw new HoldfastError('NOT_FOUND', `No channel is named "${channel}"`);
  const count = countText(view.ready + view.delayed + view.waiting);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`Delete ${count} messages of "${safeText(channel)}" for good? [y/N] `);
  terminal.close();
  if (/^y(es)?$/i.test(answer.trim())) return true;
  writeNote('Nothing was deleted');
  return false;
}
