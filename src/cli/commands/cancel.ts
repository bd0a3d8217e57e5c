/** `holdfast cancel`: stops messages that have not ended. */
import type { Command } from 'commander';
import type { CancelOptions } from '../../api/life.ts';
import { addMessageCommand } from '../message-command.ts';
import { durationFlag } from '../store-command.ts';

export interface CancelFlags {
  readonly reason?: string;
  readonly deadline?: number;
}

interface OwnFlags extends CancelFlags {
  readonly children?: true;
}

export function addCancel(program: Command): void {
  const command = addMessageCommand<OwnFlags>(program, {
    name: 'cancel',
    description: 'stop messages that have not ended; a handler that runs gets its signal',
    done: 'cancelled',
    act: (hf, id, flags) =>
      hf.admin.cancel(id, { ...cancelOptions(flags), children: flags.children === true ? 'cancel' : 'leave' }),
  });
  command.option('--children', 'also what they wait for, but for what others wait for');
  addCancelFlags(command);
}

export function addCancelFlags(command: Command): void {
  command
    .option('--reason <text>', 'of a cancel: why, for the history of the message')
    .option('--deadline <duration>', 'of a cancel: how long a handler that runs may take to end', durationFlag);
}

export function cancelOptions({ reason, deadline }: CancelFlags): CancelOptions {
  return { ...(reason !== undefined && { reason }), ...(deadline !== undefined && { deadline }) };
}
