/** What users and handlers do with KV. */
import type { HandlerContext } from '../../api/handler-context.ts';
import type { Transaction } from '../../api/transaction.ts';
import { blocksOf } from '../../client/client.ts';
import { KvU64 } from '../../codec/kv-u64.ts';
import { encodeKvValue } from '../../codec/v8.ts';
import type { Command, KvCommit, Reply } from '../../model/command.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { KvCheck, KvMutation, KvRange } from '../../model/kv.ts';
import { encodeKvKey, type KvKey } from '../../model/kv-key.ts';
import { messageIdText } from '../../model/message-id.ts';
import type { Chance } from './chance.ts';
import { canonical, keyText } from './commit-content.ts';
import type { OpenChannel, Workplace, World } from './world.ts';

/**
 * Entries are few, so that clients meet: `k` are set, deleted and checked, `c` and `b` are added to, `e` expire, and `m` are
 * lowered and raised. Those of `gone` expire, and nobody reads them but with ranges.
 */
const SPACES = ['k', 'c', 'e', 'm'] as const;
const KEYS = 4;
const BURST = 8;

/** A range of one of these spaces. */
const RANGED = ['k', 'e', 'gone', 'undelivered'] as const;

/** How often a user tries what can never be done: that takes a hundred commits. */
const STUBBORN = 0.004;

export async function workOnEntries(worker: Workplace, open: OpenChannel): Promise<void> {
  const { chance, client } = worker;
  if (client === undefined) return;
  if (chance.happens(STUBBORN)) return conflictForEver(worker);
  switch (chance.whole(0, 12)) {
    case 0:
    case 1:
      return read(worker);
    case 2:
    case 3:
      return checkAndSet(worker, open);
    case 4:
    case 5:
      return change(worker);
    case 6:
      return burst(worker);
    case 7:
      return expire(worker);
    case 10:
      return crowd(worker);
    case 8:
    case 9:
      return worker.produceWithKeys(open, worker.sim.newContent(chance.happens(0.7) ? 'throws' : undefined));
    default:
      return transact(worker, open);
  }
}

/** Reads and writes with the ack; all of it must be there exactly if the ack is. */
export async function workOnEntriesWithAck(worker: Workplace, { tx }: Pick<HandlerContext, 'tx'>): Promise<void> {
  const { chance, process } = worker;
  if (chance.happens(0.7)) {
    const key = plainKey(chance);
    const { value } = await tx.get<number>(key);
    if (chance.happens(0.5)) await process.sleep(chance.until(100));
    if (chance.happens(0.3)) throw withoutStack(`It does not like ${value}`);
    if (chance.happens(0.8)) tx.set(key, worker.sim.newMarker());
    else tx.delete(key);
  }
  if (chance.happens(0.6)) tx.sum(['c', oneOfKeys(chance)], BigInt(chance.whole(1, 9)));
  if (chance.happens(0.3)) tx.set(['e', oneOfKeys(chance)], 1, { expireIn: chance.whole(0, 20_000) });
  mark(worker.sim, tx);
}

/** Every commit sets a key of its own. */
function mark(sim: World, tx: Transaction): string {
  const marker = String(sim.newMarker());
  tx.set(['op', marker], 0);
  return `op/${marker}/`;
}

async function read(worker: Workplace): Promise<void> {
  const { chance } = worker;
  const keys = Array.from({ length: chance.whole(0, 3) }, () => encodeKvKey(anyKey(chance)));
  const ranges = chance.happens(0.4) ? [rangeOf(chance)] : [];
  await request(worker, { kind: 'kvRead', keys, ranges });
}

function rangeOf(chance: Chance): KvRange {
  const from = encodeKvKey([chance.oneOf(RANGED)]);
  const to = Uint8Array.from([...from, 0xff]);
  return { from, to, limit: chance.oneOf([1, 2, 100]), reverse: chance.happens(0.5) };
}

/** Reads, and changes what it has read if that is still so; now and then it produces a message with it. */
async function checkAndSet(worker: Workplace, open: OpenChannel): Promise<void> {
  const { sim, chance, process } = worker;
  const keys = [anyKey(chance), plainKey(chance)].map(encodeKvKey);
  const reply = await request(worker, { kind: 'kvRead', keys, ranges: [] });
  if (reply?.kind !== 'kvRead') return;
  if (chance.happens(0.3)) await process.sleep(chance.until(300));
  const checks = keys.map((key, i): KvCheck => ({ key, version: reply.entries[i]?.version ?? 0 }));
  const set = setOf(keys[1] as Uint8Array, sim.newMarker());
  const mutations = chance.happens(0.2) ? [] : [set, ...someMutations(worker), marker(sim)];
  const produced = chance.happens(0.3) && mutations.length > 0 ? await blocksFor(worker, open, mutations) : [];
  await request(worker, { kind: 'kvCommit', checks, mutations, produced });
}

async function change(worker: Workplace): Promise<void> {
  const mutations = [...someMutations(worker), marker(worker.sim)];
  await request(worker, { kind: 'kvCommit', checks: [], mutations, produced: [] });
}

/** Asks for many changes at once, of an entry each. */
async function burst(worker: Workplace): Promise<void> {
  const { chance, sim } = worker;
  const count = chance.whole(2, BURST);
  await Promise.all(
    Array.from({ length: count }, (_, i) => {
      const mutations = [sumOf(['b', String(i)], chance), marker(sim)];
      return request(worker, { kind: 'kvCommit', checks: [], mutations, produced: [] });
    }),
  );
}

/** Lets all clients read and set the same entry at a time. */
async function crowd({ sim, chance }: Workplace): Promise<void> {
  const key = encodeKvKey(plainKey(chance));
  await Promise.all(
    [...sim.workers].map(async (worker) => {
      const reading = request(worker, { kind: 'kvRead', keys: [key], ranges: [] });
      const mutations = [setOf(key, sim.newMarker()), marker(sim)];
      await Promise.all([reading, request(worker, { kind: 'kvCommit', checks: [], mutations, produced: [] })]);
    }),
  );
}

async function expire(worker: Workplace): Promise<void> {
  const { chance, sim } = worker;
  const mutations: KvMutation[] = Array.from({ length: chance.whole(1, 4) }, () => {
    const key: KvKey = chance.happens(0.5) ? ['gone', String(sim.newMarker())] : ['e', oneOfKeys(chance)];
    return setOf(encodeKvKey(key), 1, chance.whole(0, 30_000));
  });
  mutations.push(marker(sim));
  await request(worker, { kind: 'kvCommit', checks: [], mutations, produced: [] });
}

async function transact(worker: Workplace, { plan, channel }: OpenChannel): Promise<void> {
  const { sim, chance, holdfast } = worker;
  const [from, to] = [plainKey(chance), anyKey(chance)];
  await settled(
    sim,
    holdfast?.transact(async (tx) => {
      await tx.get(from);
      if (chance.happens(0.5)) await tx.get(to);
      if (chance.happens(0.1)) throw withoutStack('It changed its mind');
      tx.set(from, sim.newMarker());
      if (chance.happens(0.5)) tx.sum(['c', oneOfKeys(chance)], 1n);
      const withMarker = mark(sim, tx);
      if (chance.happens(0.7)) return;
      const content = sim.newContent(undefined);
      const [id = ''] = worker.capture(() => tx.produce(channel, content));
      const key = plan.keys === 'none' ? '' : canonical(content);
      sim.called(worker, channel.name, [{ id, key, content: canonical(content) }], { marker: withMarker });
    }),
  );
}

/** A function that is always in its own way. */
async function conflictForEver(worker: Workplace): Promise<void> {
  const { sim, chance, holdfast } = worker;
  const key = plainKey(chance);
  await settled(
    sim,
    holdfast?.transact(async (tx) => {
      await tx.get(key);
      await request(worker, {
        kind: 'kvCommit',
        checks: [],
        mutations: [setOf(encodeKvKey(key), sim.newMarker()), marker(sim)],
        produced: [],
      });
      tx.set(key, sim.newMarker());
      mark(sim, tx);
    }),
  );
}

/** Waits for a transaction, which may fail as anything may. */
async function settled(sim: World, transaction: Promise<void> | undefined): Promise<void> {
  try {
    await transaction;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'CONFLICT') sim.reached('a transaction gives up');
    else if (error instanceof HoldfastError) sim.tolerate(error);
  }
}

async function blocksFor(
  worker: Workplace,
  { channel, plan }: OpenChannel,
  mutations: readonly KvMutation[],
): Promise<KvCommit['produced']> {
  const { sim, client } = worker;
  if (client === undefined) return [];
  const content = sim.newContent(undefined);
  const { ref, item } = await channel.prepare(client, content, undefined);
  const key = plan.keys === 'none' ? '' : canonical(content);
  const withMarker = keyText((mutations.at(-1) as KvMutation).key);
  sim.called(worker, channel.name, [{ id: messageIdText(item.id), key, content: canonical(content) }], {
    marker: withMarker,
  });
  return [{ kind: 'produce', ref, blocks: blocksOf([item]) }];
}

/** Asks, if there is a client to ask. */
async function request({ client }: Workplace, command: Command): Promise<Reply | undefined> {
  return client?.request(command);
}

function someMutations({ sim, chance }: Workplace): KvMutation[] {
  return Array.from({ length: chance.whole(1, 3) }, (): KvMutation => {
    switch (chance.whole(0, 5)) {
      case 0:
        return { kind: 'delete', key: encodeKvKey(plainKey(chance)) };
      case 1:
        return sumOf(['c', oneOfKeys(chance)], chance);
      case 2:
        return setOf(encodeKvKey(['e', oneOfKeys(chance)]), sim.newMarker(), chance.whole(0, 15_000));
      case 3: {
        const value = encodeKvValue(new KvU64(BigInt(chance.whole(1, 99))));
        return { kind: chance.oneOf(['min', 'max'] as const), key: encodeKvKey(['m', oneOfKeys(chance)]), value };
      }
      default:
        return setOf(encodeKvKey(plainKey(chance)), sim.newMarker());
    }
  });
}

function marker(sim: World): KvMutation {
  return setOf(encodeKvKey(['op', String(sim.newMarker())]), 0);
}

function setOf(key: Uint8Array, value: unknown, expireInMs?: number): KvMutation {
  return { kind: 'set', key, value: encodeKvValue(value), expireInMs, isStamped: false };
}

function sumOf(key: KvKey, chance: Chance): KvMutation {
  const value = encodeKvValue(new KvU64(BigInt(chance.whole(1, 9))));
  return { kind: 'sum', key: encodeKvKey(key), value, limits: undefined };
}

function plainKey(chance: Chance): KvKey {
  return ['k', oneOfKeys(chance)];
}

function anyKey(chance: Chance): KvKey {
  return [chance.oneOf(SPACES), oneOfKeys(chance)];
}

function oneOfKeys(chance: Chance): string {
  return String(chance.whole(0, KEYS - 1));
}

function withoutStack(message: string): Error {
  const error = new Error(message);
  delete error.stack;
  return error;
}
