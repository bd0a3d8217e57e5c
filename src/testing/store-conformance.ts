/**
 * The conformance suite of the store contract, for whoever writes a store. It needs no test framework:
 *
 *     for (const { name, run } of storeConformance(factory)) test(name, run);
 */
import type { Epoch } from '../model/records.ts';
import type { Store } from '../store/store.ts';
import { commitCases } from './store-conformance-commits.ts';
import { epochCases } from './store-conformance-epochs.ts';
import { rangeCases } from './store-conformance-ranges.ts';
import type { CaseBody } from './store-conformance-tools.ts';

/** One set of data under test. */
export interface StoreUnderTest {
  /** Opens one more store object on the data, as another process would. */
  readonly open: () => Promise<Store>;
  /** Deletes the data; called when every object that was opened is closed. */
  readonly dispose: () => Promise<void>;
}

/** Makes new, empty data; called once a case. */
export type StoreFactory = () => Promise<StoreUnderTest>;

export interface ConformanceCase {
  /** What is held to be true, as a sentence. */
  readonly name: string;
  /** Rejects when it is not. */
  readonly run: () => Promise<void>;
}

/** The cases that every implementation of `Store` must pass. They are independent of each other. */
export function storeConformance(factory: StoreFactory): ConformanceCase[] {
  return [...epochCases, ...commitCases, ...rangeCases].map(([name, body]) => ({
    name,
    run: () => runCase(factory, body),
  }));
}

async function runCase(factory: StoreFactory, body: CaseBody[1]): Promise<void> {
  const subject = await factory();
  const opened: Store[] = [];
  const open = async (): Promise<Store> => {
    const store = await subject.open();
    opened.push(store);
    return store;
  };
  const lead = async (): Promise<{ store: Store; epoch: Epoch }> => {
    const store = await open();
    return { store, epoch: await acquire(store) };
  };
  try {
    await body({ open, lead });
  } finally {
    for (const store of opened) await store.close();
    await subject.dispose();
  }
}

async function acquire(store: Store): Promise<Epoch> {
  const outcome = await store.acquire('test', await store.leader());
  if (!('won' in outcome)) throw new Error(`Cannot acquire the store: "${outcome.lost.address}" leads it`);
  return outcome.won;
}
