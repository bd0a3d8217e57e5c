/** Commands that do something to a channel. */
import type { Command } from 'commander';
import type { Holdfast } from '../api/holdfast.ts';
import { writeJson, writeLine } from './output.ts';
import { addStoreCommand } from './store-command.ts';
import { withStore } from './with-store.ts';
import { countText, safeText } from './text.ts';

export interface ChannelAction {
  readonly name: string;
  readonly description: string;
  /** It may also be done to one group of the channel. */
  readonly ofGroup?: (hf: Holdfast, channel: string, group: string) => Promise<void>;
  /** What was done, for people: `mail is paused`; behind it comes a count, if the action gives one. */
  readonly done: (channel: string, count: string) => string;
  /** Gives the number of messages concerned, where there is one. */
  readonly act: (hf: Holdfast, channel: string) => Promise<number | void>;
}

/** Adds the command; `confirm` may refuse before anything is done. */
export function addChannelCommand(
  program: Command,
  { name, description, ofGroup, done, act }: ChannelAction,
  confirm: (hf: Holdfast, channel: string, command: Command) => Promise<boolean> = async () => true,
): Command {
  const added = addStoreCommand(program, `${name} <channel>`, description, `holdfast ${name} mail --data ./data`);
  if (ofGroup !== undefined) added.option('--group <key>', 'one group of the channel only');
  return added.action(
    (channel: string, { group, ...options }: { readonly json?: true; readonly group?: string }, command: Command) =>
      withStore(command, async (hf) => {
        if (!(await confirm(hf, channel, command))) return;
        if (group !== undefined && ofGroup !== undefined) {
          await ofGroup(hf, channel, group);
          if (options.json === true) return writeJson({ channel, group, done: name });
          return writeLine(done(`Group ${safeText(group)} of ${safeText(channel)}`, ''));
        }
        const count = await act(hf, channel);
        if (options.json === true) {
          return writeJson({ channel, done: name, ...(typeof count === 'number' && { messages: count }) });
        }
        await writeLine(done(safeText(channel), typeof count === 'number' ? countText(count) : ''));
      }),
  );
}
