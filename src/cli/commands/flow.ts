/** `holdfast flow`: what waits for what below a message. */
import { type Command, Option } from 'commander';
import { HoldfastError } from '../../model/errors.ts';
import { MAX_FLOW_DEPTH, MAX_FLOW_VIEW } from '../../model/flow.ts';
import type { FlowView } from '../../model/flow-views.ts';
import { stateText } from '../messages.ts';
import { writeJson, writeLine } from '../output.ts';
import { addStoreCommand, wholeNumberFlag } from '../store-command.ts';
import { safeText } from '../text.ts';
import { withStore } from '../with-store.ts';

interface Options {
  readonly json?: true;
  readonly depth: number;
  readonly limit: number;
  readonly offset: number;
}

export function addFlow(program: Command): void {
  addStoreCommand(
    program,
    'flow <id>',
    'show what a message waits for, and so on downwards',
    'holdfast flow 019a8c1e-4f00-7000-8000-0123456789ab --data ./data',
  )
    .addOption(
      new Option('--depth <n>', 'how many steps down').default(5).argParser(wholeNumberFlag(0, MAX_FLOW_DEPTH)),
    )
    .addOption(
      new Option('--limit <n>', 'how many messages at most').default(100).argParser(wholeNumberFlag(1, MAX_FLOW_VIEW)),
    )
    .addOption(
      new Option('--offset <n>', 'how many children of the message to pass over')
        .default(0)
        .argParser(wholeNumberFlag(0, 2 ** 40)),
    )
    .action((id: string, { json, depth, limit, offset }: Options, command: Command) =>
      withStore(command, async (hf) => {
        const flow = await hf.admin.flow(id, { depth, limit, offset });
        if (flow === undefined) throw new HoldfastError('NOT_FOUND', `No message has the id "${id}" any more`);
        if (json === true) return writeJson(flow);
        await writeLine(treeLines(flow, '').join('\n'));
      }),
    );
}

function treeLines(view: FlowView, indent: string): string[] {
  const { id, channel, state, key, onFailure, size, pending, children } = view;
  const facts = [
    channel === undefined ? 'of another channel' : safeText(channel),
    stateText(state, state),
    ...(key === undefined ? [] : [safeText(key)]),
    ...(onFailure === undefined || onFailure === 'fail' ? [] : [`on failure: ${onFailure}`]),
    ...(size === 0 ? [] : [`waits for ${pending} of ${size}`]),
  ];
  const lines = [
    `${indent}${id}  ${facts.join('  ')}`,
    ...children.flatMap((child) => treeLines(child, `${indent}  `)),
  ];
  if (children.length < size) lines.push(`${indent}  ${size - children.length} not shown`);
  return lines;
}
