/** Groups of a channel, as their owner sees them. */
import type { Client } from '../client/client.ts';
import type { GroupPage, GroupView } from '../model/views.ts';
import type { GroupRules } from '../model/policy.ts';
import { checkLabel } from './checks.ts';
import { type OwnGroupOptions, resolveOwnGroup } from './settings.ts';
import { ask } from './stored.ts';

/** One group of a channel. It need not have messages. */
export interface ChannelGroup {
  readonly key: string;
  /** Hands out no more of its messages until `resume`. Handlers that run go on. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /**
   * Gives it rules of its own in place of those that it had; `false` for none. They are kept when it has no messages: a space keeps
   * at most 100,000 groups with rules of their own or a pause.
   *
   * @throws TypeError, RangeError; HoldfastError `TOO_MANY`
   */
  configure(rules: OwnGroupOptions | false): Promise<void>;
  /** What it holds at one moment; `undefined` when it has no messages, and nothing is kept for it. */
  inspect(): Promise<GroupView | undefined>;
}

/** @throws TypeError, RangeError for a key that cannot be one */
export function channelGroup(client: Client, channel: string, key: string): ChannelGroup {
  checkLabel('group', key);
  const control = async (action: 'pause' | 'resume' | 'configure', rules?: Partial<GroupRules>): Promise<void> => {
    await ask(client, { kind: 'controlGroup', channel, group: key, action, rules });
  };
  return {
    key,
    pause: () => control('pause'),
    resume: () => control('resume'),
    configure: async (rules) => control('configure', rules === false ? undefined : resolveOwnGroup(rules)),
    inspect: async () =>
      ((await ask(client, { kind: 'inspect', what: 'group', channel, group: key })) as GroupView | null) ?? undefined,
  };
}

/** How many groups one request asks for. */
const GROUPS_STEP = 1_000;

/** All groups that have messages or rules, in the order in which they came up. */
export async function* channelGroups(client: Client, channel: string): AsyncGenerator<GroupView, void, void> {
  for (let after: number | undefined = 0; after !== undefined;) {
    const command = { kind: 'inspect', what: 'groups', channel, after, limit: GROUPS_STEP } as const;
    const page = (await ask(client, command)) as GroupPage;
    yield* page.groups;
    after = page.next;
  }
}
