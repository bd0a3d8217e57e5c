import { describe, expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import { Broker } from '#holdfast/broker/broker.js';
import { Client } from '#holdfast/client/client.js';
import { systemClock } from '#holdfast/model/clock.js';
import { systemRandom } from '#holdfast/model/random.js';
import { createMemoryDisk, type MemoryDisk, openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { StoreError } from 'holdfast';
import { localLink } from '#holdfast/wire/local-link.js';
import { withBodyOfLoad } from '../helpers/body-of-load.ts';
import { brokerOptions, connectTo, startBroker } from '../helpers/brokers.ts';
import { untilTrue } from '../helpers/until-true.ts';

/** A disk on which `count` messages wait in "mail". */
async function filledDisk(count: number): Promise<MemoryDisk> {
  const disk = createMemoryDisk();
  const broker = await startBroker(systemClock, { openStore: async () => openMemoryStore({ disk }) });
  const hf = await connect(broker);
  const messages = Array.from({ length: count }, (_, i) => i);
  await hf.channel<number>('mail').produceAll(messages);
  await hf.channel<number>('once', { process: 'exactlyOnce' }).produce(1);
  await hf.close();
  await broker.close();
  return disk;
}

async function connect(broker: Broker, withinMs: number = 0): Promise<Holdfast> {
  const client = await connectTo(broker, { clock: systemClock, random: systemRandom, withinMs });
  return createHoldfast(client, async () => {});
}

/** A store whose load stands still behind the first chunk of its body until it is let go. */
function slow(store: Store, go: Promise<void>): Store {
  return withBodyOfLoad(store, async function* (body) {
    for await (const chunk of body) {
      yield chunk;
      await go;
    }
  });
}

async function startSlowly(disk: MemoryDisk): Promise<{ broker: Broker; started: Promise<void>; go: () => void }> {
  let go = (): void => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  let serving = (): void => {};
  const served = new Promise<void>((resolve) => (serving = resolve));
  const broker = new Broker({
    ...brokerOptions(systemClock),
    openStore: async () => slow(openMemoryStore({ disk }), gate),
    onServing: () => serving(),
  });
  const started = broker.start();
  await served;
  return { broker, started, go };
}

describe('a broker that is still loading', () => {
  test('stores messages, and hands everything out in order when it is done', async () => {
    const { broker, started, go } = await startSlowly(await filledDisk(300));
    const hf = await connect(broker);
    const mail = hf.channel<number>('mail');
    await mail.produce(300);
    await mail.produceAll([301, 302]);

    // What is asked of the whole backlog waits, with all that the same session asks behind it.
    const other = await connect(broker);
    const inspected = other.channel('mail').inspect();
    const handled: number[] = [];
    const consumer = mail.consume((n) => void handled.push(n));
    await mail.produce(303);
    expect(await Promise.race([inspected, mail.produce(304).then(() => 'produced first')])).toBe('produced first');
    go();
    await started;
    expect((await inspected).totals.produced).toBe(305);
    while (handled.length < 305) await other.channel('mail').inspect();
    expect(handled).toEqual(Array.from({ length: 305 }, (_, i) => i));
    await (await consumer).close();
    await Promise.all([hf.close(), other.close()]);
    await broker.close();
  });

  test('keeps what it stored meanwhile when it ends before it is done', async () => {
    const disk = await filledDisk(300);
    const { broker, started, go } = await startSlowly(disk);
    const hf = await connect(broker);
    await hf.channel<number>('mail').produceAll([300, 301]);
    const closed = broker.close();
    go();
    await Promise.all([closed, started]);
    await hf.close();

    const again = await startBroker(systemClock, { openStore: async () => openMemoryStore({ disk }) });
    const later = await connect(again);
    expect((await later.channel('mail').inspect()).ready).toBe(302);
    await later.close();
  });

  test('starts anew when a commit fails meanwhile, and does not mind that the load ends with its store', async () => {
    const disk = await filledDisk(300);
    let stores = 0;
    let fail = (_error: Error): void => {};
    const broken = new Promise<void>((_, reject) => (fail = reject));
    broken.catch(() => {});
    const broker = new Broker({
      ...brokerOptions(systemClock),
      openStore: async () => {
        stores += 1;
        if (stores > 1) return openMemoryStore({ disk });
        const store = openMemoryStore({ disk });
        const close = store.close.bind(store);
        store.commit = async () => {
          throw new StoreError('STORE_FAILED', 'aborted', 'Failed as planned');
        };
        store.close = async () => {
          await close();
          fail(new StoreError('STORE_FAILED', 'aborted', 'The store is closed'));
        };
        return slow(store, broken);
      },
    });
    const started = broker.start();
    const hf = await connect(broker, 10_000);
    await hf.channel<number>('mail').produce(300);
    await started;
    expect((await hf.channel('mail').inspect()).ready).toBe(301);
    expect(stores).toBe(2);
    await hf.close();
    await broker.close();
  });

  test('hears what a client holds before it hands it anything, although the client waits for entries of KV', async () => {
    const disk = await filledDisk(0);
    let load = (): void => {};
    const loads = new Promise<void>((resolve) => (load = resolve));
    let fail: ((error: Error) => void) | undefined;
    const reads: { readonly key: string; readonly go: () => void }[] = [];
    const keyOf = (text: string): Uint8Array => Buffer.from(`\u0002${text}\0`);
    const hold = async (store: Store): Promise<Store> => {
      const get = store.get.bind(store);
      store.get = async (epoch, keys) => {
        const [key] = keys;
        if (key !== undefined) await new Promise<void>((go) => reads.push({ key: Buffer.from(key).toString(), go }));
        return get(epoch, keys);
      };
      return slow(store, loads);
    };
    let stores = 0;
    const broker = await startBroker(systemClock, {
      openStore: async () => {
        stores += 1;
        const store = openMemoryStore({ disk });
        if (stores > 1) return hold(store);
        store.get = (_epoch, keys) =>
          keys.length === 0 ? Promise.resolve([]) : new Promise((_, reject) => (fail = reject));
        return store;
      },
    });
    const read = (key: string): Promise<void> => untilTrue(() => reads.some((one) => one.key.includes(key)));
    const release = (key: string): void => reads.find((one) => one.key.includes(key))?.go();
    let welcomes = 0;
    const client = new Client({
      connect: async () => {
        const ends = localLink(systemClock);
        welcomes += 1;
        broker.accept(ends.broker, { lingerMs: Infinity, needsToken: 'never' });
        return ends.client;
      },
      host: 'host',
      clock: systemClock,
      random: systemRandom,
    });
    await client.open();
    const hf = createHoldfast(client, async () => {});
    const mail = hf.channel<string>('mail');
    const handled: string[] = [];
    const consumer = await mail.consume((text) => void handled.push(text));
    // This waits for an entry when the store fails, and again under the lead that follows.
    const first = client.request({
      kind: 'kvCommit',
      checks: [{ key: keyOf('first'), version: 0 }],
      mutations: [],
      produced: [],
    });
    await untilTrue(() => fail !== undefined);
    fail?.(new StoreError('STORE_FAILED', 'aborted', 'Failed as planned'));
    await read('first');
    expect(welcomes).toBe(2);
    const second = client.request({ kind: 'kvRead', keys: [keyOf('second')], ranges: [] });
    const other = await connect(broker);
    await other.channel<string>('mail').produce('hello');
    load();
    await other.channel<string>('mail').inspect();
    release('first');
    await first;
    await read('second');
    release('second');
    await second;
    await untilTrue(() => handled.length > 0);
    await consumer.drain();
    expect(await mail.inspect()).toMatchObject({ completed: 1, totals: { redelivered: 0 } });
    expect(handled).toEqual(['hello']);
    await Promise.all([hf.close(), other.close()]);
  });

  test('lets a message wait whose key may be known', async () => {
    const { broker, started, go } = await startSlowly(await filledDisk(10));
    const hf = await connect(broker);
    const other = await connect(broker);
    let answered = false;
    const receipt = hf
      .channel<number>('once', { process: 'exactlyOnce' })
      .produce(1)
      .then((given) => {
        answered = true;
        return given;
      });
    await other.channel<number>('mail').produce(10);
    expect(answered).toBe(false);
    go();
    await started;
    expect(await receipt).toMatchObject({ deduplicated: true });
    await Promise.all([hf.close(), other.close()]);
    await broker.close();
  });
});
