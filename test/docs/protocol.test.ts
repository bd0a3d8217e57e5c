/** The specification of the protocol, against the code. */
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';
import { MAX_BULKS } from '#holdfast/machine/bulks.js';
import { MAX_LIST } from '#holdfast/machine/inspect.js';
import { MAX_CHANNELS } from '#holdfast/machine/channels.js';
import { MAX_WATCHED_KEYS } from '#holdfast/machine/kv-watches.js';
import { BlockWriter, idSecond, MAX_PRIORITY, MAX_UNDELIVERED_KEYS } from '#holdfast/model/block.js';
import { ByteWriter } from '#holdfast/model/bytes.js';
import { MAX_FAILURE_MESSAGE_CHARACTERS, MAX_FAILURE_STACK_CHARACTERS } from '#holdfast/model/failure.js';
import { MAX_DURATION_MS } from '#holdfast/model/duration.js';
import {
  MAX_CHILD_KEY_CHARACTERS,
  MAX_CHILD_PAGE,
  MAX_CHILDREN,
  MAX_FLOW_DEPTH,
  MAX_FLOW_EDGES,
  MAX_FLOW_NODES,
  MAX_FLOW_VIEW,
} from '#holdfast/model/flow.js';
import { messageIdTime, parseMessageId } from '#holdfast/model/message-id.js';
import {
  MAX_KV_CHECKS,
  MAX_KV_COMMIT_BYTES,
  MAX_KV_KEY_BYTES,
  MAX_KV_KEYS,
  MAX_KV_LIMIT,
  MAX_KV_MUTATIONS,
  MAX_KV_RANGES,
  MAX_KV_READ_BYTES,
  MAX_KV_VALUE_BYTES,
} from '#holdfast/model/kv.js';
import { MAX_SCHEDULE_LIST, MAX_SCHEDULES, MAX_TEMPLATE_BYTES } from '#holdfast/model/schedule.js';
import { DEFAULT_POLICY } from '#holdfast/model/policy.js';
import { EventsWriter } from '#holdfast/wire/events.js';
import { encodeHello, encodeWelcome, FRAME } from '#holdfast/wire/frames.js';
import { NETWORK_LIMITS } from '#holdfast/wire/network-link.js';
import { decodeRequests, encodeRequests } from '#holdfast/wire/requests.js';
import { PREAMBLE, recordOf } from '#holdfast/wire/stream.js';
import { codeBlocksOf, readDocuments, rowsUnder } from './markdown.ts';
import {
  checkedDocuments,
  constant,
  documentedDefault,
  fieldsOf,
  flagDefault,
  membersOf,
  numbersOf,
  textsOf,
} from './source.ts';

const found = readDocuments().find(({ path }) => path === 'docs/protocol.md');
if (found === undefined) throw new Error('Cannot find the document "docs/protocol.md"');
const protocol = found;

/** The rows of the one table under a heading, without its head. */
function table(heading: string): string[][] {
  const [, ...rows] = rowsUnder(protocol, heading);
  return rows;
}

/** The first two cells of each row: mostly a number and its name. */
function firstTwo(heading: string): string[] {
  return table(heading).map(([first, second]) => `${first} ${second}`);
}

describe('docs/protocol.md', () => {
  test('has the numbers of the code', () => {
    expect(firstTwo('Frames').map((row) => row.toLowerCase())).toEqual(numbersOf('wire/frames.ts', 'FRAME'));
    expect(firstTwo('Requests')).toEqual(numbersOf('wire/requests.ts', 'KIND'));
    expect(firstTwo('Outcomes')).toEqual(
      textsOf('wire/requests.ts', 'OUTCOMES').map((outcome, number) => `${number} ${outcome}`),
    );
    expect(firstTwo('KV')).toEqual(textsOf('wire/kv.ts', 'MUTATIONS').map((what, number) => `${number} ${what}`));
    expect(firstTwo('Flows')).toEqual(
      textsOf('model/flow.ts', 'CHILD_POLICIES').map((what, number) => `${number} ${what}`),
    );
    expect(firstTwo('Events')).toEqual(numbersOf('wire/events.ts', 'EVENT'));
    expect(firstTwo('Replies')).toEqual(numbersOf('model/reply.ts', 'TAG'));
    expect(firstTwo('Blocks')).toEqual(numbersOf('model/block.ts', 'FLAG'));
  });

  test('has the numbers of states, reasons and times', () => {
    const listed = (path: string, name: string, behind: string): string =>
      [...textsOf(path, name).map((text, number) => `${number} ${text}`), behind].join(', ').replace(/, $/, '');
    const text = protocol.text.replaceAll(/\s+/g, ' ').replaceAll(' or ', ', ');
    expect(text).toContain(`\`state\` is ${listed('wire/events.ts', 'ENDED_STATES', '3 not known')}`);
    expect(text).toContain(`\`reason\` is ${listed('wire/events.ts', 'REASONS', '')}`);
    expect(MAX_PRIORITY).toBe(2_097_152);
    expect(constant('model/block.ts', 'EPOCH_2020_SECONDS')).toBe(1_577_836_800);
  });

  test('has the documents that the broker takes, with their fields', () => {
    const documents = table('Documents').map(([kind = '', fields = '']) => ({ kind, fields: fields.split(', ') }));
    const byKind = <T extends { readonly kind: string }>(list: readonly T[]): T[] =>
      list.toSorted((a, b) => a.kind.localeCompare(b.kind));
    expect(byKind(documents)).toEqual(byKind(checkedDocuments()));
    for (const rule of Object.keys(DEFAULT_POLICY)) expect(protocol.text).toContain(`\`${rule}\``);
  });

  test('has the fields of values', () => {
    const rows = table('Values');
    expect(rows.length).toBeGreaterThan(0);
    for (const [value = '', fields = ''] of rows) {
      expect([value, fields.split(', ')]).toEqual([value, fieldsOfValue(value)]);
    }
  });

  test('has every error code', () => {
    expect(table('Errors').map(([code]) => code)).toEqual(membersOf('model/errors.ts', 'ErrorCode'));
  });

  test('has the limits of the code', () => {
    const { helloMs, helloBytes, requestBytes, eventsBytes, congestedBytes, bufferedBytes } = NETWORK_LIMITS;
    const cost = 'cost of a frame: 8 a request, 4 a settle, key, check, mutation or edge, 1 a lease';
    const expected = {
      'time from the connection to HELLO, in milliseconds': helloMs,
      'bytes of a frame before WELCOME': helloBytes,
      "bytes of a client's frame": requestBytes,
      "bytes of a broker's frame": eventsBytes,
      'bytes that wait for a slow reader before it is told no more': congestedBytes,
      'bytes that wait for it at all': bufferedBytes,
      'connections of one remote address': flagDefault('cli/commands/serve.ts', 'max-connections-per-address'),
      [cost]: constant('wire/requests.ts', 'MAX_COST'),
      'bytes of a document': constant('wire/requests.ts', 'MAX_DOCUMENT_BYTES'),
      'levels of a document': documentedDefault('codec/bson.ts', 'maxDepth'),
      'bytes of a block': longestBlock(),
      'bytes of a result': constant('wire/requests.ts', 'MAX_PAYLOAD_BYTES'),
      'size of a window': constant('wire/requests.ts', 'MAX_WINDOW'),
      'consumers of a session': constant('machine/session.ts', 'MAX_CONSUMERS'),
      'unconfirmed replies of a session': constant('machine/session.ts', 'MAX_UNCONFIRMED_ANSWERS'),
      'bytes of replies that are kept for a session, roughly': constant('machine/session.ts', 'MAX_ANSWER_BYTES'),
      'refs of a session': constant('machine/session.ts', 'MAX_REFS'),
      'channels of a space': MAX_CHANNELS,
      "bytes of a key that is written, and of an entry's value": `${MAX_KV_KEY_BYTES}, ${MAX_KV_VALUE_BYTES}`,
      'keys and ranges of one read, entries of one range': `${MAX_KV_KEYS}, ${MAX_KV_RANGES}, ${MAX_KV_LIMIT}`,
      'bytes of the entries that one read names by their keys': MAX_KV_READ_BYTES,
      'checks and mutations of one commit, and bytes of them': `${MAX_KV_CHECKS}, ${MAX_KV_MUTATIONS}, ${MAX_KV_COMMIT_BYTES}`,
      'keys of an undelivered message': MAX_UNDELIVERED_KEYS,
      'keys that a session watches': MAX_WATCHED_KEYS,
      'schedules of a space': MAX_SCHEDULES,
      'bytes of the message of a schedule, as a block': MAX_TEMPLATE_BYTES,
      'schedules of one schedules': MAX_SCHEDULE_LIST,
      'messages and edges of one flow, children of a message, characters of a key': `${MAX_FLOW_NODES}, ${MAX_FLOW_EDGES}, ${MAX_CHILDREN}, ${MAX_CHILD_KEY_CHARACTERS}`,
      'children of one children, messages and steps of one flow': `${MAX_CHILD_PAGE}, ${MAX_FLOW_VIEW}, ${MAX_FLOW_DEPTH}`,
      'channels of one metrics, and minutes of all of them; records of one usage': `${constant('machine/metrics.ts', 'MAX_CHANNELS')}, ${constant('machine/metrics.ts', 'MAX_MINUTES')}, ${constant('machine/usage-report.ts', 'PAGE_RECORDS')}`,
      'messages of one list or search, channels of one overview, events of one events': `${MAX_LIST}, ${constant('machine/inspect.ts', 'MAX_OVERVIEW')}, ${constant('machine/events.ts', 'MAX_EVENTS')}`,
      'bulks that run at a time, and ended ones that are listed': `${MAX_BULKS}, ${constant('machine/bulks.ts', 'MAX_ENDED')}`,
      'backups at a time, and bytes that wait for a slow one': `${constant('broker/backups.ts', 'MAX_BACKUPS')}, ${constant('broker/backup.ts', 'MAX_WAITING_BYTES')}`,
      'a duration, in milliseconds': MAX_DURATION_MS,
      "characters of a failure's name, message and stack that are kept": `128, ${MAX_FAILURE_MESSAGE_CHARACTERS}, ${MAX_FAILURE_STACK_CHARACTERS}`,
    };
    const limits = table('Protocol limits').map(([what = '', limit = '']) => [what, limit]);
    expect(Object.fromEntries(limits)).toEqual(
      Object.fromEntries(Object.entries(expected).map(([what, limit]) => [what, String(limit)])),
    );
    expect(numbersOf('wire/requests.ts', 'COST')).toEqual(['8 request', '4 settle', '4 key', '1 lease']);
  });

  test('has the bytes of the code in its example', () => {
    const shown = codeBlocksOf(protocol)
      .filter(({ language }) => language === 'hex')
      .map(({ code }) => code.replaceAll(/;.*$/gm, '').trim().split(/\s+/).join(' '));
    expect(shown).toEqual(
      example().map((bytes) =>
        Buffer.from(bytes)
          .toString('hex')
          .replaceAll(/..(?=.)/g, '$& '),
      ),
    );
  });

  test('computes the checksum as it says', () => {
    const [header] = recordOf(Uint8Array.of(FRAME.ping)) as [Buffer];
    expect(header.readUInt32LE(4)).toBe(crc32(Uint8Array.of(FRAME.ping), 1));
  });
});

/** The fields of a value, and before them those of what it extends, as one. */
function fieldsOfValue(value: string): string[] {
  const path = VALUE_FILES[value] ?? 'model/views.ts';
  return value === 'UsageRow' ? ['those of UsageCounts', ...fieldsOf(path, value)] : fieldsOf(path, value);
}

const VALUE_FILES: Readonly<Record<string, string>> = {
  EventFilter: 'model/command.ts',
  ChildPage: 'model/flow-views.ts',
  ChildView: 'model/flow-views.ts',
  FlowView: 'model/flow-views.ts',
  BulkView: 'model/life.ts',
  ScheduleView: 'model/schedule.ts',
  SchedulePage: 'model/schedule.ts',
  MetricsPage: 'model/metrics.ts',
  ChannelMetrics: 'model/metrics.ts',
  MetricsPoint: 'model/metrics.ts',
  Histogram: 'model/histogram.ts',
  UsagePage: 'model/usage.ts',
  UsageCounts: 'model/usage.ts',
  UsageRow: 'model/usage.ts',
};

/** The longest block that is taken, as the refusal of a longer one names it. */
function longestBlock(): number {
  const frame = new ByteWriter();
  for (const byte of [FRAME.requests, 0, 1, 1, 1, 0, 1]) frame.u8(byte);
  frame.bytes(new Uint8Array(5_000_000));
  try {
    decodeRequests(frame.finish());
  } catch (error) {
    return Number(/at most (\d+)/.exec((error as Error).message)?.[1]);
  }
  throw new Error('Cannot find the longest block: none is refused');
}

/** What the example shows, in its order. */
function example(): Uint8Array[] {
  const id = parseMessageId('019a8c1e-4f00-7000-8000-0123456789ab');
  const payload = encode({ to: 'ada' });
  const block = new BlockWriter(1, idSecond(id));
  block.add(id, payload, {});
  const bytes = block.finish();
  const item = bytes.subarray(bytes.length - 18 - payload.length);
  const session = '000102030405060708090a0b0c0d0e0f';
  const hello = encodeHello({ session, host: 'a1b2', token: '', needsToken: 'never' });
  const welcome = encodeWelcome({ resumed: false, applied: 0, durability: 'disk', sessionTimeoutMs: 30_000 });
  const produce = encodeRequests({
    answeredUpTo: 1,
    requests: [{ request: 2, command: { kind: 'produce', ref: 1, atomic: false, blocks: [bytes] } }],
  });
  const events = new EventsWriter();
  events.reply(2, { kind: 'produced', exceptions: [] });
  events.delivery({
    consumer: 1,
    seq: 129,
    token: 7,
    attempt: 1,
    redelivered: false,
    timeoutMs: 0,
    codec: 1,
    producedAt: messageIdTime(id),
    bytes: item,
    itemStart: 0,
    itemEnd: item.length,
  });
  const outcome = { kind: 'ack', result: undefined } as const;
  const settles = [{ seq: 129, token: 7, outcome, produced: undefined, effects: undefined }];
  const settle = encodeRequests({ answeredUpTo: 2, requests: [{ request: 3, command: { kind: 'settle', settles } }] });
  const onStream = (frame: Uint8Array): Uint8Array => Buffer.concat(recordOf(frame));
  return [Buffer.concat([PREAMBLE, onStream(hello)]), onStream(welcome), produce, events.finish(), settle];
}
