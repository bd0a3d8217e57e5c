/** `holdfast retry`: brings dead messages back. */
import type { Command } from 'commander';
import { addMessageCommand } from '../message-command.ts';

export function addRetry(program: Command): void {
  addMessageCommand(program, {
    name: 'retry',
    description: 'bring dead messages back, with their attempts counted anew',
    done: 'ready',
    act: (hf, id) => hf.admin.retry(id),
  });
}
