/** `holdfast pause`: hands out no more messages of a channel. */
import type { Command } from 'commander';
import { addChannelCommand } from '../channel-command.ts';

export function addPause(program: Command): void {
  addChannelCommand(program, {
    name: 'pause',
    description: 'hand out no more messages of a channel; handlers that run go on',
    done: (channel) => `${channel} is paused`,
    ofGroup: (hf, channel, group) => hf.admin.group(channel, group).pause(),
    act: (hf, channel) => hf.admin.pause(channel),
  });
}
