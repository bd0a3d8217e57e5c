/** Usage: who has read and written how much, as an instance asks for it. */
import type { Client } from '../client/client.ts';
import { isAccessTokenId } from '../model/access-token.ts';
import { EMBEDDED, NO_USAGE, USAGE, type UsageCounts, type UsagePage, type UsageRow } from '../model/usage.ts';
import { checkChannelName, refuseUnknown, resolveMoment } from './checks.ts';
import { ask } from './stored.ts';

export interface UsageOptions {
  /** A moment of the first day, in UTC. @default that of `to` */
  readonly from?: Date | number;
  /** A moment of the last day. @default now */
  readonly to?: Date | number;
  /** Only of this access token, by its id, or of those that came in without one: `embedded`. @default all */
  readonly token?: string;
  /** Only of this channel. @default all, and KV */
  readonly channel?: string;
}

export interface UsageReport {
  /** By day, access token and channel. */
  readonly rows: readonly UsageRow[];
  /** All rows together. */
  readonly total: UsageCounts;
}

/** @throws TypeError, RangeError for options that cannot be used; HoldfastError `FORBIDDEN`, `CLOSED` */
export async function readUsage(client: Client, options: UsageOptions): Promise<UsageReport> {
  refuseUnknown(options, ['from', 'to', 'token', 'channel'], 'usage');
  const { token, channel } = options;
  const from = resolveMoment(options.from, 'from');
  const to = resolveMoment(options.to, 'to');
  if (from !== undefined && to !== undefined && from > to)
    throw new RangeError('Cannot use a "from" that is later than "to"');
  if (channel !== undefined) checkChannelName(channel);
  if (token !== undefined && token !== EMBEDDED && !isAccessTokenId(token)) {
    throw new TypeError(`Cannot use "token": give the id of an access token, or "${EMBEDDED}"`);
  }
  const rows = new Map<string, Growing<UsageRow>>();
  for (let after: Uint8Array | undefined, isEnd = false; !isEnd; isEnd = after === undefined) {
    const command = { kind: 'inspect', what: 'usage', from, to, token, channel, after } as const;
    const page = (await ask(client, command)) as UsagePage;
    for (const row of page.rows) addRow(rows, row);
    after = page.next;
  }
  const total = { ...NO_USAGE };
  for (const row of rows.values()) add(total, row);
  return { rows: [...rows.values()], total };
}

type Growing<T> = { -readonly [K in keyof T]: T[K] };

/** Several brokers may have counted for one row. */
function addRow(rows: Map<string, Growing<UsageRow>>, row: UsageRow): void {
  const name = `${row.day} ${row.token} ${row.of} ${row.channel}`;
  const found = rows.get(name);
  if (found === undefined) rows.set(name, { ...row });
  else add(found, row);
}

function add(sum: Growing<UsageCounts>, counts: UsageCounts): void {
  for (const count of USAGE) sum[count] += counts[count];
}
