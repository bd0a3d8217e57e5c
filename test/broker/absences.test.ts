import { expect, onTestFinished, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import { Client } from '#holdfast/client/client.js';
import type { Clock } from '#holdfast/model/clock.js';
import { HoldfastError } from '#holdfast/model/errors.js';
import type { Link } from '#holdfast/model/link.js';
import { seededRandom } from '#holdfast/model/random.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { TestClock } from 'holdfast/testing';
import { startBroker } from '../helpers/brokers.ts';

const PATIENCE_MS = 4_000;
const SESSION_TIMEOUT_MS = 10_000;

interface Connected {
  readonly hf: Holdfast;
  /** Ends the present link, and lets the client find no other until it may. */
  readonly cut: () => void;
  readonly mayComeBack: () => void;
}

interface Rig {
  readonly clock: TestClock;
  /** Lets time pass in which the broker's thread does nothing. */
  readonly stopBroker: (ms: number) => void;
  readonly connect: (seed: number) => Promise<Connected>;
}

async function start(): Promise<Rig> {
  const clock = new TestClock();
  let aheadMs = 0;
  const brokersClock: Clock = {
    monotonicMs: () => clock.monotonicMs() + aheadMs,
    wallMs: () => clock.wallMs() + aheadMs,
    timer: (delayMs, fire) => clock.timer(delayMs, fire),
    defer: (run) => clock.defer(run),
    afterInput: (run) => clock.afterInput(run),
    keepAlive: () => clock.keepAlive(),
  };
  const broker = await startBroker(brokersClock, { patienceMs: PATIENCE_MS, sessionTimeoutMs: SESSION_TIMEOUT_MS });
  const connect = async (seed: number): Promise<Connected> => {
    let isAway = false;
    let end = (): void => {};
    const link = async (): Promise<Link> => {
      if (isAway) throw new HoldfastError('UNREACHABLE', 'The client is away');
      const ends = localLink(clock);
      broker.accept(ends.broker, { lingerMs: 0, needsToken: 'never' });
      end = () => ends.client.close();
      return ends.client;
    };
    const client = new Client({ connect: link, host: `host ${seed}`, clock, random: seededRandom(seed) });
    await client.open();
    const cut = (): void => {
      isAway = true;
      end();
    };
    return { hf: createHoldfast(client, async () => {}), cut, mayComeBack: () => (isAway = false) };
  };
  return { clock, connect, stopBroker: (ms) => (aheadMs += ms) };
}

interface Holder extends Connected {
  readonly other: Holdfast;
  readonly release: () => void;
  readonly taken: () => number;
}

/** A message whose handler runs until it is let go, and how often one was begun by another client. */
async function hold({ clock, connect }: Rig): Promise<Holder> {
  const holder = await connect(1);
  const other = await connect(2);
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  await holder.hf.channel<number>('jobs').consume(() => released);
  await holder.hf.channel<number>('jobs').produce(1);
  await clock.settle();
  let taken = 0;
  await other.hf.channel<number>('jobs').consume(() => {
    taken += 1;
  });
  await clock.settle();
  onTestFinished(release);
  return { ...holder, other: other.hf, release, taken: () => taken };
}

/** The holder comes back, and its message is done as if nothing had happened. */
async function expectUnharmed(rig: Rig, holder: Holder): Promise<void> {
  holder.mayComeBack();
  await rig.clock.advance(SESSION_TIMEOUT_MS);
  holder.release();
  await rig.clock.settle();
  const { totals } = await holder.hf.channel('jobs').inspect();
  expect([totals.completed, totals.redelivered, holder.taken()]).toEqual([1, 0, 0]);
}

test('a broker that was away takes no lease from a client that gave up its link meanwhile', async () => {
  const rig = await start();
  const holder = await hold(rig);
  // A look of the broker, so that it is known to be there.
  await rig.clock.advance(PATIENCE_MS);
  rig.stopBroker(PATIENCE_MS);
  holder.cut();
  // Behind this the client, which tries once a second, still has the time.
  await rig.clock.advance(SESSION_TIMEOUT_MS - 2_000);
  expect(holder.taken()).toBe(0);
  await expectUnharmed(rig, holder);
});

test('a broker that was away lets clients that were gone before come back for a whole session timeout', async () => {
  const rig = await start();
  const holder = await hold(rig);
  await rig.clock.advance(PATIENCE_MS);
  rig.stopBroker(PATIENCE_MS);
  holder.cut();
  await rig.clock.advance(1);
  rig.stopBroker(2 * SESSION_TIMEOUT_MS);
  // Whoever is quicker than the client that comes back changes nothing.
  await holder.other.channel<number>('others').produce(1);
  await expectUnharmed(rig, holder);
});

test('a broker that has been back for a while believes at once that a client is dead whose link closes', async () => {
  const rig = await start();
  const holder = await hold(rig);
  await rig.clock.advance(PATIENCE_MS);
  rig.stopBroker(PATIENCE_MS);
  // It takes up to a look until it knows that it was away.
  await rig.clock.advance(1.5 * PATIENCE_MS);
  holder.cut();
  await rig.clock.advance(1);
  expect(holder.taken()).toBe(1);
});
