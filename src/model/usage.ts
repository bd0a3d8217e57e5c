/** Accounting: who has read and written how much, by day. `docs/metrics.md` says what counts as what. */

/** How many days are kept beside the one under way. */
export const USAGE_DAYS = 93;

/** What stands for clients that came in without an access token. */
export const EMBEDDED = 'embedded';

/**
 * Asks for what was counted from one day to another, both included; without them, the day under way. `after` is what the answer
 * before gave as `next`. It takes `server:admin`. Answer: `value`.
 */
export interface InspectUsage {
  readonly kind: 'inspect';
  readonly what: 'usage';
  /** Moments of the first and the last day, in epoch milliseconds. */
  readonly from: number | undefined;
  readonly to: number | undefined;
  /** Only of this access token, by its id, or `embedded`. */
  readonly token: string | undefined;
  /** Only of this channel. */
  readonly channel: string | undefined;
  readonly after: Uint8Array | undefined;
}

/** What was counted. */
export interface UsageCounts {
  readonly reads: number;
  readonly writes: number;
  readonly messages: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** What one access token has done in one channel, or with KV, on one day. */
export interface UsageRow extends UsageCounts {
  /** In UTC, such as `2030-01-31`. */
  readonly day: string;
  /** The id of the access token, or `embedded`. */
  readonly token: string;
  /** `rest` stands for all channels of the token that there was no room for. */
  readonly of: 'channel' | 'kv' | 'rest';
  /** The name of the channel; `undefined` for `kv` and `rest`. */
  readonly channel: string | undefined;
}

/** Some rows, and where to go on. The same day, token and channel may come several times: once for each start of a broker. */
export interface UsagePage {
  readonly rows: readonly UsageRow[];
  /** `undefined` when there are no more. */
  readonly next: Uint8Array | undefined;
}

export const NO_USAGE: UsageCounts = { reads: 0, writes: 0, messages: 0, bytesRead: 0, bytesWritten: 0 };

/** What is counted; records have it in this order. */
export const USAGE: readonly (keyof UsageCounts)[] = ['reads', 'writes', 'messages', 'bytesRead', 'bytesWritten'];
