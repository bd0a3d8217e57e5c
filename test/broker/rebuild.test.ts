import { describe, expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import type { Broker } from '#holdfast/broker/broker.js';
import { Client } from '#holdfast/client/client.js';
import { KIND, Layout } from '#holdfast/machine/layout.js';
import type { Link } from '#holdfast/model/link.js';
import { seededRandom } from '#holdfast/model/random.js';
import { createMemoryDisk, type MemoryDisk, openMemoryStore } from '#holdfast/store/memory.js';
import { StoreError } from 'holdfast';
import type { Store } from '#holdfast/store/store.js';
import { encodeHello, FRAME } from '#holdfast/wire/frames.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { startBroker } from '../helpers/brokers.ts';
import { ManualClock, settled } from '../helpers/manual-clock.ts';

type Fault = 'aborted' | 'applied' | 'absent' | 'full';

/** A broker on a disk in memory whose commits fail on demand. */
interface Rig {
  readonly clock: ManualClock;
  readonly disk: MemoryDisk;
  readonly broker: Broker;
  /** The faults of the next commits, one each. */
  readonly faults: Fault[];
  readonly log: string[];
  readonly connect: () => Promise<Holdfast>;
  readonly link: () => Link;
  /** How many links were made so far. */
  readonly links: () => number;
}

async function start(disk: MemoryDisk = createMemoryDisk()): Promise<Rig> {
  const clock = new ManualClock();
  const faults: Fault[] = [];
  const log: string[] = [];
  const random = seededRandom(5);
  const broker = await startBroker(clock, {
    openStore: async () => failing(openMemoryStore({ disk }), faults),
    random,
    log: ({ message }) => log.push(message),
  });
  let links = 0;
  const link = (): Link => {
    links += 1;
    const ends = localLink(clock);
    broker.accept(ends.broker, { lingerMs: Infinity, needsToken: 'never' });
    return ends.client;
  };
  const connect = async (): Promise<Holdfast> => {
    const client = new Client({ connect: async () => link(), host: 'host', clock, random });
    await client.open();
    return createHoldfast(client, async () => {});
  };
  return { clock, disk, broker, faults, log, connect, link, links: () => links };
}

/** The store, but for the faults. */
function failing(store: Store, faults: Fault[]): Store {
  const faulty = Object.create(store) as { -readonly [K in keyof Store]: Store[K] };
  let broken = false;
  faulty.commit = async (...commit) => {
    if (broken) throw new StoreError('STORE_FAILED', 'aborted', 'Broken already');
    const fault = faults.shift();
    if (fault === undefined || fault === 'applied') await store.commit(...commit);
    if (fault === undefined) return;
    broken = true;
    if (fault === 'full') throw new StoreError('STORE_FULL', 'aborted', 'Full as planned');
    throw new StoreError('STORE_FAILED', fault === 'aborted' ? 'aborted' : 'unknown', 'Failed as planned');
  };
  for (const method of ['leader', 'acquire', 'get', 'range', 'freeBytes', 'close', 'renew', 'resolve'] as const) {
    faulty[method] = store[method].bind(store) as never;
  }
  Object.defineProperty(faulty, 'durability', { value: 'disk' });
  return faulty;
}

describe('a broker whose commit fails', () => {
  test.each<Fault>(['aborted', 'applied', 'absent', 'full'])(
    'rebuilds, and its clients notice nothing: nothing is lost, nothing is there twice (%s)',
    async (fault) => {
      const { clock, faults, log, connect } = await start();
      const hf = await connect();
      const channel = hf.channel<number>('mail');
      await channel.produce(0);
      const pending: Promise<unknown>[] = [];
      for (let i = 1; i <= 20; i++) {
        if (i % 5 === 0) faults.push(fault);
        pending.push(channel.produce(i));
        await settled(7);
        await clock.advance(3);
      }
      await clock.advance(5_000);
      await Promise.all(pending);
      expect(log).toContain('The store is open again');
      expect((await channel.list('ready', { limit: 100 })).map(({ message }) => message)).toEqual(
        Array.from({ length: 21 }, (_, i) => i),
      );
    },
  );

  test.each<Fault>(['aborted', 'applied', 'absent'])('handlers that run keep their messages (%s)', async (fault) => {
    const { clock, faults, connect } = await start();
    const hf = await connect();
    const channel = hf.channel<number, number>('mail');
    const seen: number[] = [];
    let finish = (): void => {};
    await channel.consume(async (number, { tx }) => {
      seen.push(number);
      tx.produce(follow, number);
      if (number === 1) {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
      }
      return number * 2;
    });
    const follow = hf.channel<number>('follow');
    const { id } = await channel.produce(1);
    await settled();
    faults.push(fault);
    void channel.produce(2);
    await clock.advance(5_000);
    faults.push(fault);
    finish();
    await clock.advance(5_000);
    expect(await channel.result(id)).toBe(2);
    expect(seen).toEqual([1, 2]);
    expect(await channel.inspect()).toMatchObject({ completed: 2, ready: 0, leased: 0 });
    expect(await follow.inspect()).toMatchObject({ ready: 2 });
  });

  test.each<Fault>(['aborted', 'applied', 'absent'])('a request gets its result all the same (%s)', async (fault) => {
    const { clock, faults, connect } = await start();
    const hf = await connect();
    const channel = hf.channel<number, number>('mail');
    await channel.inspect();
    faults.push(fault);
    const result = channel.request(21);
    await clock.advance(1_000);
    faults.push(fault);
    await channel.consume((number) => number * 2);
    await clock.advance(5_000);
    expect(await result).toBe(42);
  });

  test('a client that only asked and looked goes on after the rebuild', async () => {
    const { clock, faults, connect } = await start();
    const hf = await connect();
    const channel = hf.channel<number>('mail');
    await channel.produce(1);
    for (let i = 0; i < 10; i++) await channel.inspect();
    faults.push('aborted');
    const produced = channel.produce(2);
    await clock.advance(5_000);
    await produced;
    expect(await channel.inspect()).toMatchObject({ ready: 2 });
  });

  test('that is deposed stops, writes nothing, and its clients look for the next one', async () => {
    const { clock, disk, broker, connect, links } = await start();
    const hf = await connect();
    const channel = hf.channel<number>('mail');
    await channel.consume(() => {});
    await channel.inspect();
    const { leadership } = disk;
    if (leadership === undefined) throw new Error('Nobody leads');
    disk.leadership = { ...leadership, epoch: { number: 99, nonce: 'f'.repeat(32) } };
    const before = disk.lastCommit;
    const rejected = expect(channel.produce(1)).rejects.toMatchObject({ code: 'CLOSED' });
    await clock.advance(60_000);
    expect(broker.failure).toMatchObject({ code: 'FENCED' });
    expect(disk.lastCommit).toBe(before);
    expect(links()).toBeGreaterThan(10);
    const closed = hf.close();
    await clock.advance(6_000);
    await closed;
    await rejected;
  });
});

describe('a corrupt record', () => {
  test('stops the start with STORE_CORRUPT', async () => {
    const { disk, connect, broker } = await start();
    const hf = await connect();
    await hf.channel<number>('mail').produce(1);
    await hf.close();
    await broker.close();
    const layout = new Layout('default');
    for (const { key, value } of Array.from(disk.entries.items(layout.range(KIND.live)))) {
      disk.entries.put(key, Uint8Array.from(value.subarray(0, value.length - 1)));
    }
    await expect(start(disk)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  });

  test('that is missing when its message is delivered stops the broker, and all calls reject with STORE_CORRUPT', async () => {
    const before = await start();
    const producer = await before.connect();
    await producer.channel<number>('mail').produce(1);
    await producer.close();
    await before.broker.close();
    const layout = new Layout('default');
    before.disk.entries.clear(layout.key(KIND.pack), layout.key(KIND.notes));
    const { connect, broker } = await start(before.disk);
    const hf = await connect();
    const channel = hf.channel<number>('mail');
    const consumer = await channel.consume(() => {});
    await expect(consumer.stopped).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    expect(broker.failure).toMatchObject({ code: 'STORE_CORRUPT' });
    await expect(channel.produce(2)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    await expect(connect()).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  });
});

describe('a client that sends garbage', () => {
  const hello = (): Uint8Array<ArrayBuffer> =>
    encodeHello({ session: 'a'.repeat(32), host: 'stranger', token: '', needsToken: 'never' });

  test.each<[string, () => Uint8Array<ArrayBuffer>[]]>([
    ['an unknown frame', () => [Uint8Array.of(99, 1, 2)]],
    ['an empty frame', () => [new Uint8Array(0)]],
    ['a request before HELLO', () => [Uint8Array.of(FRAME.requests, 0, 2, 1, 1, 1, 5)]],
    ['a broken request', () => [hello(), Uint8Array.of(FRAME.requests, 0, 1, 255)]],
    ['a request out of turn', () => [hello(), Uint8Array.of(FRAME.requests, 0, 4, 9, 0)]],
    ['a broken HELLO', () => [Uint8Array.of(FRAME.hello, 1, 5)]],
    ['a HELLO of another version', () => [Uint8Array.from([FRAME.hello, 77, ...new Uint8Array(17)])]],
  ])('loses its link, and others go on: %s', async (_name, frames) => {
    const { connect, link, broker } = await start();
    const hf = await connect();
    const channel = hf.channel<number>('mail');
    await channel.produce(1);
    const stranger = link();
    const heard: number[] = [];
    let isOpen = true;
    stranger.open({
      frame: (bytes) => heard.push(bytes[0] as number),
      closed: () => {
        isOpen = false;
      },
    });
    for (const frame of frames()) stranger.send(frame);
    await settled();
    expect(isOpen).toBe(false);
    expect(heard.at(-1)).toBe(FRAME.goodbye);
    await channel.produce(2);
    expect(await channel.inspect()).toMatchObject({ ready: 2 });
    expect(broker.failure).toBeUndefined();
  });

  test('cannot hang the broker by confirming what was never asked', async () => {
    const { connect, link } = await start();
    const hf = await connect();
    const stranger = link();
    stranger.open({ frame: () => {}, closed: () => {} });
    stranger.send(hello());
    stranger.send(Uint8Array.of(FRAME.requests, 255, 255, 255, 255, 255, 255, 255, 15));
    await settled();
    await hf.channel<number>('mail').produce(1);
  });
});
