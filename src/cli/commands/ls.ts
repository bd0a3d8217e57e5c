/** `holdfast ls`: channels, or the messages of one. */
import { type Command, Option } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import type { StoredMessage } from '../../api/stored.ts';
import { systemClock } from '../../model/clock.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { State } from '../../model/states.ts';
import { messageJson, messageTable } from '../messages.ts';
import { writeJson, writeLine } from '../output.ts';
import { addStoreCommand, wholeNumberFlag } from '../store-command.ts';
import { withStore } from '../with-store.ts';
import { safeText } from '../text.ts';

interface LsOptions {
  readonly json?: true;
  readonly state?: State;
  readonly limit: number;
  readonly offset: number;
}

/** In the order in which they are shown. */
const ORDER: readonly State[] = ['leased', 'ready', 'waiting', 'delayed', 'dead', 'completed', 'cancelled'];

/** How many messages one request asks for. */
const PAGE = 100;

export function addLs(program: Command): void {
  addStoreCommand(
    program,
    'ls [channel]',
    'list the channels, or the messages of one',
    'holdfast ls mail --data ./data --state dead',
  )
    .addOption(new Option('--state <state>', 'only messages of this state').choices(ORDER))
    .option('--limit <count>', 'at most so many messages', wholeNumberFlag(1, 1_000_000), 20)
    .option('--offset <count>', 'pass over so many messages', wholeNumberFlag(0, 2 ** 40), 0)
    .action((channel: string | undefined, options: LsOptions, command: Command) =>
      withStore(command, (hf) => (channel === undefined ? listChannels(hf, options) : list(hf, channel, options))),
    );
}

async function listChannels(hf: Holdfast, { json }: LsOptions): Promise<void> {
  const names = await hf.channelNames();
  if (json === true) return writeJson(names);
  for (const name of names) await writeLine(safeText(name));
}

async function list(hf: Holdfast, channel: string, options: LsOptions): Promise<void> {
  const view = await hf.admin.inspect(channel);
  if (view === undefined) throw new HoldfastError('NOT_FOUND', `No channel is named "${channel}"`);
  const messages: StoredMessage<unknown>[] = [];
  let { offset } = options;
  for (const state of options.state === undefined ? ORDER : [options.state]) {
    if (offset >= view[state]) {
      offset -= view[state];
      continue;
    }
    messages.push(...(await listState(hf, channel, state, offset, options.limit - messages.length)));
    offset = 0;
    if (messages.length >= options.limit) break;
  }
  if (options.json === true) return writeJson(messages.map(messageJson));
  if (messages.length > 0) await writeLine(messageTable(messages, systemClock.wallMs()).join('\n'));
}

async function listState(
  hf: Holdfast,
  channel: string,
  state: State,
  offset: number,
  limit: number,
): Promise<StoredMessage<unknown>[]> {
  const messages: StoredMessage<unknown>[] = [];
  while (messages.length < limit) {
    const wanted = Math.min(PAGE, limit - messages.length);
    const page = await hf.admin.list(channel, state, { offset: offset + messages.length, limit: wanted });
    messages.push(...page);
    if (page.length < wanted) break;
  }
  return messages;
}
