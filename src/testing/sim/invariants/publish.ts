/** What is published is in every channel that is subscribed, in one commit. */
import { TOPIC_CHANNEL } from '../records.ts';
import type { Invariant } from './invariant.ts';

/** The channels that were subscribed all the time, and at any time, while a publish was under way. */
interface Under {
  readonly messages: readonly string[];
  always: ReadonlySet<number>;
  ever: ReadonlySet<number>;
}

export const PUBLISH: readonly Invariant[] = [
  {
    id: 'S23',
    says: 'Publish: a message is in every channel that is subscribed at its commit, all of it in that commit, and the receipt says in how many',
    begin: () => {
      let subscribed: ReadonlySet<number> = new Set();
      const under = new Map<number, Under>();
      return (record, { ledger }) => {
        if (record.kind === 'produce.called' && record.channel === TOPIC_CHANNEL) {
          const messages = record.messages.map(({ id }) => id);
          under.set(record.op, { messages, always: subscribed, ever: subscribed });
        } else if (record.kind === 'publish.answered') {
          const op = under.get(record.op);
          under.delete(record.op);
          if (op === undefined) return undefined;
          const durable = op.messages.filter((id) => ledger.byId.has(id)).length;
          if (durable !== record.stored)
            return `#${record.op} was told of ${record.stored} channels, and ${durable} have it`;
          if (durable < op.always.size) return `#${record.op} reached ${durable} channels of ${op.always.size}`;
          if (durable > op.ever.size)
            return `#${record.op} reached ${durable} channels, and ${op.ever.size} were subscribed`;
        } else if (record.kind === 'commit') {
          const { topicStates, published, transitions } = record.content;
          const states = [subscribed, ...topicStates.map((channels) => new Set(channels))];
          const [always, ever] = [intersection(states), union(states)];
          subscribed = states.at(-1) as ReadonlySet<number>;
          for (const op of under.values()) {
            op.always = intersection([op.always, always]);
            op.ever = union([op.ever, ever]);
          }
          const produced = new Set(transitions.filter(({ what }) => what === 'produced').map(({ seq }) => seq));
          for (const { channels, seqs } of published) {
            const missed = [...always].find((channel) => !channels.includes(channel));
            if (missed !== undefined) return `channel ${missed} was subscribed, and did not get what was published`;
            const wrong = channels.find((channel) => !ever.has(channel));
            if (wrong !== undefined) return `channel ${wrong} was not subscribed, and got what was published`;
            const late = seqs.find((seq) => !produced.has(seq));
            if (late !== undefined) return `message ${late} was published, and is not in the same commit`;
          }
        }
        return undefined;
      };
    },
  },
];

function intersection(sets: readonly ReadonlySet<number>[]): ReadonlySet<number> {
  const [first, ...others] = sets;
  return new Set([...(first ?? [])].filter((one) => others.every((other) => other.has(one))));
}

function union(sets: readonly ReadonlySet<number>[]): ReadonlySet<number> {
  return new Set(sets.flatMap((set) => [...set]));
}
