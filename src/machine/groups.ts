/** Groups: the messages of a channel that have the same key. */
import type { Channel, Group } from './memory.ts';

/** The group of this key, which is made when it is new. */
export function groupOf(channel: Channel, key: string): Group {
  let group = channel.groups.get(key);
  if (group === undefined) {
    group = { channel, key };
    channel.groups.set(key, group);
  }
  return group;
}
