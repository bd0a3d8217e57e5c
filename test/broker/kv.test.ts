import { describe, expect, test } from 'vitest';
import type { Client } from '#holdfast/client/client.js';
import type { KvCommit, Reply } from '#holdfast/model/command.js';
import { KV_ENCODING, type KvCheck, type KvMutation } from '#holdfast/model/kv.js';
import { seededRandom } from '#holdfast/model/random.js';
import { connectTo, startBroker } from '../helpers/brokers.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { slowStore, type Watched } from '../helpers/slow-store.ts';

interface Rig {
  readonly watched: Watched;
  readonly connect: (seed: number) => Promise<Client>;
}

async function start(): Promise<Rig> {
  const clock = new ManualClock();
  const watched = slowStore();
  const broker = await startBroker(clock, { openStore: async () => watched.store });
  const connect = (seed: number): Promise<Client> =>
    connectTo(broker, { clock, random: seededRandom(seed), lingerMs: 0 });
  return { watched, connect };
}

const keyOf = (text: string | number): Uint8Array => Buffer.from(`\u0002${text}\0`);

function set(key: string | number, value: number): KvMutation {
  const bytes = Buffer.from([value & 0xff, value >> 8]);
  return {
    kind: 'set',
    key: keyOf(key),
    value: { encoding: KV_ENCODING.bytes, bytes },
    expireInMs: undefined,
    isStamped: false,
  };
}

function increment(key: string | number): KvMutation {
  const one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
  return { kind: 'sum', key: keyOf(key), value: { encoding: KV_ENCODING.u64, bytes: one }, limits: undefined };
}

function commit(client: Client, mutations: readonly KvMutation[], checks: readonly KvCheck[] = []): Promise<Reply> {
  const command: KvCommit = { kind: 'kvCommit', checks, mutations, produced: [] };
  return client.request(command);
}

async function read(client: Client, key: string | number): Promise<{ value: number; version: number }> {
  const reply = await client.request({ kind: 'kvRead', keys: [keyOf(key)], ranges: [] });
  if (reply.kind !== 'kvRead') throw new Error(`Not read: ${reply.kind}`);
  const [entry] = reply.entries;
  if (entry === undefined) return { value: 0, version: 0 };
  return { value: (entry.bytes[0] as number) + (entry.bytes[1] as number) * 256, version: entry.version };
}

describe('KV of many clients', () => {
  test('loses no increment that reads, checks and writes', async () => {
    const { connect } = await start();
    const clients = await Promise.all([1, 2, 3, 4, 5].map(connect));
    let conflicts = 0;
    const work = clients.map(async (client) => {
      for (let done = 0; done < 40;) {
        const { value, version } = await read(client, 'n');
        const reply = await commit(client, [set('n', value + 1), increment('sum')], [{ key: keyOf('n'), version }]);
        if (reply.kind === 'kvCommitted') done += 1;
        else conflicts += 1;
      }
    });
    await Promise.all(work);
    expect(conflicts).toBeGreaterThan(0);
    expect((await read(clients[0] as Client, 'n')).value).toBe(200);
    expect((await read(clients[0] as Client, 'sum')).value).toBe(200);
  });

  test('keeps the order of what one client asks for at once, and reads its own writes', async () => {
    const { connect } = await start();
    const client = await connect(1);
    const answers: Promise<{ value: number }>[] = [];
    for (let i = 1; i <= 300; i++) {
      commit(client, [set(i % 7, i), increment('sum')]).catch(() => {});
      answers.push(read(client, i % 7));
    }
    const values = (await Promise.all(answers)).map(({ value }) => value);
    expect(values).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    expect((await read(client, 'sum')).value).toBe(300);
  });

  test('gives every commit a version of its own, in their order', async () => {
    const { connect } = await start();
    const clients = await Promise.all([1, 2, 3].map(connect));
    const versions = await Promise.all(
      clients.map((client) =>
        Promise.all(
          Array.from({ length: 50 }, async (_, i) => {
            const reply = await commit(client, [set(i % 3, i)]);
            return reply.kind === 'kvCommitted' ? reply.version : 0;
          }),
        ),
      ),
    );
    for (const own of versions) expect(own).toEqual(own.toSorted((a, b) => a - b));
    expect(new Set(versions.flat()).size).toBe(150);
  });

  test('reads the entries of commands that wait in a few steps, and what is known not at all', async () => {
    const { connect, watched } = await start();
    const client = await connect(1);
    const before = { ...watched };
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => commit(client, [increment(i)], [{ key: keyOf(i), version: 0 }])),
    );
    // For the first alone, for sixteen more, for the rest.
    expect(watched.reads - before.reads).toBeLessThanOrEqual(3);
    expect(watched.commits - before.commits).toBeLessThanOrEqual(3);
    const known = watched.reads;
    await Promise.all(Array.from({ length: 200 }, (_, i) => commit(client, [increment(i)])));
    expect((await read(client, 7)).value).toBe(2);
    expect(watched.reads).toBe(known);
  });

  test('reads no more ahead when the entries are large', async () => {
    const { connect, watched } = await start();
    const [writer, client] = await Promise.all([connect(1), connect(2)] as const);
    const large = { encoding: KV_ENCODING.bytes, bytes: new Uint8Array(600_000) };
    const names = Array.from({ length: 80 }, (_, i) => `large ${i}`);
    const version = new Map<string, number>();
    for (const name of names) {
      const mutation = {
        kind: 'set',
        key: keyOf(name),
        value: large,
        expireInMs: undefined,
        isStamped: false,
      } as const;
      const reply = await commit(writer, [mutation]);
      version.set(name, reply.kind === 'kvCommitted' ? reply.version : 0);
    }
    const before = watched.keysRead;
    const checked = names.map((name) => commit(client, [], [{ key: keyOf(name), version: version.get(name) ?? 0 }]));
    await Promise.race(checked);
    expect(watched.keysRead - before).toBeLessThan(40);
    expect((await Promise.all(checked)).every(({ kind }) => kind === 'kvCommitted')).toBe(true);
  });

  test('lists what was there at one moment while others write, and goes on behind it', async () => {
    const { connect } = await start();
    const [reader, writer] = await Promise.all([connect(1), connect(2)] as const);
    const name = (i: number): string => String(i).padStart(3, '0');
    await commit(
      writer,
      Array.from({ length: 100 }, (_, i) => set(name(i), 1)),
    );
    let goesOn = true;
    const writing = (async () => {
      // Each commit moves one entry: at every moment there are a hundred.
      for (let i = 0; goesOn; i++) {
        const [from, to] =
          i % 2 === 0 ? [name(i % 100), `${name(i % 100)}x`] : [`${name((i - 1) % 100)}x`, name((i - 1) % 100)];
        await commit(writer, [{ kind: 'delete', key: keyOf(from) }, set(to, 1)]);
      }
    })();
    for (let i = 0; i < 30; i++) {
      for (const reverse of [false, true]) {
        const range = { from: Uint8Array.of(2), to: Uint8Array.of(3), limit: 1_000, reverse };
        const reply = await reader.request({ kind: 'kvRead', keys: [], ranges: [range] });
        if (reply.kind !== 'kvRead') throw new Error(`Not read: ${reply.kind}`);
        const keys = (reply.pages[0]?.entries ?? []).map(({ key }) => Buffer.from(key).toString());
        expect(keys).toHaveLength(100);
        expect(keys).toEqual(reverse ? keys.toSorted().reverse() : keys.toSorted());
      }
      const part = { from: Uint8Array.of(2), to: Uint8Array.of(3), limit: 10, reverse: false };
      const reply = await reader.request({ kind: 'kvRead', keys: [], ranges: [part] });
      if (reply.kind !== 'kvRead') throw new Error(`Not read: ${reply.kind}`);
      expect(reply.pages[0]?.entries.length).toBeGreaterThanOrEqual(9);
      expect(reply.pages[0]?.isEnd).toBe(false);
    }
    goesOn = false;
    await writing;
  });
});
