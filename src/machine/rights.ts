/** Rights: what a session may not do, and what it is told then. */
import { BlockReader } from '../model/block.ts';
import type { Command, KvRead, KvWatch, Reply } from '../model/command.ts';
import type { KvEffects } from '../model/kv.ts';
import {
  type ChannelRight,
  type Grant,
  hasRight,
  mayReadRange,
  mayUseKey,
  mayUseTopic,
  type RightSet,
  rightsOn,
} from '../model/scopes.ts';
import type { ChannelRef, Session } from './memory.ts';

export type Refused = Extract<Reply, { kind: 'refused' }>;

/** Why a command that names its channel, or concerns the space as a whole, is not allowed; `undefined` when it is. */
export function refusalOf({ grant }: Session, command: Command): Refused | undefined {
  if (grant.isAdmin) return undefined;
  switch (command.kind) {
    case 'declare': {
      const { channel, settings, policy } = command;
      const rights = rightsOn(grant, channel);
      if (rights === 0)
        return lacks(`use channel "${channel}"`, `every right on it, such as channel:${channel}:produce`);
      if (settings !== undefined && !hasRight(rights, 'admin'))
        return lacksRight('set how long to retain of', channel, 'admin');
      const { deadLetter } = policy;
      if (deadLetter === undefined || hasRight(rightsOn(grant, deadLetter), 'produce')) return undefined;
      return lacksRight('move dead messages to', deadLetter, 'produce');
    }
    case 'bulk':
      return hasRight(rightsOn(grant, command.channel), 'admin')
        ? undefined
        : lacksRight(`${command.action} messages of`, command.channel, 'admin');
    case 'subscribe': {
      const { topic, channel, policy } = command;
      if (!mayUseTopic(grant, topic, 'subscribe')) return lacksTopic('subscribe to', topic, 'subscribe');
      if (!hasRight(rightsOn(grant, channel), 'produce')) return lacksRight('subscribe', channel, 'produce');
      const { deadLetter } = policy;
      if (deadLetter === undefined || hasRight(rightsOn(grant, deadLetter), 'produce')) return undefined;
      return lacksRight('move dead messages to', deadLetter, 'produce');
    }
    case 'unsubscribe':
      return mayUseTopic(grant, command.topic, 'subscribe')
        ? undefined
        : lacksTopic('unsubscribe from', command.topic, 'subscribe');
    case 'control':
    case 'controlGroup':
      return hasRight(rightsOn(grant, command.channel), 'admin')
        ? undefined
        : lacksRight(command.action, command.channel, 'admin');
    case 'watch':
      return hasRight(rightsOn(grant, command.channel), 'read', 'consume')
        ? undefined
        : lacks(`watch "${command.channel}"`, `channel:${command.channel}:read or consume`);
    case 'inspect':
      if (command.what === 'tokens') return lacks('list access tokens', 'server:admin');
      if (command.what === 'usage') return lacks('show who has used how much', 'server:admin');
      if (command.what === 'channels' || command.what === 'overview' || command.what === 'message') return undefined;
      // Who holds a message may see what it waited for; a flow is looked at by its id.
      if (command.what === 'children' || command.what === 'flow') return undefined;
      // Those are left out of the answer that the session may not read.
      if (command.what === 'bulks') return undefined;
      // The channel of a schedule is known only where the schedule is.
      if (command.what === 'schedule' || command.what === 'schedules') return undefined;
      if (command.what === 'topics') return undefined;
      if (command.what === 'topic') {
        return mayUseTopic(grant, command.topic, 'subscribe')
          ? undefined
          : lacksTopic('look at the subscriptions of', command.topic, 'subscribe');
      }
      // Without a channel, they are those of all that the session may read.
      if (command.what === 'events') return refusalToHear(grant, command.filter.channel);
      return refusalToHear(grant, command.channel);
    case 'kvRead':
    case 'kvWatch':
      return refusalToRead(grant, command);
    case 'kvCommit':
      return refusalOnKv({ grant }, command);
    case 'createToken':
      return lacks('create an access token', 'server:admin');
    case 'retainEvents':
      return lacks('say how many events are kept', 'server:admin');
    case 'backup':
      return lacks('back the store up', 'server:admin');
    case 'revokeToken':
      return lacks('revoke an access token', 'server:admin');
    default:
      return undefined;
  }
}

function refusalToHear(grant: Grant, channel: string | undefined): Refused | undefined {
  if (channel === undefined || hasRight(rightsOn(grant, channel), 'read')) return undefined;
  return lacksRight('look into', channel, 'read');
}

/** Why what a commit checks and changes is not for this session; `undefined` when it is. */
export function refusalOnKv({ grant }: Pick<Session, 'grant'>, { checks, mutations }: KvEffects): Refused | undefined {
  if (grant.isAdmin) return undefined;
  if (!checks.every(({ key }) => mayUseKey(grant, key, 'r'))) return lacks('read this key', 'kv:PREFIX:r for it');
  if (mutations.every(({ key }) => mayUseKey(grant, key, 'w'))) return undefined;
  return lacks('write this key', 'kv:PREFIX:w for it');
}

function refusalToRead(grant: Grant, command: KvRead | KvWatch): Refused | undefined {
  if (!command.keys.every((key) => mayUseKey(grant, key, 'r'))) return lacks('read this key', 'kv:PREFIX:r for it');
  if (command.kind === 'kvWatch' || command.ranges.every(({ from, to }) => mayReadRange(grant, from, to)))
    return undefined;
  return lacks('read this range', 'kv:PREFIX:r for it');
}

/**
 * Why these messages are not to be produced to a declared channel; `undefined` when they are. Keys that they name for
 * when they are given up are written on behalf of their producer.
 */
export function refusalToProduce(
  { grant }: Session,
  target: ChannelRef,
  blocks: readonly Uint8Array[],
): Refused | undefined {
  return refusalOn(target, 'produce') ?? refusalToWriteKeys({ grant }, blocks);
}

/** Why the keys that messages name are not for this session; `undefined` when they are. */
export function refusalToWriteKeys(
  { grant }: Pick<Session, 'grant'>,
  blocks: readonly Uint8Array[],
): Refused | undefined {
  if (grant.isAdmin) return undefined;
  for (const block of blocks) {
    for (const reader = new BlockReader(block); reader.next();) {
      if (!reader.undelivered) continue;
      if (BlockReader.undeliveredOf(reader.item).every((key) => mayUseKey(grant, key, 'w'))) continue;
      return lacks('write the key of an undelivered message', 'kv:PREFIX:w for it');
    }
  }
  return undefined;
}

/** Why a declared channel is not for this; `undefined` when it is. */
export function refusalOn({ rights, channel }: ChannelRef, right: 'produce' | 'consume'): Refused | undefined {
  if (hasRight(rights, right)) return undefined;
  return lacksRight(right === 'produce' ? 'produce to' : 'consume', channel.name, right);
}

/**
 * Why a message of this channel, found by its id, is not for this; `undefined` when it is. The name of the channel is
 * told only to those who may know it.
 */
export function refusalFor(
  { grant }: Session,
  channel: string,
  doing: string,
  ...oneOf: readonly ChannelRight[]
): Refused | undefined {
  if (grant.isAdmin) return undefined;
  const rights: RightSet = rightsOn(grant, channel);
  if (hasRight(rights, ...oneOf)) return undefined;
  const scope =
    rights === 0 ? `the right to ${oneOf.join(' or ')} on its channel` : `channel:${channel}:${oneOf.join(' or ')}`;
  return lacks(`${doing} this message`, scope);
}

/** Why a schedule of this channel is not for the session; `undefined` when it is. */
export function refusalOnSchedule(
  { grant }: Session,
  channel: string,
  right: 'produce' | 'read' | 'admin',
): Refused | undefined {
  if (hasRight(rightsOn(grant, channel), right)) return undefined;
  const doing = { produce: 'run a schedule of', read: 'look at a schedule of', admin: 'change a schedule of' };
  return lacksRight(doing[right], channel, right);
}

function lacksTopic(doing: string, topic: string, right: string): Refused {
  return lacks(`${doing} "${topic}"`, `topic:${topic}:${right}`);
}

function lacksRight(doing: string, channel: string, right: ChannelRight): Refused {
  return lacks(`${doing} "${channel}"`, `channel:${channel}:${right}`);
}

function lacks(doing: string, scope: string): Refused {
  return { kind: 'refused', code: 'FORBIDDEN', message: `Cannot ${doing}: the access token lacks ${scope}` };
}
