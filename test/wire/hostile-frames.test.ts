import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';
import { BlockWriter, idSecond } from '#holdfast/model/block.js';
import { ByteWriter } from '#holdfast/model/bytes.js';
import { HoldfastError } from '#holdfast/model/errors.js';
import type { AddFlow, FlowEdge } from '#holdfast/model/flow.js';
import { MessageIdSource } from '#holdfast/model/message-id.js';
import { DEFAULT_POLICY } from '#holdfast/model/policy.js';
import { seededRandom } from '#holdfast/model/random.js';
import { decodeEvents, EventsWriter } from '#holdfast/wire/events.js';
import { decodeGoodbye, decodeHello, decodeWelcome, encodeHello, FRAME } from '#holdfast/wire/frames.js';
import { decodeRequests, encodeRequests } from '#holdfast/wire/requests.js';
import { commands, deliveries, notices, replies } from '../helpers/commands.ts';
import { ManualClock } from '../helpers/manual-clock.ts';

const SEED = 20_301_122;
const MUTATIONS = 100_000;

const METRICS = { kind: 'inspect', what: 'metrics', after: 0, limit: 1 };

const TOKEN = {
  kind: 'createToken',
  id: 'abcdef012345',
  hash: new Uint8Array(32),
  label: 'ci',
  scopes: ['server:admin'],
  expiresInMs: undefined,
};

type Decode = (bytes: Uint8Array) => unknown;

const nobody = { reply: () => {}, delivery: () => {}, notice: () => {} };

const decoders: readonly Decode[] = [
  decodeRequests,
  (bytes) => decodeEvents(bytes, nobody),
  decodeHello,
  decodeWelcome,
  decodeGoodbye,
];

/** Honest frames, to be spoiled. */
function samples(): (readonly [Decode, Uint8Array])[] {
  const honest: (readonly [Decode, Uint8Array])[] = [];
  for (const command of fc.sample(commands, { seed: SEED, numRuns: 300 })) {
    honest.push([decodeRequests, encodeRequests({ answeredUpTo: 3, requests: [{ request: 4, command }] })]);
  }
  const sampled = { seed: SEED, numRuns: 100 };
  for (const [i, reply] of fc.sample(replies, sampled).entries()) {
    const writer = new EventsWriter();
    writer.reply(i, reply);
    writer.delivery(fc.sample(deliveries, { seed: SEED + i, numRuns: 1 })[0] as never);
    writer.notice(fc.sample(notices, { seed: SEED + i, numRuns: 1 })[0] as never);
    honest.push([(bytes) => decodeEvents(bytes, nobody), writer.finish()]);
  }
  honest.push([
    decodeHello,
    encodeHello({ session: '5'.repeat(32), host: 'host', token: 'token', needsToken: 'whenAny' }),
  ]);
  return honest;
}

/** What comes out when it is not a value; a HoldfastError is the only thing that may. */
function complaintOf(decode: Decode, bytes: Uint8Array): unknown {
  try {
    decode(bytes);
    return undefined;
  } catch (error) {
    return error instanceof HoldfastError ? undefined : error;
  }
}

describe('decoding', () => {
  test(`survives ${MUTATIONS} spoiled frames with nothing but a HoldfastError`, () => {
    const random = seededRandom(SEED);
    const below = (limit: number): number => Math.floor(random.fraction() * limit);
    const honest = samples();
    for (let i = 0; i < MUTATIONS; i++) {
      const [decode, frame] = honest[i % honest.length] as (typeof honest)[number];
      const spoiled = Uint8Array.from(frame);
      for (let changes = 1 + below(4); changes > 0; changes--) spoiled[below(spoiled.length)] = below(256);
      const cut = random.fraction() < 0.2 ? spoiled.slice(0, below(spoiled.length)) : spoiled;
      const complaint = complaintOf(decode, cut);
      if (complaint !== undefined) throw complaint as Error;
    }
  });

  test('survives random bytes with nothing but a HoldfastError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...decoders), (bytes, decode) => {
        expect(complaintOf(decode, bytes)).toBeUndefined();
      }),
      { seed: SEED, numRuns: 5_000 },
    );
  });
});

describe('decodeRequests()', () => {
  const ids = new MessageIdSource(new ManualClock(), seededRandom(3));

  function produce(block: Uint8Array): Uint8Array {
    return encodeRequests({
      answeredUpTo: 0,
      requests: [{ request: 1, command: { kind: 'produce', ref: 1, atomic: false, blocks: [block] } }],
    });
  }

  function documentFrame(document: unknown): Uint8Array {
    const frame = new ByteWriter();
    frame.u8(FRAME.requests);
    frame.varint(0);
    frame.u8(5);
    frame.varint(1);
    frame.bytes(encode(document));
    return frame.finish();
  }

  test.each([6, 8])('refuses a block with an id that is none by its byte %i', (at) => {
    const id = Uint8Array.from(ids.next());
    id[at] = 0;
    const writer = new BlockWriter(1, idSecond(id));
    writer.add(id, new Uint8Array(3), { awaited: true });
    expect(() => decodeRequests(produce(writer.finish()))).toThrow('impossible options');
  });

  test('refuses a block with nothing in it, and one with bytes behind its items', () => {
    expect(() => decodeRequests(produce(new BlockWriter(1, 5).finish()))).toThrow('its items do not fill it');
    const id = ids.next();
    const writer = new BlockWriter(1, idSecond(id));
    writer.add(id, new Uint8Array(3), {});
    expect(() => decodeRequests(produce(Uint8Array.of(...writer.finish(), 0)))).toThrow('its items do not fill it');
  });

  test('refuses a block whose item belongs to another second', () => {
    const id = ids.next();
    const writer = new BlockWriter(1, idSecond(id) + 1);
    writer.add(id, new Uint8Array(3), {});
    expect(() => decodeRequests(produce(writer.finish()))).toThrow('an item has impossible options');
  });

  test.each([
    ['no kind', {}],
    ['a kind of its own', { kind: 'format' }],
    ['a kind that has a compact form', { kind: 'settle', settles: [] }],
    ['no object', 5],
    ['null', null],
    ['a declare without rules', { kind: 'declare', ref: 1, channel: 'mail' }],
    ['rules that are no rules', { kind: 'declare', ref: 1, channel: 'mail', policy: { maxAttempts: 'many' } }],
    ['a channel without a name', { kind: 'declare', ref: 1, channel: '', policy: DEFAULT_POLICY }],
    ['a name that is too long', { kind: 'declare', ref: 1, channel: 'x'.repeat(256), policy: DEFAULT_POLICY }],
    ['half a surrogate pair in a name', { kind: 'declare', ref: 1, channel: '\ud800mail', policy: DEFAULT_POLICY }],
    ['zero attempts', { kind: 'declare', ref: 1, channel: 'mail', policy: { ...DEFAULT_POLICY, maxAttempts: 0 } }],
    ['an unknown rule', { kind: 'declare', ref: 1, channel: 'mail', policy: { ...DEFAULT_POLICY, extra: 1 } }],
    ['an empty schedule', policyWith({ kind: 'schedule', delaysMs: [], jitter: 0 })],
    ['a jitter above 1', policyWith({ kind: 'fixed', delayMs: 5, jitter: 2 })],
    ['a backoff of an unknown kind', policyWith({ kind: 'random', delayMs: 5 })],
    ['an id that is too short', { kind: 'manage', id: new Uint8Array(15), action: 'cancel' }],
    ['an unknown action', { kind: 'manage', id: new Uint8Array(16), action: 'destroy' }],
    ['an id that is a text', { kind: 'await', id: 'abc', stop: false }],
    ['settings that are no settings', { kind: 'control', channel: 'mail', action: 'configure', settings: 5 }],
    ['a state of its own', { kind: 'inspect', what: 'list', channel: 'mail', state: 'lost', offset: 0, limit: 5 }],
    ['a negative offset', { kind: 'inspect', what: 'list', channel: 'mail', state: 'dead', offset: -1, limit: 5 }],
    ['a step that is no whole minute', { ...METRICS, stepMs: 61_000 }],
    ['a step of no time', { ...METRICS, stepMs: 0 }],
    ['a beginning that is no date', { ...METRICS, from: 8.64e15 + 1 }],
    ['a place of usage that is too short', { kind: 'inspect', what: 'usage', after: new Uint8Array(31) }],
    ['an endless extension', { kind: 'extend', seq: 1, token: 1, forMs: Infinity }],
    ['a token without scopes', { ...TOKEN, scopes: [] }],
    ['a token of too many scopes', { ...TOKEN, scopes: Array.from({ length: 65 }, () => 'server:admin') }],
    ['a token of an unknown scope', { ...TOKEN, scopes: ['channel:mail:everything'] }],
    ['a token of a scope that is no text', { ...TOKEN, scopes: [{ kind: 'server' }] }],
    ['a token with a hash of another length', { ...TOKEN, hash: new Uint8Array(31) }],
    ['a token with a hash that is a text', { ...TOKEN, hash: 'x'.repeat(32) }],
    ['a token whose id is none', { ...TOKEN, id: '__proto__' }],
    ['a token of a long label', { ...TOKEN, label: 'x'.repeat(256) }],
    ['a token for no time', { ...TOKEN, expiresInMs: 0 }],
    ['a token for ever', { ...TOKEN, expiresInMs: Infinity }],
    ['a token with its text', { ...TOKEN, text: 'hf_' }],
    ['a revocation of what is no id', { kind: 'revokeToken', id: 'ABCDEF012345' }],
  ])('refuses a document with %s', (_name, document) => {
    expect(() => decodeRequests(documentFrame(document))).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  test.each([Number.NaN, -1, Infinity, 1e300])('refuses a snooze of %d ms', (delayMs) => {
    const command = { kind: 'settle', settles: [{ seq: 1, token: 1, outcome: { kind: 'snooze', delayMs } }] } as never;
    const frame = encodeRequests({ answeredUpTo: 0, requests: [{ request: 1, command }] });
    expect(() => decodeRequests(frame)).toThrow(`Cannot wait ${delayMs} ms`);
  });

  test.each<readonly [string, Partial<AddFlow>, string]>([
    ['an edge from a message that is not in it', { edges: [edge(2, 0)] }, 'leads nowhere'],
    ['an edge to its own child', { edges: [edge(1, 1)] }, 'leads nowhere'],
    ['a child before its parent', { edges: [edge(0, 1)] }, 'leads nowhere'],
    ['an edge to nobody', { edges: [edge(0, undefined)] }, 'leads nowhere'],
    ['a key that is too long', { edges: [{ ...edge(1, 0), key: 'x'.repeat(101) }] }, 'a key of 101 characters'],
    ['an unknown policy', { edges: [{ ...edge(1, 0), onFailure: 'retry' as never }] }, 'an unknown policy'],
    ['too many edges', { edges: Array.from({ length: 20_001 }, () => edge(1, 0)) }, '20001 edges'],
    ['no messages', { produced: [], edges: [] }, 'a flow without messages'],
  ])('refuses a flow with %s', (_name, wrong, says) => {
    const made = [ids.next(), ids.next()];
    const writer = new BlockWriter(1, idSecond(made[0] as Uint8Array));
    for (const id of made) writer.add(id, new Uint8Array(3), {});
    const produced = [{ kind: 'produce', ref: 1, blocks: [writer.finish()] }] as const;
    const command: AddFlow = { kind: 'flow', produced, edges: [], under: undefined, ...wrong };
    const frame = encodeRequests({ answeredUpTo: 0, requests: [{ request: 1, command }] });
    expect(() => decodeRequests(frame)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
    expect(() => decodeRequests(frame)).toThrow(says);
  });

  function edge(child: number, parent: number | undefined): FlowEdge {
    return { child, parent, onFailure: 'fail', key: undefined };
  }

  function policyWith(backoff: unknown): unknown {
    return { kind: 'declare', ref: 1, channel: 'mail', policy: { ...DEFAULT_POLICY, backoff } };
  }
});
