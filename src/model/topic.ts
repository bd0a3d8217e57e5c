/** Topics: commands about who gets what is published, and limits. */
import type { Policy } from './policy.ts';

/**
 * Names a topic `ref` for this session's other commands, among the refs of channels: what is produced to it is published. The topic
 * need not exist. Answer: `done`.
 */
export interface DeclareTopic {
  readonly kind: 'declareTopic';
  readonly ref: number;
  readonly topic: string;
}

/**
 * From now on, what is published to the topic is produced to the channel under this policy. Both are created when they are
 * new; a policy that was given before is replaced. Answer: `done`, or `refused` with `TOO_MANY`.
 */
export interface Subscribe {
  readonly kind: 'subscribe';
  readonly topic: string;
  readonly channel: string;
  readonly policy: Policy;
}

/** Ends that. What the channel has by then stays there. Answer: `value`, 1 or, where there was no such subscription, 0. */
export interface Unsubscribe {
  readonly kind: 'unsubscribe';
  readonly topic: string;
  readonly channel: string;
}

/** How many channels a topic may have, and how many topics a space. */
export const MAX_SUBSCRIPTIONS = 1_000;
export const MAX_TOPICS = 10_000;

/** How many messages one command may make of what it publishes. */
export const MAX_COPIES = 100_000;

/** A channel that gets what is published. */
export interface SubscriptionView {
  readonly channel: string;
  readonly subscribedAt: number;
}
