/** A channel as those see it who look into it. */
import type { ChannelView } from '../model/views.ts';
import { readyCount } from './channel.ts';
import { opensAt } from './gates.ts';
import type { Channel } from './memory.ts';
import { oldestReadyMs } from './ready-times.ts';
import type { MachineState } from './state.ts';

export function viewChannel(state: MachineState, channel: Channel): ChannelView {
  return {
    channel: channel.name,
    ready: readyCount(channel),
    delayed: channel.delayed.size,
    leased: channel.leased.size,
    waiting: channel.waiting.size,
    completed: channel.ended.completed.messages.size,
    dead: channel.ended.dead.messages.size,
    cancelled: channel.ended.cancelled.messages.size,
    totals: { ...channel.totals },
    paused: channel.paused,
    consumers: channel.consumers,
    oldestReadyMs: oldestReadyMs(state, channel),
    groups: channel.groups.size,
    heldMs: Math.ceil(opensAt(channel.gate, channel.settings.rate, 1, state.now) - state.now),
    settings: channel.settings,
  };
}
