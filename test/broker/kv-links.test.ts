import { describe, expect, test } from 'vitest';
import type { HoldfastKv } from 'holdfast';
import { TestClock } from 'holdfast/testing';
import { createHoldfast } from '#holdfast/api/holdfast.js';
import { Client } from '#holdfast/client/client.js';
import type { Link } from '#holdfast/model/link.js';
import { seededRandom } from '#holdfast/model/random.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { startBroker } from '../helpers/brokers.ts';

/** A client whose connection can be troubled. */
interface Wire {
  readonly kv: HoldfastKv;
  /** From now on nothing arrives over its present link. */
  readonly deafen: () => void;
  /** Ends its present link, and lets it have no other for this long. */
  readonly cut: (forMs: number) => Promise<void>;
}

async function start(): Promise<{ clock: TestClock; connect: () => Promise<Wire> }> {
  const clock = new TestClock();
  const random = seededRandom(5);
  const broker = await startBroker(clock);
  const connect = async (): Promise<Wire> => {
    let isDown = false;
    let isDeaf = false;
    let end = (): void => {};
    const link = async (): Promise<Link> => {
      if (isDown) throw new Error('There is no way to the broker');
      const { broker: far, client } = localLink(clock);
      broker.accept(far, { lingerMs: Infinity, needsToken: 'never' });
      isDeaf = false;
      end = () => far.close();
      const open: Link['open'] = ({ frame, closed }) =>
        client.open({ closed, frame: (bytes) => isDeaf || frame(bytes) });
      return {
        open,
        send: (frame) => client.send(frame),
        close: () => client.close(),
        hold: (waiting) => client.hold(waiting),
        flow: (isOpen) => client.flow(isOpen),
        isCongested: false,
      };
    };
    const client = new Client({ connect: link, host: 'host', clock, random });
    await client.open();
    return {
      kv: createHoldfast(client, async () => {}).kv,
      deafen: () => {
        isDeaf = true;
      },
      cut: async (forMs) => {
        isDown = true;
        end();
        await clock.advance(forMs);
        isDown = false;
        await clock.advance('2s');
      },
    };
  };
  return { clock, connect };
}

/** A short cut, and one that is longer than the session lasts. */
const CUTS = [1, 120_000];

describe.each(CUTS)('where a client has no connection for %i ms', (cutMs) => {
  test('watch() shows what was written meanwhile, and goes on', async () => {
    const { clock, connect } = await start();
    const [watching, writing] = [await connect(), await connect()];
    const reader = watching.kv.watch<[number]>([['a']]).getReader();
    await reader.read();
    for (const value of [1, 2]) {
      const changed = reader.read();
      await clock.settle();
      // The notice is lost.
      watching.deafen();
      await writing.kv.set(['a'], value);
      await clock.settle();
      await watching.cut(cutMs);
      expect((await changed).value?.[0].value).toBe(value);
    }
    const changed = reader.read();
    await clock.settle();
    await writing.kv.set(['a'], 3);
    expect((await changed).value?.[0].value).toBe(3);
  });

  test('watch() says nothing where nothing was written', async () => {
    const { clock, connect } = await start();
    const { kv, cut } = await connect();
    const reader = kv.watch([['a']]).getReader();
    await reader.read();
    let isSaid = false;
    void reader.read().then(() => (isSaid = true));
    await cut(cutMs);
    await clock.settle();
    expect(isSaid).toBe(false);
  });

  test('reads are answered, whose first answers were lost', async () => {
    const { clock, connect } = await start();
    const { kv, deafen, cut } = await connect();
    await kv.set(['a'], 1);
    deafen();
    const reads = Promise.all([kv.get(['a']), kv.getMany([['a']]), kv.list({ prefix: [] }).next()]);
    const reader = kv.watch([['a']]).getReader();
    const first = reader.read();
    await clock.settle();
    await cut(cutMs);
    const [one, [many], listed] = await reads;
    expect([one.value, many?.value, listed.value?.value]).toEqual([1, 1, 1]);
    expect((await first).value?.[0]?.value).toBe(1);
  });

  test('a commit whose answer was lost has its effect once, and says so if that can be known', async () => {
    const { clock, connect } = await start();
    const [cutting, other] = [await connect(), await connect()];
    cutting.deafen();
    const committed = cutting.kv.atomic().sum(['n'], 1n).commit();
    const told = committed.then(
      () => 'committed',
      (error: { code: string }) => error.code,
    );
    await clock.settle();
    await cutting.cut(cutMs);
    expect(await told).toBe(cutMs < 30_000 ? 'committed' : 'UNKNOWN_OUTCOME');
    expect((await other.kv.get<{ value: bigint }>(['n'])).value?.value).toBe(1n);
  });
});
