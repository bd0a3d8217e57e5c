/** Somebody who watches entries of KV for as long as a client lives, and what they have seen last. */
import type { Client } from '../../client/client.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { KvRange } from '../../model/kv.ts';
import { encodeKvKey } from '../../model/kv-key.ts';
import { keyText } from './commit-content.ts';
import type { Workplace } from './world.ts';

/** What is watched together: some of the entries that are written most. */
const KEYS: readonly Uint8Array[] = [
  ['k', '0'],
  ['k', '1'],
  ['e', '0'],
  ['c', '0'],
].map(encodeKvKey);

/** What is looked at over a new link: entries that may have expired while nobody led. */
const RANGES: readonly KvRange[] = ['e', 'gone'].map((space) => {
  const from = encodeKvKey([space]);
  return { from, to: Uint8Array.from([...from, 0xff]), limit: 100, reverse: false };
});

const WATCH = 1;

export interface Watched {
  /** Since when nothing but a change is waited for, in simulated milliseconds. */
  readonly sinceMs: number;
  readonly entries: readonly { readonly key: string; readonly version: number }[];
}

export class Watcher {
  /** `undefined` while it asks. */
  seen: Watched | undefined;
  readonly #worker: Workplace;
  #news = 0;
  #isRenewed = false;
  #wake: () => void = () => {};

  constructor(worker: Workplace) {
    this.#worker = worker;
  }

  /** An entry has changed. */
  tell(): void {
    this.#news += 1;
    this.#wake();
  }

  /** There is a new link: what the broker has said over the one before may be lost. */
  renew(): void {
    this.#isRenewed = true;
    this.tell();
  }

  /** Watches until the client fails. */
  async run(client: Client): Promise<void> {
    const { sim } = this.#worker;
    client.onFailure(() => this.tell());
    while (client.failure === undefined) {
      const before = this.#news;
      this.seen = undefined;
      try {
        if (this.#isRenewed) await client.request({ kind: 'kvRead', keys: [], ranges: RANGES });
        this.#isRenewed = false;
        const reply = await client.request({ kind: 'kvWatch', watch: WATCH, keys: KEYS });
        if (reply.kind !== 'kvRead') throw new Error(`Watching was answered with ${reply.kind}`);
        const entries = KEYS.map((key, i) => ({ key: keyText(key), version: reply.entries[i]?.version ?? 0 }));
        this.seen = { sinceMs: sim.time.nowMs, entries };
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        sim.tolerate(error);
        continue;
      }
      if (this.#news === before) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
