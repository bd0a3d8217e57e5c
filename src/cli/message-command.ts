/** Commands that do something to single messages. */
import type { Command } from 'commander';
import type { Holdfast } from '../api/holdfast.ts';
import { HoldfastError } from '../model/errors.ts';
import { parseMessageId } from '../model/message-id.ts';
import { EXIT } from './exit.ts';
import { writeJson, writeLine, writeNote } from './output.ts';
import { addStoreCommand } from './store-command.ts';
import { withStore } from './with-store.ts';

export interface MessageAction {
  readonly name: string;
  readonly description: string;
  /** What a message is then. */
  readonly done: string;
  /** A flag of its own. */
  readonly flag?: { readonly flags: `--${string}`; readonly description: string };
  readonly act: (hf: Holdfast, id: string, isFlagged: boolean) => Promise<void>;
}

export function addMessageCommand(program: Command, action: MessageAction): void {
  const { name, description } = action;
  const example = `holdfast ${name} 019a8c1e-4f00-7000-8000-0123456789ab --data ./data`;
  const command = addStoreCommand(program, `${name} <id...>`, description, example);
  const { flag } = action;
  if (flag !== undefined) command.option(flag.flags, flag.description);
  command.action(async (ids: readonly string[], options: Readonly<Record<string, unknown>>) => {
    // Before anything is done to any of them.
    for (const id of ids) parseMessageId(id);
    const isFlagged = flag !== undefined && options[flag.flags.slice(2)] === true;
    await withStore(command, (hf) => actOnAll(hf, ids, action, isFlagged, options['json'] === true));
  });
}

async function actOnAll(
  hf: Holdfast,
  ids: readonly string[],
  action: MessageAction,
  isFlagged: boolean,
  json: boolean,
): Promise<void> {
  const outcomes: { id: string; state?: string; error?: string; code?: string }[] = [];
  for (const id of ids) {
    try {
      await action.act(hf, id, isFlagged);
      outcomes.push({ id, state: action.done });
      if (!json) await writeLine(`${id} is ${action.done}`);
    } catch (error) {
      if (!(error instanceof HoldfastError) || (error.code !== 'NOT_FOUND' && error.code !== 'WRONG_STATE'))
        throw error;
      process.exitCode = EXIT.failed;
      outcomes.push({ id, error: error.message, code: error.code });
      writeNote(`holdfast: ${id}: ${error.message} (${error.code})`);
    }
  }
  if (json) await writeJson(outcomes);
}
