/** Arbitrary commands, replies and events, for the tests of what carries them. */
import fc from 'fast-check';
import { encode } from '#holdfast/codec/bson.js';
import { BlockReader, BlockWriter, idSecond } from '#holdfast/model/block.js';
import type { Command, Delivery, LeaseKey, Notice, Outcome, Reply, Settle } from '#holdfast/model/command.js';
import type { Failure } from '#holdfast/model/failure.js';
import { type AddFlow, CHILD_POLICIES, type ChildPolicy, type FlowEdge } from '#holdfast/model/flow.js';
import type { KvEffects } from '#holdfast/model/kv.js';
import { MessageIdSource } from '#holdfast/model/message-id.js';
import { DEFAULT_POLICY, type Rate } from '#holdfast/model/policy.js';
import { CHANNEL_HAPPENINGS, HAPPENINGS } from '#holdfast/model/states.js';
import { seededRandom } from '#holdfast/model/random.js';
import { STATES } from '#holdfast/model/states.js';
import { ManualClock } from './manual-clock.ts';

const ids = new MessageIdSource(new ManualClock(), seededRandom(9));

const small = fc.nat(1_000_000);
const count = fc.maxSafeNat();
const bytes = fc.uint8Array({ maxLength: 64 });
const text = fc.string({ unit: 'binary', maxLength: 40 }).map(wellFormed);
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .map((given) => given.slice(0, 255))
  .map(wellFormed);
const id = fc.constant(0).map(() => Uint8Array.from(ids.next()));
const moment = fc.option(fc.integer({ min: -8.64e15, max: 8.64e15 }), { nil: undefined });
const tokenId = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((some) => Buffer.from(some).toString('hex'));
const delayMs = fc.double({ min: 0, max: 10 ** 9, noNaN: true });
const lease: fc.Arbitrary<LeaseKey> = fc.record({ seq: count, token: count });

const failure: fc.Arbitrary<Failure> = fc.record({
  name: text,
  message: text,
  stack: fc.option(
    text.filter((stack) => stack !== ''),
    { nil: undefined },
  ),
});

/** A block as a client makes it. */
const block: fc.Arbitrary<Uint8Array> = fc
  .array(fc.record({ payload: bytes, priority: fc.integer({ min: -100, max: 100 }), delayMs: fc.nat(10_000) }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((items) => {
    const made = items.map(() => ids.next());
    const writer = new BlockWriter(1, idSecond(made[0] as Uint8Array));
    items.forEach(({ payload, ...options }, i) => writer.add(made[i] as Uint8Array, payload, options));
    return Uint8Array.from(writer.finish());
  });

const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({ kind: fc.constant('ack' as const), result: fc.option(bytes, { nil: undefined }) }),
  fc.record({ kind: fc.constant('nack' as const), failure, delayMs: fc.option(delayMs, { nil: undefined }) }),
  fc.record({ kind: fc.constantFrom('undecodable' as const, 'fail' as const, 'died' as const), failure }),
  fc.record({ kind: fc.constant('release' as const) }),
  fc.record({ kind: fc.constant('snooze' as const), delayMs }),
  fc.record({
    kind: fc.constant('hold' as const),
    what: fc.constantFrom('channel' as const, 'group' as const),
    delayMs,
  }),
);

const produced = fc.record({
  kind: fc.constant('produce' as const),
  ref: small,
  blocks: fc.array(block, { minLength: 1, maxLength: 3 }),
});

const key = fc.uint8Array({ minLength: 1, maxLength: 40 });
const keys = fc.array(key, { maxLength: 4 });
const kvValue = fc.oneof(
  fc.record({ encoding: fc.constantFrom(1 as const, 3 as const), bytes }),
  fc.record({ encoding: fc.constant(2 as const), bytes: fc.uint8Array({ minLength: 8, maxLength: 8 }) }),
);
const bound = fc.option(bytes, { nil: undefined });

const effects: fc.Arbitrary<KvEffects> = fc.record({
  checks: fc.array(fc.record({ key, version: count }), { maxLength: 3 }),
  mutations: fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constant('set' as const),
        key,
        value: kvValue,
        expireInMs: fc.option(delayMs, { nil: undefined }),
        isStamped: fc.boolean(),
      }),
      fc.record({ kind: fc.constant('delete' as const), key }),
      fc.record({
        kind: fc.constant('sum' as const),
        key,
        value: kvValue,
        limits: fc.option(
          fc
            .record({ min: bound, max: bound, isClamped: fc.boolean() })
            .filter(({ min, max }) => min !== undefined || max !== undefined),
          { nil: undefined },
        ),
      }),
      fc.record({ kind: fc.constantFrom('min' as const, 'max' as const), key, value: kvValue }),
    ),
    { maxLength: 4 },
  ),
});

const positions = fc.nat(200);

/** Edges between so many messages; those without a parent go to one that is there. */
function edgesOf(
  parts: readonly { readonly blocks: readonly Uint8Array[] }[],
  drawn: readonly DrawnEdge[],
): FlowEdge[] {
  const nodes = parts.reduce(
    (sum, { blocks }) => blocks.reduce((all, one) => all + new BlockReader(one).count, sum),
    0,
  );
  return drawn.map(({ child: at, parent: below, onFailure, key: called }) => {
    const child = at % nodes;
    const parent = below === undefined || child === 0 ? undefined : below % child;
    return { child, parent, onFailure, key: called };
  });
}

interface DrawnEdge {
  readonly child: number;
  readonly parent: number | undefined;
  readonly onFailure: ChildPolicy;
  readonly key: string | undefined;
}

const drawnEdges: fc.Arbitrary<DrawnEdge[]> = fc.array(
  fc.record({
    child: positions,
    parent: fc.option(positions, { nil: undefined }),
    onFailure: fc.constantFrom(...CHILD_POLICIES),
    key: fc.option(name, { nil: undefined }),
  }),
  { maxLength: 6 },
);

const flow: fc.Arbitrary<AddFlow> = fc
  .record({ parts: fc.array(produced, { minLength: 1, maxLength: 3 }), drawn: drawnEdges, under: id })
  .map(({ parts, drawn, under }) => ({ kind: 'flow', produced: parts, edges: edgesOf(parts, drawn), under }));

const waiting: fc.Arbitrary<Settle> = fc
  .record({ lease, parts: fc.array(produced, { minLength: 1, maxLength: 2 }), drawn: drawnEdges })
  .map(({ lease: { seq, token }, parts, drawn }) => ({
    seq,
    token,
    outcome: { kind: 'wait', edges: edgesOf(parts, drawn) },
    produced: parts,
    effects: undefined,
  }));

const settle: fc.Arbitrary<Settle> = fc.record({
  seq: count,
  token: count,
  outcome,
  produced: fc.option(fc.array(produced, { minLength: 1, maxLength: 3 }), { nil: undefined }),
  effects: fc.option(effects, { nil: undefined }),
});

const retention = fc.record({
  count: fc.option(fc.nat(), { nil: undefined }),
  ageMs: fc.option(fc.nat(), { nil: undefined }),
});
const rateNumber = fc.integer({ min: 1, max: 10 ** 9 });
const rate: fc.Arbitrary<Rate | null> = fc.oneof(
  fc.constant(null),
  fc.record({ kind: fc.constant('bucket' as const), count: rateNumber, perMs: rateNumber, burst: rateNumber }),
  fc.record({ kind: fc.constant('window' as const), count: rateNumber, perMs: rateNumber }),
);
const groupLimits = { concurrency: fc.nat(), ordered: fc.boolean(), rate, maxBacklog: fc.nat() };
const settings = fc.option(
  fc.record(
    {
      completed: retention,
      dead: retention,
      concurrency: fc.nat(),
      rate,
      groups: fc.record(groupLimits, { requiredKeys: [] }),
    },
    { requiredKeys: [] },
  ),
  { nil: undefined },
);

const policy = fc.record({
  attempts: fc.integer({ min: 1, max: 9 }),
  dedupe: fc.option(
    fc.record({
      windowMs: fc.nat(),
      mode: fc.constantFrom('reject' as const, 'replace' as const, 'keepLast' as const),
    }),
    { nil: undefined },
  ),
  deadLetter: fc.option(name, { nil: undefined }),
});

/** UTF-8 holds it. */
function wellFormed(given: string): string {
  return Buffer.from(given).toString();
}

/** Every kind of command. */
export const commands: fc.Arbitrary<Command> = fc.oneof(
  fc
    .record({ ref: small, channel: name, settings, policy })
    .map(({ ref, channel, settings: kept, policy: { attempts, dedupe, deadLetter } }) => ({
      kind: 'declare' as const,
      ref,
      channel,
      settings: kept,
      policy: { ...DEFAULT_POLICY, maxAttempts: attempts, dedupe, deadLetter },
    })),
  fc.record({
    kind: fc.constant('produce' as const),
    ref: small,
    atomic: fc.boolean(),
    blocks: fc.array(block, { minLength: 1, maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant('window' as const),
    consumer: small,
    ref: small,
    size: fc.nat(20_000),
    handlers: fc.nat(20_000),
  }),
  fc.record({
    kind: fc.constantFrom('holding' as const, 'started' as const),
    leases: fc.array(lease, { maxLength: 9 }),
  }),
  fc.record({ kind: fc.constant('settle' as const), settles: fc.array(fc.oneof(settle, waiting), { maxLength: 6 }) }),
  flow,
  fc.tuple(fc.array(settle, { minLength: 1, maxLength: 4 }), settle).map(([settles, { produced, effects }]) => ({
    kind: 'settle' as const,
    settles: settles.map((one) => ({ ...one, produced: undefined, effects: undefined })),
    together: { produced, effects },
  })),
  fc.record({ kind: fc.constant('extend' as const), seq: count, token: count, forMs: fc.nat() }),
  fc.record({
    kind: fc.constant('annotate' as const),
    seq: count,
    token: count,
    progress: fc.option(fc.constant(Uint8Array.from(encode({ at: 5 }))), { nil: undefined }),
    line: fc.option(text, { nil: undefined }),
  }),
  fc.record({
    kind: fc.constant('control' as const),
    channel: name,
    action: fc.constantFrom(
      'pause' as const,
      'resume' as const,
      'purge' as const,
      'redrive' as const,
      'configure' as const,
    ),
    settings,
  }),
  fc.record({
    kind: fc.constant('controlGroup' as const),
    channel: name,
    group: name,
    action: fc.constantFrom('pause' as const, 'resume' as const, 'configure' as const),
    rules: fc.option(
      fc.record(
        { ...groupLimits, weight: fc.constantFrom(0.001, 1, 2.5, 1_000), priority: fc.integer({ min: -9, max: 9 }) },
        { requiredKeys: [] },
      ),
      { nil: undefined },
    ),
  }),
  fc.record({
    kind: fc.constant('manage' as const),
    id,
    action: fc.constantFrom('cancel' as const, 'promote' as const, 'redrive' as const),
    children: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('backup' as const), id: count, part: count, stop: fc.boolean() }),
  fc.record({ kind: fc.constant('await' as const), id, stop: fc.boolean() }),
  fc.record({ kind: fc.constant('watch' as const), channel: name }),
  fc.record({
    kind: fc.constant('createToken' as const),
    id: tokenId,
    hash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    label: text,
    scopes: fc.array(fc.constantFrom('server:admin', 'channel:mail/*:produce,read', 'kv:a:r'), {
      minLength: 1,
      maxLength: 5,
    }),
    expiresInMs: fc.option(fc.integer({ min: 1, max: 10 ** 9 }), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('revokeToken' as const), id: tokenId }),
  fc.record({ kind: fc.constant('declareTopic' as const), ref: small, topic: name }),
  fc
    .record({ topic: name, channel: name, policy })
    .map(({ topic, channel, policy: { attempts, dedupe, deadLetter } }) => ({
      kind: 'subscribe' as const,
      topic,
      channel,
      policy: { ...DEFAULT_POLICY, maxAttempts: attempts, dedupe, deadLetter },
    })),
  fc.record({ kind: fc.constant('unsubscribe' as const), topic: name, channel: name }),
  fc.record({ kind: fc.constant('inspect' as const), what: fc.constant('topic' as const), topic: name }),
  fc.record({ kind: fc.constant('retainEvents' as const), count: fc.nat({ max: 1_000_000 }), ageMs: fc.nat() }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constantFrom('channels' as const, 'tokens' as const, 'topics' as const),
  }),
  fc.record({ kind: fc.constant('inspect' as const), what: fc.constant('channel' as const), channel: name }),
  fc.record({ kind: fc.constant('inspect' as const), what: fc.constant('group' as const), channel: name, group: name }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('groups' as const),
    channel: name,
    after: fc.nat(),
    limit: fc.integer({ min: 1, max: 1_000 }),
  }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('overview' as const),
    after: fc.nat(),
    limit: fc.integer({ min: 1, max: 1_000 }),
  }),
  fc.record({ kind: fc.constant('inspect' as const), what: fc.constant('message' as const), id }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('children' as const),
    seq: count,
    token: count,
    offset: count,
    limit: fc.integer({ min: 1, max: 100 }),
  }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('flow' as const),
    id,
    offset: count,
    limit: fc.integer({ min: 1, max: 1_000 }),
    depth: fc.nat(20),
  }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('events' as const),
    after: fc.option(fc.oneof(fc.record({ commit: count, index: count }), fc.record({ at: count })), {
      nil: undefined,
    }),
    filter: fc.record({
      channel: fc.option(name, { nil: undefined }),
      channels: fc.option(name, { nil: undefined }),
      kinds: fc.option(fc.subarray([...HAPPENINGS, ...CHANNEL_HAPPENINGS], { minLength: 1 }), { nil: undefined }),
    }),
    limit: fc.integer({ min: 1, max: 1_000 }),
  }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('metrics' as const),
    channel: fc.option(name, { nil: undefined }),
    after: fc.nat(),
    limit: fc.integer({ min: 1, max: 1_000 }),
    from: moment,
    to: moment,
    stepMs: fc.option(
      fc.integer({ min: 1, max: 1_440 }).map((minutes) => minutes * 60_000),
      { nil: undefined },
    ),
  }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('usage' as const),
    from: moment,
    to: moment,
    token: fc.option(tokenId, { nil: undefined }),
    channel: fc.option(name, { nil: undefined }),
    after: fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 }), { nil: undefined }),
  }),
  fc.record({
    kind: fc.constant('inspect' as const),
    what: fc.constant('list' as const),
    channel: name,
    state: fc.constantFrom(...STATES),
    offset: fc.nat(),
    limit: fc.integer({ min: 1, max: 100 }),
  }),
  fc.record({
    kind: fc.constant('kvRead' as const),
    keys,
    ranges: fc.array(
      fc.record({ from: key, to: key, limit: fc.integer({ min: 1, max: 1_000 }), reverse: fc.boolean() }),
      { maxLength: 3 },
    ),
  }),
  fc
    .record({ effects, parts: fc.array(produced, { maxLength: 2 }) })
    .map(({ effects: changes, parts }) => ({ kind: 'kvCommit' as const, ...changes, produced: parts })),
  fc.record({ kind: fc.constant('kvWatch' as const), watch: count, keys }),
);

const record = fc.record({ encoding: fc.constantFrom(1 as const, 2 as const, 3 as const), version: count, bytes });

/** Every kind of reply. */
export const replies: fc.Arbitrary<Reply> = fc.oneof(
  fc.constant({ kind: 'done' as const }),
  fc.record({
    kind: fc.constant('produced' as const),
    exceptions: fc.array(
      fc.oneof(
        fc.record({ index: small, what: fc.constant('deduplicated' as const), id }),
        fc.record({ index: small, what: fc.constant('backlogFull' as const), id: fc.constant(undefined) }),
      ),
    ),
  }),
  fc.record({ kind: fc.constant('settled' as const), lost: fc.array(small), conflicts: fc.array(small) }),
  fc.record({
    kind: fc.constant('kvRead' as const),
    entries: fc.array(fc.option(record, { nil: undefined })),
    pages: fc.array(
      fc.record({
        entries: fc.array(fc.record({ key, rest: record }).map(({ key: at, rest }) => ({ key: at, ...rest }))),
        isEnd: fc.boolean(),
        last: fc.option(key, { nil: undefined }),
      }),
    ),
  }),
  fc.record({ kind: fc.constant('kvCommitted' as const), version: count }),
  fc.record({ kind: fc.constant('published' as const), stored: count, deduplicated: count }),
  fc.constant({ kind: 'kvConflict' as const }),
  fc.record({
    kind: fc.constant('value' as const),
    value: fc.oneof(fc.nat(), text, fc.array(text), fc.constant(null)),
  }),
  fc.record({
    kind: fc.constant('refused' as const),
    code: fc.constantFrom('STORE_FULL' as const, 'NOT_FOUND' as const, 'WRONG_STATE' as const),
    message: text,
  }),
);

export const deliveries: fc.Arbitrary<Delivery> = fc
  .record({
    consumer: small,
    seq: count,
    token: count,
    attempt: small,
    redelivered: fc.boolean(),
    timeoutMs: small,
    producedAt: fc.double({ min: 0, max: 10 ** 14, noNaN: true }),
    codec: fc.integer({ min: 0, max: 255 }),
    bytes: fc.tuple(bytes, bytes, bytes),
  })
  .map(({ bytes: [before, item, behind], ...delivery }) => ({
    ...delivery,
    bytes: Buffer.concat([before, item, behind]),
    itemStart: before.length,
    itemEnd: before.length + item.length,
  }));

export const notices: fc.Arbitrary<Notice> = fc.oneof(
  fc.record({
    kind: fc.constant('revoked' as const),
    seq: count,
    token: count,
    reason: fc.constantFrom('cancelled' as const, 'timeout' as const),
  }),
  fc.constant({ kind: 'events' as const }),
  fc.record({ kind: fc.constantFrom('room' as const, 'wanted' as const), channel: name }),
  fc.record({
    kind: fc.constant('ended' as const),
    id,
    state: fc.constantFrom('completed' as const, 'dead' as const, 'cancelled' as const, undefined),
    result: fc.option(bytes, { nil: undefined }),
    failure: fc.option(failure, { nil: undefined }),
  }),
  fc.record({
    kind: fc.constant('consumerRefused' as const),
    consumer: small,
    code: fc.constantFrom('FORBIDDEN' as const, 'PROTOCOL' as const),
    message: text,
  }),
  fc.record({ kind: fc.constant('awaitRefused' as const), id, code: fc.constant('FORBIDDEN' as const), message: text }),
);
