import { onTestFinished, describe, expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import { Client } from '#holdfast/client/client.js';
import { Member } from '#holdfast/host/member.js';
import { seededRandom } from '#holdfast/model/random.js';
import type { Store } from '#holdfast/store/store.js';
import { FaultyDisk } from '#holdfast/testing/faulty-store.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { StoreError } from 'holdfast';
import { TestClock } from 'holdfast/testing';
import { withBodyOfLoad } from '../helpers/body-of-load.ts';

interface Rig {
  readonly clock: TestClock;
  readonly disk: FaultyDisk;
  readonly hf: Holdfast;
  /** So many takeovers fail from now on. */
  readonly failTakeovers: (count: number) => void;
  /** So many loads fail from now on, when what needs no backlog is served already. */
  readonly failLoads: (count: number) => void;
  /** How many loads have failed. */
  readonly failedLoads: () => number;
}

/** The store, of which loads fail in their body where `fails` says so. */
function failingInBody(store: Store, fails: () => boolean): Store {
  return withBodyOfLoad(store, async function* (body) {
    if (fails()) throw new StoreError('STORE_FAILED', 'aborted', 'Failed as planned');
    yield* body;
  });
}

/** A member that finds nobody else, and a client of its process. */
async function start(): Promise<Rig> {
  let failing = 0;
  let failingLoads = 0;
  let failedLoads = 0;
  const failsLoad = (): boolean => {
    if (failingLoads === 0) return false;
    failingLoads -= 1;
    failedLoads += 1;
    return true;
  };
  const clock = new TestClock();
  const random = seededRandom(5);
  const disk = new FaultyDisk({ clock, random, commitMs: [0, 0] });
  const place = {
    name: 'the test',
    openStore: async () => {
      if (failing-- > 0) disk.failNextCommit('aborted');
      return failingInBody(disk.open(), failsLoad);
    },
    listen: async () => ({ address: 'here', close: async () => {} }),
    dial: () => Promise.reject(new Error('Nobody is there')),
    isLive: async () => false,
    isFree: async () => {},
    traits: { lingerMs: 0, needsToken: 'never' },
  } as const;
  const options = {
    target: { kind: 'memory' },
    space: 'default',
    host: 'host',
    reserveBytes: 0,
    sessionTimeoutMs: 30_000,
  } as const;
  const member = new Member(place, options, { clock, random, log: () => {} });
  await member.start();
  onTestFinished(() => member.close());
  const connect = async (): Promise<ReturnType<typeof localLink>['client']> => {
    const ends = localLink(clock);
    member.accept(ends.broker);
    return ends.client;
  };
  const client = new Client({ connect, host: 'host', clock, random });
  await client.open();
  return {
    clock,
    disk,
    hf: createHoldfast(client, async () => {}),
    failTakeovers: (count) => (failing = count),
    failLoads: (count) => (failingLoads = count),
    failedLoads: () => failedLoads,
  };
}

describe('a member that leads no more', () => {
  /** Another one has taken the lead, and is gone. */
  async function depose(disk: FaultyDisk): Promise<void> {
    const other = disk.open();
    await other.acquire('elsewhere', await other.leader());
  }

  test('takes over again, though the store fails at first', async () => {
    const { clock, disk, hf, failTakeovers } = await start();
    const channel = hf.channel<number>('mail');
    await depose(disk);
    failTakeovers(2);
    const produced = channel.produce(1);
    await clock.advance('5s');
    expect(await produced).toMatchObject({ deduplicated: false });
    expect(await channel.inspect()).toMatchObject({ ready: 1 });
  });

  test('takes over again, though the store fails while it is loaded', async () => {
    const { clock, disk, hf, failLoads, failedLoads } = await start();
    const channel = hf.channel<number>('mail');
    await channel.produce(1);
    await depose(disk);
    failLoads(3);
    const produced = channel.produce(2);
    await clock.advance('10s');
    expect(await produced).toMatchObject({ deduplicated: false });
    expect(await channel.inspect()).toMatchObject({ ready: 2 });
    expect(failedLoads()).toBe(3);
  });

  test('says so when the store fails again and again while it is loaded', async () => {
    const { clock, disk, hf, failLoads, failedLoads } = await start();
    await depose(disk);
    failLoads(Infinity);
    const inspected = expect(hf.channel<number>('mail').inspect()).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await clock.advance('60s');
    await inspected;
    // Once at the takeover, and then as often as a store is opened again.
    expect(failedLoads()).toBe(7);
  });

  test('says so when the store fails again and again', async () => {
    const { clock, disk, hf, failTakeovers } = await start();
    await depose(disk);
    failTakeovers(Infinity);
    const produced = expect(hf.channel<number>('mail').produce(1)).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await clock.advance('20s');
    await produced;
  });
});
