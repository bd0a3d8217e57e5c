import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import type { Broker } from '#holdfast/broker/broker.js';
import { Client } from '#holdfast/client/client.js';
import { type NeedsToken, NEEDS_TOKEN } from '#holdfast/model/access-token.js';
import type { Link } from '#holdfast/model/link.js';
import { type Random, seededRandom } from '#holdfast/model/random.js';
import { createMemoryDisk, type MemoryDisk, openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { StoreError } from 'holdfast';
import { decodeGoodbye, encodeBye, encodeHello, FRAME, type Goodbye } from '#holdfast/wire/frames.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { encodeRequests } from '#holdfast/wire/requests.js';
import { startBroker } from '../helpers/brokers.ts';
import { ManualClock, settled } from '../helpers/manual-clock.ts';

interface Rig {
  readonly clock: ManualClock;
  readonly disk: MemoryDisk;
  readonly broker: Broker;
  readonly random: Random;
  /** The next commit fails, though it is applied. */
  readonly failOnce: () => void;
  readonly link: (needsToken: NeedsToken) => Link;
  /** Opens a client that comes in this way. */
  readonly connect: (needsToken: NeedsToken, token?: string) => Promise<Holdfast>;
  /** Says what it is given, and gives what it heard at last, or `undefined` when the link is still open. */
  readonly say: (needsToken: NeedsToken, ...frames: Uint8Array<ArrayBuffer>[]) => Promise<Goodbye | undefined>;
}

async function start(disk: MemoryDisk = createMemoryDisk(), wallMs?: number): Promise<Rig> {
  const clock = new ManualClock(wallMs);
  const random = seededRandom(wallMs ?? 8);
  let fails = false;
  const broker = await startBroker(clock, {
    openStore: async () => {
      const store = openMemoryStore({ disk });
      const inner = store.commit.bind(store);
      const commit: Store['commit'] = async (...given) => {
        await inner(...given);
        if (!fails) return;
        fails = false;
        throw new StoreError('STORE_FAILED', 'unknown', 'Failed as planned');
      };
      return Object.assign(store, { commit });
    },
  });
  const link = (needsToken: NeedsToken): Link => {
    const ends = localLink(clock);
    broker.accept(ends.broker, { lingerMs: Infinity, needsToken });
    return ends.client;
  };
  return {
    clock,
    disk,
    broker,
    random,
    failOnce: () => {
      fails = true;
    },
    link,
    async connect(needsToken, token) {
      const client = new Client({ connect: async () => link(needsToken), host: 'host', token, clock, random });
      await client.open();
      return createHoldfast(client, async () => {});
    },
    async say(needsToken, ...frames) {
      const stranger = link(needsToken);
      let isOpen = true;
      let goodbye: Goodbye | undefined;
      stranger.open({
        frame: (bytes) => {
          if (bytes[0] === FRAME.goodbye) goodbye = decodeGoodbye(bytes);
        },
        closed: () => {
          isOpen = false;
        },
      });
      for (const frame of frames) stranger.send(frame);
      await settled();
      return isOpen ? undefined : goodbye;
    },
  };
}

const hello = (session: string, token: string, needsToken: NeedsToken = 'never'): Uint8Array<ArrayBuffer> =>
  encodeHello({ session: session.repeat(32), host: 'host', token, needsToken });

const SCOPES = ['channel:mail:produce,consume,read'];

describe('a way in', () => {
  test('that never needs a token lets everybody in, with all rights', async () => {
    const { connect } = await start();
    const hf = await connect('never');
    await hf.tokens.create({ label: 'a', scopes: SCOPES });
    await hf.channel<number>('anything').pause();
    await (await connect('never')).channel<number>('anything').resume();
  });

  test('that needs one when there is any lets everybody in until then', async () => {
    const { broker, connect } = await start();
    expect(broker.hasAccessTokens).toBe(false);
    await (await connect('whenAny')).channel<number>('mail').produce(1);
    const { token, id } = await (await connect('never')).tokens.create({ label: 'a', scopes: SCOPES });
    expect(broker.hasAccessTokens).toBe(true);
    await expect(connect('whenAny')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await (await connect('whenAny', token)).channel<number>('mail').produce(2);
    // One that has ended is one: nobody is let in again because somebody was shut out.
    await (await connect('never')).tokens.revoke(id);
    expect(broker.hasAccessTokens).toBe(true);
    await expect(connect('whenAny')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('that always needs one lets nobody in without', async () => {
    const { connect } = await start();
    await expect(connect('always')).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      message: 'This way in needs an access token',
    });
    const { token } = await (await connect('never')).tokens.create({ label: 'a', scopes: SCOPES });
    await (await connect('always', token)).channel<number>('mail').produce(1);
  });

  test('looks at a token that it does not need, and holds its client to it', async () => {
    const { connect } = await start();
    const { token } = await (await connect('never')).tokens.create({ label: 'a', scopes: SCOPES });
    const hf = await connect('never', token);
    await hf.channel<number>('mail').produce(1);
    await expect(hf.channel<number>('mail').pause()).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(connect('never', `${token.slice(0, -1)}!`)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test.each(NEEDS_TOKEN)('is as strict as HELLO says, and never milder than itself (%s)', async (way) => {
    const { connect, say } = await start();
    await (await connect('never')).tokens.create({ label: 'a', scopes: SCOPES });
    for (const [i, said] of NEEDS_TOKEN.entries()) {
      const goodbye = await say(way, hello(String(i), '', said));
      const isIn = way === 'never' && said === 'never';
      expect(goodbye?.code).toBe(isIn ? undefined : 'UNAUTHORIZED');
    }
  });

  test('ends for those who came in without, as soon as there is a token; the one who made it still gets it', async () => {
    const { connect } = await start();
    const [maker, other, trusted] = [await connect('whenAny'), await connect('whenAny'), await connect('never')];
    await trusted.channel<number>('mail').produce(1);
    const consumer = await other.channel<number>('mail').consume(() => new Promise(() => {}));
    await settled();
    expect(await trusted.channel<number>('mail').inspect()).toMatchObject({ leased: 1 });
    const { token } = await maker.tokens.create({ label: 'first', scopes: ['server:admin'] });
    await expect(consumer.stopped).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(maker.channelNames()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await trusted.channel<number>('mail').inspect()).toMatchObject({ leased: 0, ready: 1, consumers: 0 });
    await maker.close();
    expect(await (await connect('whenAny', token)).tokens.list()).toHaveLength(1);
  });
});

describe('a token', () => {
  test('is not let in with a wrong secret, an unknown id, or another form', async () => {
    const { connect, say } = await start();
    const admin = await connect('never');
    const [one, two] = [
      await admin.tokens.create({ label: 'one', scopes: SCOPES }),
      await admin.tokens.create({ label: 'two', scopes: SCOPES }),
    ];
    const secretOf = (token: string): string => token.slice(-43);
    const last = one.token.at(-1) === 'A' ? 'E' : 'A';
    const wrong = [
      one.token.slice(0, -1) + last,
      one.token.replace(one.id, two.id),
      one.token.replace(one.id, '000000000000'),
      `hf_${one.id}_${'A'.repeat(43)}`,
      `hf_${one.id}_${secretOf(two.token)}`,
      `hf_${one.id}`,
      one.id,
      secretOf(one.token),
      createHash('sha256').update(one.token).digest('hex'),
      createHash('sha256').update(one.token).digest('base64url'),
      one.token.toUpperCase(),
      ` ${one.token}`,
      `${one.token}\n`,
      '__proto__',
      'x'.repeat(3_000),
    ];
    const said = new Set<string | undefined>();
    for (const token of wrong) {
      const goodbye = await say('always', hello('1', token));
      expect(goodbye).toMatchObject({ code: 'UNAUTHORIZED' });
      said.add(goodbye?.message);
    }
    // From what is said, nobody learns which ids there are.
    expect([...said]).toEqual(['The access token is not known here']);
    expect(await say('always', hello('1', one.token))).toBeUndefined();
  });

  test('lets in until the millisecond before its end, and not at that one', async () => {
    const { clock, connect } = await start();
    const admin = await connect('never');
    const { token, expiresAt = 0 } = await admin.tokens.create({ label: 'a', scopes: SCOPES, expiresIn: '1m' });
    await clock.advance(59_999);
    expect(clock.wallMs()).toBe(expiresAt - 1);
    await (await connect('always', token)).channel<number>('mail').produce(1);
    await clock.advance(1);
    await expect(connect('always', token)).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      message: expect.stringMatching(/^The access token "[0-9a-f]{12}" has expired$/),
    });
  });

  test('that has expired does nothing more, be it in the same moment', async () => {
    const { clock, connect } = await start();
    const admin = await connect('never');
    const { token, expiresAt = 0 } = await admin.tokens.create({ label: 'a', scopes: SCOPES, expiresIn: '1m' });
    const hf = await connect('always', token);
    await hf.channel<number>('mail').produce(1);
    // No timer has fired when the next command comes.
    clock.setWall(expiresAt);
    await expect(hf.channel<number>('mail').produce(2)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await admin.channel<number>('mail').inspect()).toMatchObject({ ready: 1, totals: { produced: 1 } });
  });

  test('that has expired ends its connections at once', async () => {
    const { clock, connect } = await start();
    const admin = await connect('never');
    const { token } = await admin.tokens.create({ label: 'a', scopes: SCOPES, expiresIn: '1m' });
    const hf = await connect('always', token);
    const channel = hf.channel<number>('mail');
    const consumer = await channel.consume(() => new Promise(() => {}));
    await admin.channel<number>('mail').produce(1);
    const stopped = expect(consumer.stopped).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await clock.advance(59_999);
    expect(await admin.channel<number>('mail').inspect()).toMatchObject({ leased: 1 });
    await clock.advance(1);
    await stopped;
    await expect(channel.produce(2)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await admin.channel<number>('mail').inspect()).toMatchObject({ leased: 0, ready: 1, consumers: 0 });
  });

  test('that is revoked ends its connections at once; what they held goes to others, uncounted', async () => {
    const { connect } = await start();
    const admin = await connect('never');
    const { token, id } = await admin.tokens.create({ label: 'a', scopes: SCOPES });
    const [hf, bystander] = [await connect('always', token), await connect('never')];
    const consumer = await hf.channel<number>('mail').consume(() => new Promise(() => {}));
    const receipt = await hf.channel<number>('mail').produce(1);
    await settled();
    await admin.tokens.revoke(id);
    await expect(consumer.stopped).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      message: `The access token "${id}" was revoked`,
    });
    await expect(hf.channel<number>('mail').produce(2)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(connect('always', token)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    const attempts: number[] = [];
    await bystander.channel<number>('mail').consume((_, { attempt }) => void attempts.push(attempt));
    await settled();
    expect(attempts).toEqual([1]);
    expect(await admin.channel<number>('mail').get(receipt.id)).toMatchObject({ state: 'completed', deaths: 0 });
  });

  test('can be replaced by another with the same scopes while both live', async () => {
    const { connect } = await start();
    const admin = await connect('never');
    const before = await admin.tokens.create({ label: 'worker', scopes: SCOPES });
    const after = await admin.tokens.create({ label: 'worker', scopes: SCOPES });
    const [one, two] = [await connect('always', before.token), await connect('always', after.token)];
    await one.channel<number>('mail').produce(1);
    await admin.tokens.revoke(before.id);
    await expect(one.channel<number>('mail').produce(2)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await two.channel<number>('mail').produce(3);
    expect(await admin.channel<number>('mail').inspect()).toMatchObject({ ready: 2 });
  });

  test('may revoke itself, and hears that it is done before it has to go', async () => {
    const { connect } = await start();
    const admin = await connect('never');
    const { token, id } = await admin.tokens.create({ label: 'a', scopes: ['server:admin'] });
    const hf = await connect('always', token);
    await hf.tokens.revoke(id);
    await expect(hf.channelNames()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('that is revoked while the commit fails is revoked for those who come back after the rebuild', async () => {
    const { clock, connect, failOnce } = await start();
    const admin = await connect('never');
    const { token, id } = await admin.tokens.create({ label: 'a', scopes: SCOPES });
    const hf = await connect('always', token);
    const consumer = await hf.channel<number>('mail').consume(() => new Promise(() => {}));
    await admin.channel<number>('mail').produce(1);
    await settled();
    const stopped = expect(consumer.stopped).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    failOnce();
    const revoked = admin.tokens.revoke(id);
    await clock.advance(5_000);
    await revoked;
    await stopped;
    expect(await admin.channel<number>('mail').inspect()).toMatchObject({ leased: 0, ready: 1, consumers: 0 });
  });

  test('that expires while no broker runs gives its leases back when the next one starts', async () => {
    const { clock, disk, connect, broker } = await start();
    const admin = await connect('never');
    const { token } = await admin.tokens.create({ label: 'a', scopes: SCOPES, expiresIn: '1m' });
    const hf = await connect('always', token);
    const consumer = await hf.channel<number>('mail').consume(() => new Promise(() => {}));
    consumer.stopped.catch(() => {});
    await admin.channel<number>('mail').produce(1);
    await settled();
    await clock.advance(59_999);
    await broker.close();
    const next = await start(disk, clock.wallMs() + 1);
    await expect(next.connect('always', token)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    const trusted = await next.connect('never');
    expect(await trusted.channel<number>('mail').inspect()).toMatchObject({ leased: 0, ready: 1 });
  });
});

describe('a session', () => {
  test('cannot be taken up with another token, with none, or over another way in without its own', async () => {
    const { connect, say } = await start();
    const admin = await connect('never');
    const weak = await admin.tokens.create({ label: 'weak', scopes: ['channel:x:read'] });
    const strong = await admin.tokens.create({ label: 'strong', scopes: ['server:admin'] });
    expect(await say('always', hello('a', weak.token))).toBeUndefined();
    expect(await say('never', hello('b', ''))).toBeUndefined();
    const other = { code: 'UNAUTHORIZED', message: 'The session belongs to another access token' };
    expect(await say('always', hello('a', strong.token))).toEqual(other);
    expect(await say('never', hello('a', ''))).toEqual(other);
    expect(await say('always', hello('b', strong.token))).toEqual(other);
    expect(await say('always', hello('b', ''))).toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await say('always', hello('a', weak.token))).toBeUndefined();
    expect(await say('never', hello('b', ''))).toBeUndefined();
  });

  test('that somebody tries to take up with another token goes on undisturbed', async () => {
    const { connect, link, say } = await start();
    const admin = await connect('never');
    const weak = await admin.tokens.create({ label: 'weak', scopes: SCOPES });
    const strong = await admin.tokens.create({ label: 'strong', scopes: ['server:admin'] });
    const victim = link('always');
    let isOpen = true;
    victim.open({
      frame: () => {},
      closed: () => {
        isOpen = false;
      },
    });
    victim.send(hello('a', weak.token));
    await settled();
    expect(await say('always', hello('a', strong.token))).toMatchObject({ code: 'UNAUTHORIZED' });
    expect(isOpen).toBe(true);
  });

  test('does not change its rights by a second HELLO', async () => {
    const { connect, say } = await start();
    const admin = await connect('never');
    const weak = await admin.tokens.create({ label: 'weak', scopes: ['channel:x:read'] });
    const strong = await admin.tokens.create({ label: 'strong', scopes: ['server:admin'] });
    const revoke = encodeRequests({
      answeredUpTo: 0,
      requests: [{ request: 1, command: { kind: 'revokeToken', id: strong.id } }],
    });
    expect(await say('always', hello('a', weak.token), hello('a', strong.token), revoke)).toBeUndefined();
    expect(await admin.tokens.list()).toMatchObject([{ state: 'live' }, { state: 'live' }]);
  });

  test('is the only one of its connection', async () => {
    const { say } = await start();
    expect(await say('never', hello('a', ''), hello('b', ''))).toEqual({
      code: 'PROTOCOL',
      message: 'A connection has one session',
    });
    expect(await say('never', hello('a', ''), hello('a', ''))).toBeUndefined();
  });
});

describe('a client that was refused', () => {
  test('has no effect with what it sends behind its HELLO, and hears why it was refused', async () => {
    const { connect, say } = await start();
    const admin = await connect('never');
    const { id } = await admin.tokens.create({ label: 'a', scopes: SCOPES });
    const requests = encodeRequests({
      answeredUpTo: 0,
      requests: [{ request: 1, command: { kind: 'revokeToken', id } }],
    });
    const goodbye = await say('always', hello('c', ''), requests, encodeBye());
    expect(goodbye).toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await admin.tokens.list()).toMatchObject([{ id, state: 'live' }]);
  });
});

describe('what the scopes do not allow', () => {
  async function limited(...scopes: string[]): Promise<{ admin: Holdfast; hf: Holdfast }> {
    const { connect } = await start();
    const admin = await connect('never');
    const { token } = await admin.tokens.create({ label: 'a', scopes });
    return { admin, hf: await connect('always', token) };
  }

  test('rejects with FORBIDDEN and the name of the missing scope', async () => {
    const { admin, hf } = await limited('channel:mail:read');
    const channel = hf.channel<number>('mail');
    const { id } = await admin.channel<number>('other').produce(1);
    const lacks = (scope: string): object => ({ code: 'FORBIDDEN', message: expect.stringContaining(scope) });
    await expect(channel.produce(1)).rejects.toMatchObject(lacks('channel:mail:produce'));
    await expect(channel.produceAll([1, 2])).rejects.toMatchObject(lacks('channel:mail:produce'));
    await expect(channel.request(1)).rejects.toMatchObject(lacks('channel:mail:produce'));
    await expect(channel.purge()).rejects.toMatchObject(lacks('channel:mail:admin'));
    await expect(channel.cancel(id)).rejects.toMatchObject(lacks('right to admin'));
    await expect(channel.result(id)).rejects.toMatchObject(lacks('right to read or produce'));
    await expect(hf.channel<number>('other').produce(1)).rejects.toMatchObject(lacks('channel:other:produce'));
    await expect(hf.tokens.list()).rejects.toMatchObject(lacks('server:admin'));
    expect(await hf.channelNames()).toEqual(['mail']);
    expect(await channel.inspect()).toMatchObject({ totals: { produced: 0 } });
  });

  test('stops a consumer with FORBIDDEN; the instance goes on', async () => {
    const { hf } = await limited('channel:mail:produce,read');
    const consumer = await hf.channel<number>('mail').consume(() => {});
    await expect(consumer.stopped).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: 'Cannot consume "mail": the access token lacks channel:mail:consume',
    });
    const unknown = await hf.channel<number>('secret').consume(() => {});
    await expect(unknown.stopped).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await hf.channel<number>('mail').produce(1);
    await consumer.close();
    await hf.close();
  });

  test('fails a handler that produces to what it may not, and the message says why', async () => {
    const { admin, hf } = await limited('channel:mail:consume');
    const other = hf.channel<number>('other');
    const { id } = await admin.channel<number>('mail', { attempts: 1 }).produce(1);
    await hf.channel<number>('mail').consume((_, { tx }) => tx.produce(other, 2));
    await expect(admin.channel<number>('mail').result(id)).rejects.toMatchObject({ code: 'DEAD' });
    expect(await admin.channel<number>('mail').get(id)).toMatchObject({
      state: 'dead',
      failure: { name: 'FORBIDDEN', message: expect.stringContaining('channel "other"') },
    });
  });

  test('is refused again after the link was renewed, and what is allowed goes on', async () => {
    const { clock, connect, failOnce } = await start();
    const admin = await connect('never');
    const { token } = await admin.tokens.create({ label: 'a', scopes: ['channel:mail:produce,read'] });
    const hf = await connect('always', token);
    const channel = hf.channel<number>('mail');
    await channel.produce(1);
    failOnce();
    const produced = channel.produce(2);
    await clock.advance(5_000);
    await produced;
    await expect(channel.pause()).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await channel.inspect()).toMatchObject({ ready: 2 });
  });
});
