/** Histories of KV: what clients asked for and heard, and when; and what one operation after the other makes of entries. */

/**
 * An operation of a client. Times are those of one clock that all clients share. Where no answer came, or one that leaves
 * it open, `answer` and `answeredAt` are left out: it may have happened at any time since, or never.
 */
export interface KvOperation {
  readonly calledAt: number;
  readonly answeredAt?: number | undefined;
  readonly action: KvAction;
  readonly answer?: KvAnswer | undefined;
}

export type KvAction =
  /** Reads entries, all as of one moment. */
  | { readonly kind: 'read'; readonly keys: readonly string[] }
  /** Changes entries, one after the other, when all checks hold; else nothing. */
  | { readonly kind: 'commit'; readonly checks: readonly KvHistoryCheck[]; readonly changes: readonly KvChangeOf[] };

/** An entry is as it was read: by its version, 0 for none, or where there are no versions by its value. */
export type KvHistoryCheck =
  | { readonly key: string; readonly version: number }
  | { readonly key: string; readonly value: string | undefined };

export type KvChangeOf =
  | { readonly kind: 'set'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string }
  /** Adds to a whole number, in decimal digits; one that is absent counts as 0, and nothing is added to anything else. */
  | { readonly kind: 'sum'; readonly key: string; readonly by: bigint };

export type KvAnswer =
  /** In the order of the keys; `undefined` where there was none. */
  | { readonly kind: 'read'; readonly entries: readonly (KvSeen | undefined)[] }
  /** Every commit has a higher version than those before it. */
  | { readonly kind: 'committed'; readonly version?: number | undefined }
  /** A check did not hold. */
  | { readonly kind: 'conflict' };

export interface KvSeen {
  readonly value: string;
  readonly version?: number | undefined;
}

/** The keys that an operation reads, checks or changes. */
export function keysOf({ action }: KvOperation): string[] {
  if (action.kind === 'read') return [...new Set(action.keys)];
  return [...new Set([...action.checks, ...action.changes].map(({ key }) => key))];
}

/** The version that the answer gives to a commit. */
export function versionAnswered({ answer }: KvOperation): number | undefined {
  return answer?.kind === 'committed' ? answer.version : undefined;
}

/**
 * Entries between two operations, in the order of the keys of a history. The version of a commit that nobody was told of
 * is known only between bounds, until somebody reads it.
 */
export interface KvState {
  readonly entries: readonly (KvStateEntry | undefined)[];
  /** The highest version so far, as far as it is known. */
  readonly highest: number;
}

interface KvStateEntry {
  readonly value: string;
  readonly version: number | undefined;
  /** The number of its commit, where its version is not known. */
  readonly writer: number;
  /** Its version is higher than this one, and lower than that. */
  readonly above: number;
  readonly below: number;
}

/** Entries that an operation finds at the beginning. */
export function nothingYet(keys: number): KvState {
  return { entries: Array.from({ length: keys }, () => undefined), highest: 0 };
}

/** States with the same text are the same. */
export function textOfState({ entries, highest }: KvState): string {
  const parts = entries.map((entry) => {
    if (entry === undefined) return '';
    const { value, version, writer, above, below } = entry;
    return JSON.stringify(version === undefined ? [value, writer, above, below] : [value, version]);
  });
  return `${highest} ${parts.join(' ')}`;
}

/** Operations as steps from state to state. */
export class KvSteps {
  readonly #places: ReadonlyMap<string, number>;
  /** Versions that belong to commits which were told so. */
  readonly #taken: ReadonlySet<number>;

  constructor(keys: readonly string[], taken: ReadonlySet<number>) {
    this.#places = new Map(keys.map((key, place) => [key, place]));
    this.#taken = taken;
  }

  /** What the operation with this number leaves, if it can have its answer here; without an answer, if it changes anything. */
  after(state: KvState, operation: KvOperation, number: number): KvState | undefined {
    const { action, answer } = operation;
    if (action.kind === 'read')
      return answer?.kind === 'read' ? this.#read(state, action.keys, answer.entries) : undefined;
    if (answer?.kind === 'conflict') return this.#mayConflict(state, action.checks) ? state : undefined;
    let checked: KvState | undefined = state;
    for (const check of action.checks) {
      if (checked === undefined) return undefined;
      checked =
        'version' in check ? this.#withVersion(checked, check.key, check.version) : this.#withValue(checked, check);
    }
    return checked && this.#change(checked, action.changes, versionAnswered(operation), number);
  }

  #place(key: string): number {
    return this.#places.get(key) as number;
  }

  #entry({ entries }: KvState, key: string): KvStateEntry | undefined {
    return entries[this.#place(key)];
  }

  #read(state: KvState, keys: readonly string[], seen: readonly (KvSeen | undefined)[]): KvState | undefined {
    let after: KvState | undefined = state;
    for (const [i, key] of keys.entries()) {
      const { value, version } = seen[i] ?? {};
      if (this.#entry(after, key)?.value !== value) return undefined;
      after = version === undefined ? after : this.#withVersion(after, key, version);
      if (after === undefined) return undefined;
    }
    return after;
  }

  #mayConflict(state: KvState, checks: readonly KvHistoryCheck[]): boolean {
    return checks.some((check) => {
      const entry = this.#entry(state, check.key);
      if (!('version' in check)) return entry?.value !== check.value;
      return entry === undefined ? check.version !== 0 : entry.version !== check.version;
    });
  }

  #withValue(
    state: KvState,
    { key, value }: { readonly key: string; readonly value: string | undefined },
  ): KvState | undefined {
    return this.#entry(state, key)?.value === value ? state : undefined;
  }

  /** The state, if the entry has this version, or can have it: then its version is known from now on. */
  #withVersion(state: KvState, key: string, version: number): KvState | undefined {
    const entry = this.#entry(state, key);
    if (entry === undefined) return version === 0 ? state : undefined;
    if (entry.version !== undefined) return entry.version === version ? state : undefined;
    if (version <= entry.above || version >= entry.below || this.#taken.has(version)) return undefined;
    const entries = state.entries.map((one) =>
      one !== undefined && one.version === undefined && one.writer === entry.writer ? { ...one, version } : one,
    );
    return { entries, highest: Math.max(state.highest, version) };
  }

  #change(
    state: KvState,
    changes: readonly KvChangeOf[],
    version: number | undefined,
    writer: number,
  ): KvState | undefined {
    const { highest } = state;
    if (version !== undefined && version <= highest) return undefined;
    const entries = state.entries.map((entry) =>
      entry !== undefined && entry.version === undefined && version !== undefined && version < entry.below
        ? { ...entry, below: version }
        : entry,
    );
    for (const change of changes) {
      const place = this.#place(change.key);
      const before = entries[place]?.value;
      if (change.kind === 'sum' && before !== undefined && !WHOLE_NUMBER.test(before)) return undefined;
      const value = valueAfter(change, before);
      entries[place] = value === undefined ? undefined : { value, version, writer, above: highest, below: Infinity };
    }
    return { entries, highest: version ?? highest };
  }
}

const WHOLE_NUMBER = /^-?\d+$/;

function valueAfter(change: KvChangeOf, before: string | undefined): string | undefined {
  if (change.kind === 'delete') return undefined;
  return change.kind === 'set' ? change.value : String(BigInt(before ?? 0) + change.by);
}
