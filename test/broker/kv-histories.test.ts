import { checkLinearizable, type KvAction, type KvAnswer, type KvOperation } from 'holdfast/testing';
import { expect, test } from 'vitest';
import { Broker } from '#holdfast/broker/broker.js';
import type { Client } from '#holdfast/client/client.js';
import { KV_ENCODING, type KvMutation, type KvRecord } from '#holdfast/model/kv.js';
import { encodeKvKey } from '#holdfast/model/kv-key.js';
import { type Random, seededRandom } from '#holdfast/model/random.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { brokerOptions, connectTo } from '../helpers/brokers.ts';
import { ManualClock, settled } from '../helpers/manual-clock.ts';

const HISTORIES = 500;
const CLIENTS = 4;
const OPERATIONS = 6;
const KEYS = ['x', 'y', 'n'];

/** A store whose reads and commits take random times. */
function slow(store: Store, random: Random): Store {
  const [get, commit] = [store.get.bind(store), store.commit.bind(store)];
  const wait = (): Promise<void> => settled(Math.floor(random.fraction() * 4));
  return Object.assign(store, {
    async get(...given: Parameters<Store['get']>) {
      await wait();
      const values = await get(...given);
      await wait();
      return values;
    },
    async commit(...given: Parameters<Store['commit']>) {
      await wait();
      await commit(...given);
      await wait();
    },
  });
}

/** What clients have asked for and heard, all of them at a time, as it follows from the seed. */
async function historyOf(seed: number): Promise<KvOperation[]> {
  const random = seededRandom(seed * 2_654_435_761);
  const below = (limit: number): number => Math.floor(random.fraction() * limit);
  const clock = new ManualClock();
  const broker = new Broker({
    ...brokerOptions(clock),
    openStore: async () => slow(openMemoryStore({ random }), random),
    entryCacheBytes: [0, 600, undefined][below(3)],
  });
  await broker.start();
  const history: KvOperation[] = [];
  let moment = 0;
  let unique = 0;
  const connect = (): Promise<Client> => connectTo(broker, { clock, random, lingerMs: 0 });
  const work = async (client: Client): Promise<void> => {
    const known = new Map<string, KvRecord | undefined>();
    const running: Promise<void>[] = [];
    const ask = async (action: KvAction, asked: () => Promise<KvAnswer>): Promise<void> => {
      const calledAt = moment++;
      const answer = await asked();
      history.push({ calledAt, answeredAt: moment++, action, answer });
    };
    const read = (keys: readonly string[]): Promise<void> =>
      ask({ kind: 'read', keys }, async () => {
        const reply = await client.request({ kind: 'kvRead', keys: keys.map(bytesOf), ranges: [] });
        if (reply.kind !== 'kvRead') throw new Error(`Not read: ${reply.kind}`);
        reply.entries.forEach((entry, i) => known.set(keys[i] as string, entry));
        return { kind: 'read', entries: reply.entries.map((entry) => entry && { value: textOf(entry) }) };
      });
    const commit = (checked: readonly string[], mutations: readonly KvMutation[]): Promise<void> => {
      const seen = checked.map((key) => [key, known.get(key)] as const);
      const action: KvAction = {
        kind: 'commit',
        checks: seen.map(([key, entry]) => ({ key, value: entry && textOf(entry) })),
        changes: mutations.map(changeOf),
      };
      const checks = seen.map(([key, entry]) => ({ key: bytesOf(key), version: entry?.version ?? 0 }));
      return ask(action, async () => {
        const reply = await client.request({ kind: 'kvCommit', checks, mutations, produced: [] });
        return { kind: reply.kind === 'kvCommitted' ? 'committed' : 'conflict' };
      });
    };
    for (let i = 0; i < OPERATIONS; i++) {
      const key = KEYS[below(2)] as string;
      const step = [
        () => read(KEYS.slice(0, 1 + below(3))),
        () => commit([], [set(key, ++unique), increment()]),
        () => commit([], [{ kind: 'delete', key: bytesOf(key) }]),
        async () => {
          await read([key]);
          await commit([key], [set(key, ++unique), ...(below(2) === 0 ? [set('x', ++unique)] : [])]);
        },
        async () => {
          await read(['x', 'y']);
          await commit(['x', 'y'], [set(key, ++unique)]);
        },
      ][below(5)] as () => Promise<void>;
      // Now and then a client asks for the next thing before it hears of the last.
      running.push(step());
      if (below(3) > 0) await running.at(-1);
    }
    await Promise.all(running);
  };
  const clients = await Promise.all(Array.from({ length: CLIENTS }, connect));
  await Promise.all(clients.map(work));
  await broker.close();
  return history;
}

const bytesOf = (key: string): Uint8Array => encodeKvKey([key]);
const textOf = ({ bytes }: { readonly bytes: Uint8Array }): string => String(Buffer.from(bytes).readBigUInt64LE());

function numberOf(number: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(number));
  return bytes;
}

function set(key: string, number: number): KvMutation {
  const value = { encoding: KV_ENCODING.u64, bytes: numberOf(number) };
  return { kind: 'set', key: bytesOf(key), value, expireInMs: undefined, isStamped: false };
}

function increment(): KvMutation {
  return {
    kind: 'sum',
    key: bytesOf('n'),
    value: { encoding: KV_ENCODING.u64, bytes: numberOf(1) },
    limits: undefined,
  };
}

function changeOf(mutation: KvMutation): Extract<KvAction, { kind: 'commit' }>['changes'][number] {
  const key = KEYS.find((one) => Buffer.compare(bytesOf(one), mutation.key) === 0) as string;
  if (mutation.kind === 'delete') return { kind: 'delete', key };
  const value = textOf(mutation.value);
  return mutation.kind === 'set' ? { kind: 'set', key, value } : { kind: 'sum', key, by: BigInt(value) };
}

test(`${HISTORIES} seeded histories of clients at the same entries are linearizable, by their values alone`, async () => {
  let conflicts = 0;
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const history = await historyOf(seed);
    expect(checkLinearizable(history), `seed ${seed}`).toEqual({ verdict: 'linearizable' });
    conflicts += history.filter(({ answer }) => answer?.kind === 'conflict').length;
  }
  expect(conflicts).toBeGreaterThan(HISTORIES);
});
