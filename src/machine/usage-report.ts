/** Reports of usage: the rows of some days, a page at a time. */
import { ByteReader } from '../model/bytes.ts';
import type { Reply } from '../model/command.ts';
import { compareKeys, type KeyRange } from '../model/records.ts';
import { EMBEDDED, type InspectUsage, USAGE, type UsageCounts, type UsagePage, type UsageRow } from '../model/usage.ts';
import type { ColdView, Need } from './cold.ts';
import { KIND } from './layout.ts';
import type { MachineState } from './state.ts';
import { DAY_MS, NO_TOKEN, OF_KV, OF_REST, rowName } from './usage.ts';

/** How many records an answer is made of. */
const PAGE_RECORDS = 1_000;

const TOKEN_DIGITS = 12;

export function planUsage(state: MachineState, command: InspectUsage, view: ColdView): Need | undefined {
  const range = pageRange(state, command);
  return view.part(range) === undefined ? { keys: [], ranges: [range] } : undefined;
}

export function applyUsage(state: MachineState, command: InspectUsage, view: ColdView): Reply {
  const { entries, isEnd } = view.part(pageRange(state, command)) ?? { entries: [], isEnd: true };
  const rows: UsageRow[] = [];
  for (const { key, value } of entries) {
    const row = readRow(state, key, value);
    const isAskedFor = command.channel === undefined || (row.of === 'channel' && row.channel === command.channel);
    if (isAskedFor && (command.token === undefined || row.token === command.token)) rows.push(row);
  }
  const last = entries.at(-1);
  const page: UsagePage = {
    rows,
    next: isEnd || last === undefined ? undefined : state.layout.bytesBehind(last.key, 0),
  };
  return { kind: 'value', value: page };
}

function pageRange({ layout, now }: MachineState, { from, to, after }: InspectUsage): KeyRange {
  const firstDay = Math.floor((from ?? to ?? now) / DAY_MS);
  const lastDay = Math.floor((to ?? Math.max(now, from ?? now)) / DAY_MS);
  const [first, end] = [layout.key(KIND.usage, firstDay), layout.key(KIND.usage, lastDay + 1)];
  const begin = after === undefined ? first : behind(layout.bytesKey(KIND.usage, after));
  return { from: compareKeys(begin, end) < 0 ? begin : end, to: end, limit: PAGE_RECORDS };
}

/** The smallest key above this one. */
function behind(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

function readRow(state: MachineState, key: Uint8Array, value: Uint8Array): UsageRow {
  const { layout, channelNumbers, usage } = state;
  const [day, token, channel, since] = [0, 1, 2, 3].map((n) => layout.numberAt(key, n)) as [
    number,
    number,
    number,
    number,
  ];
  const name = token === NO_TOKEN ? '' : token.toString(16).padStart(TOKEN_DIGITS, '0');
  const isOwn = day === usage.day && since === usage.since;
  // What this broker has counted since it was written last is in memory only.
  const counts = (isOwn ? usage.rows.get(rowName(name, channel)) : undefined) ?? readUsage(value);
  const { reads, writes, messages, bytesRead, bytesWritten } = counts;
  return {
    day: new Date(day * DAY_MS).toISOString().slice(0, 10),
    token: name === '' ? EMBEDDED : name,
    of: channel === OF_KV ? 'kv' : channel === OF_REST ? 'rest' : 'channel',
    channel: channelNumbers.get(channel)?.name,
    reads,
    writes,
    messages,
    bytesRead,
    bytesWritten,
  };
}

/** What the record of a row has counted. */
export function readUsage(value: Uint8Array): UsageCounts {
  const reader = new ByteReader(value, 1);
  return Object.fromEntries(USAGE.map((count) => [count, reader.varint()])) as unknown as UsageCounts;
}
