import { type Channel, type ChannelOptions, type Holdfast, open } from 'holdfast';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createHoldfast } from '#holdfast/api/holdfast.js';
import { resolveChannelOptions } from '#holdfast/api/options.js';
import { Client } from '#holdfast/client/client.js';
import { CODEC_BSON, encode } from '#holdfast/codec/bson.js';
import { startHost } from '#holdfast/host/host.js';
import type { MessageView } from '#holdfast/model/views.js';
import { messageIdText, parseMessageId } from '#holdfast/model/message-id.js';
import { systemRandom } from '#holdfast/model/random.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { newFolder } from '../helpers/instances.ts';
import { ManualClock, settled } from '../helpers/manual-clock.ts';

/** A message as a client of another version may have stored it: the broker does not look into payloads. */
interface Stored {
  readonly codec: number;
  readonly payload: Uint8Array;
}

const WHOLE: Uint8Array = encode({ text: 'whole' });
const UNKNOWN_CODEC: Stored = { codec: 7, payload: WHOLE };
const CUT_OFF: Stored = { codec: CODEC_BSON, payload: WHOLE.subarray(0, -3) };

const UNREADABLE: readonly (readonly [what: string, stored: Stored, reason: RegExp])[] = [
  ['of an unknown codec', UNKNOWN_CODEC, /codec 7: this version knows 1 and 2/],
  ['cut off', CUT_OFF, /Cannot decode/],
  ['with more behind it', { codec: CODEC_BSON, payload: Uint8Array.of(...WHOLE, 0) }, /Cannot decode/],
  ['of no bytes', { codec: CODEC_BSON, payload: new Uint8Array(0) }, /Cannot decode/],
  ['of another format', { codec: CODEC_BSON, payload: Buffer.from('{"text":"JSON"}') }, /Cannot decode/],
];

const NAME = 'mail';

type PlainOptions = ChannelOptions<undefined>;

describe('a message that cannot be decoded', () => {
  test.each(UNREADABLE)('(%s) is dead after `maxUndecodable` tries, with the reason', async (_what, stored, reason) => {
    const { channel, clock, store, look } = await start({ attempts: 1, maxUndecodable: 3, backoff: ['1s', '5s'] });
    const [id] = await store([stored]);
    let handled = 0;
    await channel.consume(() => void (handled += 1));
    const ended = expect(channel.result(id)).rejects.toMatchObject({
      code: 'DEAD',
      cause: { name: 'HoldfastError', message: expect.stringMatching(reason) },
    });

    await settled();
    const charged = { attempts: 0, deaths: 0 };
    expect(await look(id)).toMatchObject({ state: 'delayed', undecodable: 1, ...charged });
    await clock.advance(1_000);
    expect(await look(id)).toMatchObject({ state: 'delayed', undecodable: 2, ...charged });
    await clock.advance(4_999);
    expect(await look(id)).toMatchObject({ state: 'delayed', undecodable: 2, ...charged });
    await clock.advance(1);

    await ended;
    const { history, failure, ...dead } = await look(id);
    expect(dead).toMatchObject({ state: 'dead', undecodable: 3, ...charged });
    expect(failure?.message).toMatch(reason);
    expect(history.map(({ what, note }) => [what, note])).toEqual([
      ['produced', undefined],
      ['claimed', undefined],
      ['nacked', failure?.message],
      ['claimed', undefined],
      ['nacked', failure?.message],
      ['claimed', undefined],
      ['failed', failure?.message],
    ]);
    expect(handled).toBe(0);
  });

  test.each<[string, PlainOptions]>([
    ['without options', {}],
    ['with a timeout', { timeout: '1m' }],
    ['with one try', { maxUndecodable: 1 }],
  ])('does not keep a consumer from the others (%s)', async (_what, options) => {
    const { channel, clock, store } = await start({ backoff: '1s', ...options });
    await store([CUT_OFF, readable('a'), UNKNOWN_CODEC, readable('b'), readable('c'), CUT_OFF]);
    const handled: unknown[] = [];
    const errors: unknown[] = [];
    const onError = (error: unknown): void => void errors.push(error);
    await channel.consume((message) => void handled.push(message), { prefetch: 2, onError });

    await clock.advance(10_000);
    await channel.produce('d');
    await clock.advance(1);

    expect(handled).toEqual(['a', 'b', 'c', 'd']);
    expect(errors).toEqual([]);
    const left = { ready: 0, delayed: 0, leased: 0, waiting: 0 };
    expect(await channel.inspect()).toMatchObject({ ...left, completed: 4, dead: 3, consumers: 1 });
  });

  test('is not charged for throws, nor others for it', async () => {
    const { channel, clock, store, look } = await start({ attempts: 2, maxUndecodable: 4, backoff: '1s' });
    const [unreadable, throwing] = await store([CUT_OFF, readable('throws')]);
    await channel.consume(() => {
      throw new Error('Thrown');
    });

    await clock.advance(1_000);

    expect(await look(unreadable)).toMatchObject({ state: 'delayed', undecodable: 2, attempts: 0 });
    expect(await look(throwing)).toMatchObject({ state: 'dead', undecodable: 0, attempts: 2 });
    await clock.advance(10_000);
    expect(await look(unreadable)).toMatchObject({ state: 'dead', undecodable: 4, attempts: 0 });
  });

  test('is shown by get() and list() with all but its content, which throws the reason', async () => {
    const { channel, store } = await start();
    const [unknown, cutOff, whole] = await store([UNKNOWN_CODEC, CUT_OFF, readable('whole')]);

    const refusedFor = (message: string): object =>
      expect.objectContaining({ code: 'UNDECODABLE', message: expect.stringContaining(message) });
    const shown = await channel.get(unknown);
    expect(shown).toMatchObject({ id: unknown, state: 'ready', result: undefined });
    expect(() => shown?.message).toThrow(refusedFor('codec 7'));
    const listed = await channel.list('ready');
    expect(listed.map(({ id }) => id)).toEqual([unknown, cutOff, whole]);
    expect(() => listed[1]?.message).toThrow(refusedFor('Cannot decode'));
    expect(listed[2]?.message).toBe('whole');
    expect(JSON.parse(JSON.stringify(listed[1]))).not.toHaveProperty('message');
    expect(await channel.get(whole)).toMatchObject({ state: 'ready', message: 'whole' });
  });

  test('moves to the dead letters, and is dead there when it is consumed there', async () => {
    const { hf, channel, clock, store, look } = await start({
      deadLetter: 'graveyard',
      maxUndecodable: 2,
      backoff: '1s',
    });
    const [id] = await store([CUT_OFF]);
    let handled = 0;
    await channel.consume(() => void (handled += 1));

    await clock.advance(1_000);

    expect(await look(id)).toMatchObject({ channel: 'graveyard', state: 'ready', undecodable: 0 });
    await hf.channel('graveyard').consume(() => void (handled += 1));
    await clock.advance(1_000);
    expect(await look(id)).toMatchObject({ channel: 'graveyard', state: 'dead', undecodable: 2 });
    expect(handled).toBe(0);
  });

  test('is counted anew when it is redriven', async () => {
    const { channel, clock, store, look } = await start({ maxUndecodable: 2, backoff: '1s' });
    const [id] = await store([UNKNOWN_CODEC]);
    await channel.consume(() => {});
    await clock.advance(1_000);
    expect(await look(id)).toMatchObject({ state: 'dead', undecodable: 2 });

    expect(await channel.redrive(id)).toBe(1);

    await settled();
    expect(await look(id)).toMatchObject({ state: 'delayed', undecodable: 1 });
    await clock.advance(1_000);
    expect(await look(id)).toMatchObject({ state: 'dead', undecodable: 2 });
  });

  test('keeps its count when its broker ends', async () => {
    const options: PlainOptions = { maxUndecodable: 3, backoff: '1s' };
    const folder = newFolder();
    const first = await start(options, folder);
    const [id] = await first.store([CUT_OFF]);
    await first.channel.consume(() => {});
    await first.clock.advance(1_000);
    await first.hf.close();

    const { channel, clock, look } = await start(options, folder);

    expect(await look(id)).toMatchObject({ state: 'delayed', undecodable: 2 });
    await channel.consume(() => {});
    await clock.advance(2_000);
    expect(await look(id)).toMatchObject({ state: 'dead', undecodable: 3 });
  });

  test('in a folder keeps nothing else in it from being handled', async () => {
    const options: PlainOptions = { backoff: 1 };
    const folder = newFolder();
    const { hf, store } = await start(options, folder);
    const [unknown, whole, cutOff] = await store([UNKNOWN_CODEC, readable('whole'), CUT_OFF]);
    await hf.close();

    await using holdfast = await open(`file:${folder}`);
    const channel = holdfast.channel<unknown, unknown>(NAME, options);
    await channel.consume((message) => message);

    expect(await channel.result(whole)).toBe('whole');
    const dead = { code: 'DEAD', cause: { message: expect.stringContaining('Cannot decode') } };
    for (const id of [unknown, cutOff]) await expect(channel.result(id)).rejects.toMatchObject(dead);
  });
});

interface Started {
  readonly hf: Holdfast;
  readonly channel: Channel<unknown>;
  readonly clock: ManualClock;
  /** Stores these bytes in the channel and gives the ids of the messages. */
  readonly store: <const Items extends readonly Stored[]>(items: Items) => Promise<{ [at in keyof Items]: string }>;
  /** What the broker says of a message, whose payload it does not need for that. */
  readonly look: (id: string) => Promise<MessageView>;
}

/** An instance with its client within reach, which says to the broker what the API never would. */
async function start(options: PlainOptions = {}, folder?: string): Promise<Started> {
  const [clock, random] = [new ManualClock(), systemRandom];
  const names = { space: 'default', host: '0'.repeat(32) };
  const limits = { reserveBytes: 0, sessionTimeoutMs: 30_000 };
  const target = folder === undefined ? ({ kind: 'memory' } as const) : ({ kind: 'folder', folder } as const);
  const host = await startHost({ target, ...names, ...limits }, { clock, random, log: () => {} });
  const client = new Client({
    connect: async () => {
      const link = localLink(clock);
      host.accept(link.broker);
      return link.client;
    },
    host: names.host,
    clock,
    random,
  });
  await client.open();
  const hf = createHoldfast(client, () => host.close());
  onTestFinished(() => hf.close());
  return {
    hf,
    channel: hf.channel<unknown>(NAME, options),
    clock,
    store: async (items) => {
      const { ref } = client.declare(NAME, resolveChannelOptions(options).policy, undefined);
      const withIds = items.map((item) => ({ ...item, id: client.nextId(), options: {} }));
      await client.produceAll(ref, withIds);
      return withIds.map(({ id }) => messageIdText(id)) as { [at in keyof typeof items]: string };
    },
    look: async (id) => {
      const reply = await client.request({ kind: 'inspect', what: 'message', id: parseMessageId(id) });
      if (reply.kind !== 'value') throw new Error(`Cannot look at a message: the answer is of kind ${reply.kind}`);
      return reply.value as MessageView;
    },
  };
}

function readable(message: unknown): Stored {
  return { codec: CODEC_BSON, payload: encode(message) };
}
