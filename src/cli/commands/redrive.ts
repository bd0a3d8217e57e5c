/** `holdfast redrive`: brings all dead messages of a channel back. */
import type { Command } from 'commander';
import { addChannelCommand } from '../channel-command.ts';

export function addRedrive(program: Command): void {
  addChannelCommand(program, {
    name: 'redrive',
    description: 'bring all dead messages of a channel back, with their attempts counted anew',
    done: (channel, count) => `${channel}: ${count} dead messages are on their way back`,
    act: (hf, channel) => hf.admin.redrive(channel),
  });
}
