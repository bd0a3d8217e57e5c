/** `holdfast cancel`: stops messages that have not ended. */
import type { Command } from 'commander';
import { addMessageCommand } from '../message-command.ts';

export function addCancel(program: Command): void {
  addMessageCommand(program, {
    name: 'cancel',
    description: 'stop messages that have not ended; a handler that runs gets its signal',
    done: 'cancelled',
    flag: { flags: '--children', description: 'also what they wait for, but for what others wait for' },
    act: (hf, id, isFlagged) => hf.admin.cancel(id, { children: isFlagged ? 'cancel' : 'leave' }),
  });
}
