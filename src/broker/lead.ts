/** The lead of a store: the store itself, the epoch under which it is led, and the machine that was loaded from it. */
import { type Loader, Machine } from '../machine/machine.ts';
import { StoreInUseError } from '../model/errors.ts';
import type { Epoch } from '../model/records.ts';
import type { Store } from '../store/store.ts';
import type { BrokerOptions } from './broker-options.ts';
import { MachineClock } from './machine-clock.ts';
import { Reserve } from './reserve.ts';

export interface Lead {
  readonly store: Store;
  readonly epoch: Epoch;
  readonly machine: Machine;
  readonly loader: Loader;
  readonly time: MachineClock;
  readonly reserve: Reserve;
}

/**
 * Opens the store, takes the lead, and loads the head of the machine; `loadBody` loads the rest. `own` is the epoch that this broker led under before.
 *
 * @throws StoreInUseError when a live broker leads
 * @throws HoldfastError `STORE_CORRUPT`, `STORE_TOO_NEW`, `STORE_FAILED`
 */
export async function takeLead(options: BrokerOptions, own: Epoch | undefined): Promise<Lead> {
  const store = await options.openStore();
  try {
    const epoch = await acquire(store, options, own);
    const machine = new Machine(options.space);
    const loader = await loadHead(store, epoch, machine, options);
    const reserve = new Reserve(store, options.clock, options.reserveBytes);
    await reserve.ask();
    return { store, epoch, machine, loader, reserve, time: startTime(machine.time, options) };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function acquire(store: Store, { address, isLive }: BrokerOptions, own: Epoch | undefined): Promise<Epoch> {
  for (;;) {
    const seen = await store.leader();
    if (seen !== undefined && seen.epoch.nonce !== own?.nonce && (await isLive(seen))) {
      throw new StoreInUseError(seen.address);
    }
    const outcome = await store.acquire(await address(), seen);
    if ('won' in outcome) return outcome.won;
  }
}

/**
 * Loads what grows with the backlog, in pieces, between which the broker works.
 *
 * @param goesOn says whether anybody still wants it
 */
export async function loadBody(
  { store, epoch, machine, loader, time }: Lead,
  { clock, sessionTimeoutMs }: BrokerOptions,
  goesOn: () => boolean,
): Promise<void> {
  let taken = 0;
  for (const range of machine.body) {
    for await (const chunk of store.range(epoch, range)) {
      for (const entry of chunk) {
        if (++taken % RECORDS_A_PIECE === 0) await new Promise<void>((resolve) => clock.afterInput(resolve));
        if (!goesOn()) return;
        loader.add(entry);
      }
    }
  }
  loader.finish(time.read().now, sessionTimeoutMs);
}

/** How many records are loaded before the broker has its turn; each has up to 128 messages. */
const RECORDS_A_PIECE = 64;

async function loadHead(store: Store, epoch: Epoch, machine: Machine, options: BrokerOptions): Promise<Loader> {
  const loader = machine.loader();
  for await (const chunk of store.range(epoch, machine.head)) {
    for (const entry of chunk) loader.add(entry);
  }
  loader.begin(epoch.number, options.clock.wallMs(), options.host);
  return loader;
}

function startTime(stored: number, { clock, log }: BrokerOptions): MachineClock {
  return new MachineClock(clock, stored, (aheadMs) => {
    const ahead = `The wall clock is ${Math.round(aheadMs)} ms ahead of machine time`;
    log({ level: 'warn', message: `${ahead}; delays go on at normal speed` });
  });
}
