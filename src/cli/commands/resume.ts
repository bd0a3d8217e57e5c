/** `holdfast resume`: hands out messages of a paused channel again. */
import type { Command } from 'commander';
import { addChannelCommand } from '../channel-command.ts';

export function addResume(program: Command): void {
  addChannelCommand(program, {
    name: 'resume',
    description: 'hand out messages of a paused channel again',
    done: (channel) => `${channel} is no longer paused`,
    ofGroup: (hf, channel, group) => hf.admin.group(channel, group).resume(),
    act: (hf, channel) => hf.admin.resume(channel),
  });
}
