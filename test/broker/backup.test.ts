import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Backup } from '#holdfast/broker/backup.js';
import { type BackupRecord, BackupWriter, readBackup } from '#holdfast/broker/backup-format.js';
import { compareKeys, type Entry, type Epoch, type Write } from '#holdfast/model/records.js';
import type { Store } from '#holdfast/store/store.js';
import { applyWrites, createMemoryDisk, type MemoryDisk, openMemoryStore } from '#holdfast/store/memory.js';

const KEYS = 40;

/** What is in none of these is yet to come when the backup begins. */
const RANGES = [
  { from: Uint8Array.of(1), to: Uint8Array.of(1, 10) },
  { from: Uint8Array.of(1, 13), to: Uint8Array.of(1, 20, 20) },
  { from: Uint8Array.of(1, 30), to: Uint8Array.of(2) },
];
const EVERYTHING = { from: Uint8Array.of(1), to: Uint8Array.of(2) };

const keyOf = (n: number): Uint8Array => Uint8Array.of(1, n, n);

type Step = 'read' | 'take' | Write;

const write: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      key: fc.nat(KEYS).map(keyOf),
      value: fc.uint8Array({ maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key: fc.nat(KEYS).map(keyOf) }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(KEYS), fc.nat(KEYS))
      .map(([a, b]) => ({ kind: 'clear' as const, from: keyOf(Math.min(a, b)), to: keyOf(Math.max(a, b)) })),
  },
);

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof({ weight: 4, arbitrary: write }, fc.constant('read' as const), fc.constant('take' as const)),
  { maxLength: 80 },
);

function isThere(key: Uint8Array): boolean {
  return RANGES.some(({ from, to }) => compareKeys(key, from) >= 0 && compareKeys(key, to) < 0);
}

async function* chunksOf(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function recordsOf(...chunks: readonly Uint8Array[]): Promise<BackupRecord[]> {
  const records: BackupRecord[] = [];
  for await (const record of readBackup(chunksOf(...chunks))) records.push(record);
  return records;
}

function contentOf(disk: MemoryDisk): string[] {
  return [...disk.entries.items(EVERYTHING)].map(({ key, value }) => `${key.join()}=${value.join()}`);
}

/** A backup of a store, taken in small steps. */
class Taken {
  readonly disk = createMemoryDisk();
  readonly parts: Uint8Array[] = [];
  readonly backup = new Backup(1, 'test', RANGES, 5, 3);
  readonly #store = openMemoryStore({ disk: this.disk });
  #epoch: Epoch | undefined;
  isEnd = false;
  #hasRead = false;

  async start(before: readonly Write[]): Promise<void> {
    const outcome = await this.#store.acquire('here', undefined);
    if ('won' in outcome) this.#epoch = outcome.won;
    applyWrites(
      this.disk,
      before.filter((write) => write.kind !== 'clear' && isThere(write.key)),
    );
  }

  async step(step: Step): Promise<void> {
    if (step === 'read') {
      if (this.#hasRead || this.isEnd) return;
      this.#hasRead = true;
      await this.backup.read(this.#inBits, this.#epoch as Epoch);
    } else if (step === 'take') {
      if (!this.#hasRead || this.isEnd) return;
      this.#hasRead = false;
      const { bytes, isEnd } = this.backup.take(9);
      this.parts.push(bytes);
      this.isEnd = isEnd;
    } else if (!this.isEnd) {
      applyWrites(this.disk, [step]);
      this.backup.update([step]);
    }
  }

  /** Gives two entries a chunk. */
  get #inBits(): Pick<Store, 'range'> {
    const store = this.#store;
    return {
      async *range(epoch, { from, to }) {
        for (let at = from; ;) {
          const entries: Entry[] = [];
          for await (const chunk of store.range(epoch, { from: at, to, limit: 2 })) entries.push(...chunk);
          const last = entries.at(-1);
          if (last === undefined) return;
          yield entries;
          at = Uint8Array.of(...last.key, 0);
        }
      },
    };
  }
}

describe('a backup', () => {
  test('is the state of its end, whatever is written meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(write, { maxLength: 60 }), steps, async (before, given) => {
        const taken = new Taken();
        await taken.start(before);
        for (const step of given) await taken.step(step);
        while (!taken.isEnd) {
          await taken.step('read');
          await taken.step('take');
        }
        const restored = createMemoryDisk();
        for (const record of await recordsOf(...taken.parts)) {
          if (record.kind === 'writes') applyWrites(restored, record.writes);
        }
        expect(contentOf(restored)).toEqual(contentOf(taken.disk));
      }),
      { numRuns: 1_000 },
    );
  });

  test('keeps the last write of a key only, and gives up when too much waits', async () => {
    const taken = new Taken();
    await taken.start([{ kind: 'put', key: keyOf(1), value: new Uint8Array(3) }]);
    await taken.step('read');
    await taken.step('take');
    const large = new Uint8Array(1024 * 1024);
    for (let i = 0; i < 200; i++) await taken.step({ kind: 'put', key: keyOf(0), value: large });
    expect(taken.backup.isOverrun).toBe(false);
    for (let i = 0; i < 70; i++) {
      await taken.step({ kind: 'put', key: Uint8Array.of(1, 0, i), value: large });
    }
    expect(taken.backup.isOverrun).toBe(true);
  });
});

describe('readBackup()', () => {
  const writer = new BackupWriter();
  const key = Uint8Array.of(1, 2, 3);
  const records = [
    writer.header({ space: 'test', startedAt: 1_900_000_000_000 }),
    writer.writes([{ kind: 'put', key, value: new Uint8Array(40).fill(7) }]),
    writer.writes([
      { kind: 'delete', key },
      { kind: 'clear', from: key, to: Uint8Array.of(9) },
    ]),
    writer.writes([{ kind: 'put', key, value: new Uint8Array() }]),
    writer.end(1_900_000_000_500),
  ] as const;
  const whole = Buffer.concat(records);

  test('gives what was written, whatever the chunks', async () => {
    const expected = [
      { kind: 'header', header: { space: 'test', startedAt: 1_900_000_000_000 } },
      { kind: 'writes', writes: [{ kind: 'put', key, value: new Uint8Array(40).fill(7) }] },
      {
        kind: 'writes',
        writes: [
          { kind: 'delete', key },
          { kind: 'clear', from: key, to: Uint8Array.of(9) },
        ],
      },
      { kind: 'writes', writes: [{ kind: 'put', key, value: new Uint8Array() }] },
      { kind: 'end', end: { writes: 4, endedAt: 1_900_000_000_500 } },
    ];
    for (const size of [1, 2, 7, 64, whole.length]) {
      const chunks: Uint8Array[] = [new Uint8Array()];
      for (let at = 0; at < whole.length; at += size) chunks.push(whole.subarray(at, at + size));
      expect(comparable(await recordsOf(...chunks))).toEqual(comparable(expected));
    }
  });

  test('refuses a backup that is cut anywhere', async () => {
    for (let length = 0; length < whole.length; length++) {
      await expect(recordsOf(whole.subarray(0, length))).rejects.toMatchObject({ code: 'BACKUP_DAMAGED' });
    }
  });

  test('refuses a backup with any bit changed', async () => {
    for (let at = 0; at < whole.length; at++) {
      for (const bit of [1, 128]) {
        const spoiled = Buffer.from(whole);
        spoiled[at] = (spoiled[at] as number) ^ bit;
        const code = expect.stringMatching(/^(BACKUP_DAMAGED|STORE_TOO_NEW)$/) as unknown;
        await expect(recordsOf(spoiled), `byte ${at}`).rejects.toMatchObject({ code });
      }
    }
  });

  test('refuses records that are missing, doubled, out of order, of another backup, or behind the end', async () => {
    const [header, first, second, third, end] = records;
    const other = new BackupWriter();
    const others = [other.header({ space: 'test', startedAt: 5 }), other.end(6)] as const;
    for (const wrong of [
      [header, first, third, end],
      [header, first, second, second, third, end],
      [header, second, first, third, end],
      [header, first, second, third, others[1]],
      [others[0], first, second, third, end],
      [...records, Uint8Array.of(0)],
      [...records, ...records],
      [header, header, end],
      [first, second],
    ]) {
      await expect(recordsOf(...wrong)).rejects.toMatchObject({ code: 'BACKUP_DAMAGED' });
    }
  });

  test('says of a later version that it is one', async () => {
    const later = Buffer.from(whole);
    later.writeUInt32LE(2, 8);
    await expect(recordsOf(later)).rejects.toMatchObject({ code: 'STORE_TOO_NEW' });
  });
});

/** With all bytes as plain arrays. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array || Array.isArray(value)) return [...value].map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, comparable(part)]));
}
