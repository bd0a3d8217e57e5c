/** `holdfast remove`: deletes messages that wait or have ended. */
import type { Command } from 'commander';
import { addMessageCommand } from '../message-command.ts';

export function addRemove(program: Command): void {
  addMessageCommand(program, {
    name: 'remove',
    description: 'delete messages that wait or have ended, for good',
    done: 'removed',
    act: (hf, id) => hf.admin.remove(id),
  });
}
