/** The lead of a store: the store itself, the epoch under which it is led, and the machine that was loaded from it. */
import { Machine } from '../machine/machine.ts';
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
  readonly time: MachineClock;
  readonly reserve: Reserve;
}

/**
 * Opens the store, takes the lead, and loads the machine. `own` is the epoch that this broker led under before.
 *
 * @throws StoreInUseError when a live broker leads
 * @throws HoldfastError `STORE_CORRUPT`, `STORE_TOO_NEW`, `STORE_FAILED`
 */
export async function takeLead(options: BrokerOptions, own: Epoch | undefined): Promise<Lead> {
  const store = await options.openStore();
  try {
    const epoch = await acquire(store, options, own);
    const machine = await load(store, epoch, options);
    const reserve = new Reserve(store, options.clock, options.reserveBytes);
    await reserve.ask();
    return { store, epoch, machine, reserve, time: startTime(machine.time, options) };
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

async function load(store: Store, epoch: Epoch, options: BrokerOptions): Promise<Machine> {
  const machine = new Machine(options.space);
  const loader = machine.loader();
  for await (const chunk of store.range(epoch, machine.everythingLive)) {
    for (const entry of chunk) loader.add(entry);
  }
  loader.finish(epoch.number, options.clock.wallMs(), options.host, options.sessionTimeoutMs);
  return machine;
}

function startTime(stored: number, { clock, log }: BrokerOptions): MachineClock {
  return new MachineClock(clock, stored, (aheadMs) => {
    const ahead = `The wall clock is ${Math.round(aheadMs)} ms ahead of machine time`;
    log({ level: 'warn', message: `${ahead}; delays go on at normal speed` });
  });
}
