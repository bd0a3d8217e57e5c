/** `holdfast retry`: brings messages back that have ended. */
import type { Command } from 'commander';
import type { RetryOptions } from '../../api/life.ts';
import { addMessageCommand } from '../message-command.ts';

export interface RetryFlags {
  readonly keepAttempts?: true;
}

export function addRetry(program: Command): void {
  const command = addMessageCommand<RetryFlags>(program, {
    name: 'retry',
    description: 'bring messages back that have ended, with their attempts counted anew',
    done: 'ready',
    act: (hf, id, flags) => hf.admin.retry(id, retryOptions(flags)),
  });
  addRetryFlags(command);
}

export function addRetryFlags(command: Command): void {
  command.option('--keep-attempts', 'of a retry: count failed attempts on');
}

export function retryOptions({ keepAttempts }: RetryFlags): RetryOptions {
  return keepAttempts === true ? { attempts: 'keep' } : {};
}
