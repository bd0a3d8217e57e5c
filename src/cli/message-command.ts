/** Commands that do something to single messages. */
import type { Command } from 'commander';
import type { Holdfast } from '../api/holdfast.ts';
import { HoldfastError } from '../model/errors.ts';
import { parseMessageId } from '../model/message-id.ts';
import { EXIT } from './exit.ts';
import { writeJson, writeLine, writeNote } from './output.ts';
import { addStoreCommand } from './store-command.ts';
import { withStore } from './with-store.ts';

export interface MessageAction<Options = object> {
  readonly name: string;
  readonly description: string;
  /** What a message is then. */
  readonly done: string;
  readonly act: (hf: Holdfast, id: string, options: Options) => Promise<void>;
}

/** Adds the command; flags of its own are added to what this gives, and come to `act`. */
export function addMessageCommand<Options>(program: Command, action: MessageAction<Options>): Command {
  const { name, description } = action;
  const example = `holdfast ${name} 019a8c1e-4f00-7000-8000-0123456789ab --data ./data`;
  return addStoreCommand(program, `${name} <id...>`, description, example).action(
    async (ids: readonly string[], options: Options & { readonly json?: true }, command: Command) => {
      // Before anything is done to any of them.
      for (const id of ids) parseMessageId(id);
      await withStore(command, (hf) => actOnAll(hf, ids, action, options));
    },
  );
}

async function actOnAll<Options>(
  hf: Holdfast,
  ids: readonly string[],
  action: MessageAction<Options>,
  options: Options & { readonly json?: true },
): Promise<void> {
  const json = options.json === true;
  const outcomes: { id: string; state?: string; error?: string; code?: string }[] = [];
  for (const id of ids) {
    try {
      await action.act(hf, id, options);
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
