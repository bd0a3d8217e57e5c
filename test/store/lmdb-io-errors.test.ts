import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { digestOf, inParallel, must, need, run, type Ended } from './children.ts';
import { temporaryFolder } from './folders.ts';

const folder = temporaryFolder();

const CALLS = ['pwrite64', 'pwritev', 'writev', 'fdatasync', 'fsync', 'msync', 'ftruncate'];
const AT_ONCE = 6;
/** As `commit-script.mjs` makes them. */
const COMMITS = 50;
/** The byte that says whether the leader is in a write transaction, and how many of its writes are broken. */
const MARK = /^\d+, "\\[01]", 1, /;
const MARKS = 4;

/** A process that is killed leaves what the system has, so fewer places tell as much. */
const KILL_STEP = 6;

interface Fault {
  readonly call: string;
  /** The number of the call, of those with its name, counted from 1. */
  readonly number: number;
  readonly kind: 'error=EIO' | 'signal=KILL';
}

/** What a broken run left behind. */
interface Outcome {
  readonly fault: Fault;
  readonly ended: Ended;
  /** The call that was broken, as strace writes it; undefined when none was. */
  readonly broken: string | undefined;
}

/** Every call of an unbroken run. */
const places: { readonly call: string; readonly number: number }[] = [];

beforeAll(async () => {
  need('strace');
  const trace = join(folder, 'trace');
  must(
    'strace',
    '-f',
    '-o',
    trace,
    '-e',
    `trace=${CALLS.join()}`,
    'node',
    'test/store/commit-script.mjs',
    join(folder, 'whole'),
  );
  const counts = new Map<string, number>();
  let marks = 0;
  for (const [, call, given] of readFileSync(trace, 'utf8').matchAll(/^\d+ +(\w+)\((.*)/gm)) {
    if (call === undefined || given === undefined) continue;
    counts.set(call, (counts.get(call) ?? 0) + 1);
    // Around each write transaction a byte is written that only helps others; a few of them tell as much as all.
    if (MARK.test(given) && ++marks > MARKS) continue;
    places.push({ call, number: counts.get(call) as number });
  }
  expect(places.length).toBeGreaterThan(100);
});

describe('an lmdb store loses nothing that it acknowledged, and keeps the rest wholly or not at all,', () => {
  test('when the n-th write or sync fails, for every n', async () => {
    const seen = { aborted: 0, unknown: 0 };
    const faults = places.map((place): Fault => ({ ...place, kind: 'error=EIO' }));
    await inParallel(faults, AT_ONCE, async (fault) => {
      const outcome = await breakRun(fault);
      const reported = await checkOutcome(outcome);
      if (reported !== undefined) seen[reported]++;
    });
    expect(seen.aborted).toBeGreaterThan(20);
    expect(seen.unknown).toBeGreaterThan(20);
  }, 180_000);

  test('when the process is killed at a write or a sync', async () => {
    const faults = places
      .filter((_, i) => i % KILL_STEP === 0)
      .map((place): Fault => ({ ...place, kind: 'signal=KILL' }));
    await inParallel(faults, AT_ONCE, async (fault) => {
      await checkOutcome(await breakRun(fault));
    });
  }, 180_000);
});

function pathOf({ call, number, kind }: Fault): string {
  return join(folder, `${call} ${number} ${kind}`);
}

async function breakRun(fault: Fault): Promise<Outcome> {
  const { call, number, kind } = fault;
  const trace = `${pathOf(fault)} trace`;
  const inject = `inject=${call}:${kind}:when=${number}`;
  // With seccomp strace is faster, but does not send signals.
  const faster = kind === 'error=EIO' ? ['--seccomp-bpf'] : [];
  const tracing = ['-f', ...faster, '-o', trace, '-e', `trace=${call}`, '-e', inject];
  const ended = await run('strace', [...tracing, 'node', 'test/store/commit-script.mjs', pathOf(fault)]);
  const lines = readFileSync(trace, 'utf8').split('\n');
  return { fault, ended, broken: lines.find((line) => line.includes('(INJECTED)')) };
}

/** Opens what is left and holds it against what was told. Returns the outcome that a failed commit had reported. */
async function checkOutcome({ fault, ended, broken }: Outcome): Promise<'aborted' | 'unknown' | undefined> {
  const name = JSON.stringify(fault);
  const lines = ended.output.split('\n');
  const tries = lines.flatMap((line) => /^try \d+ (\w+)$/.exec(line)?.slice(1) ?? []);
  const acks = lines.filter((line) => line.startsWith('ack ')).length;
  const [, code, outcome] = /^error (\S+) (\S+)/m.exec(ended.output) ?? [];
  const [, reopenedDigest, resolved] = /^reopened (\S+) (\S+)/m.exec(ended.output) ?? [];
  if (fault.kind === 'signal=KILL') expect(ended.signal === 'SIGKILL' || ended.code === 137, name).toBe(true);
  else checkReport(ended, broken, acks === COMMITS ? 'none' : code, name);

  const expected = acks === 0 ? digestOfNothing() : tries[acks - 1];
  const inDoubt = tries[acks];
  const { digest, answer } = await reopen(fault, acks);
  const applied = digest !== expected;
  if (applied) expect(digest, name).toBe(inDoubt);
  if (outcome === 'aborted') expect(applied, name).toBe(false);
  if (reopenedDigest !== undefined) expect(reopenedDigest, name).toBe(digest);
  // The process itself opened the store again, unless it was ended: then the epoch before is that of the commit.
  if (inDoubt !== undefined) expect(resolved ?? answer, name).toBe(applied ? 'applied' : 'absent');
  return inDoubtOf(outcome);
}

function checkReport(ended: Ended, broken: string | undefined, code: string | undefined, name: string): void {
  expect(broken, name).toBeDefined();
  // A failed write of pages makes the lmdb package write its message into memory that is too small for it,
  // which ends some processes. Nobody can do anything about that here, but the disk must be right.
  const pages = /pwritev\(|writev\(|pwrite64\((?!.*, 128, \d+\) = )/.test(broken ?? '');
  if (!pages) expect(ended, name).toMatchObject({ code: 0, signal: null });
  // When the last fold fails, behind all commits, nothing is lost and there is nobody to tell.
  if (ended.signal === null) expect(['STORE_FAILED', 'none'], name).toContain(code);
}

/** Opens what is left, reads it, and writes to it. */
async function reopen(fault: Fault, tried: number): Promise<{ digest: string; answer: string }> {
  const store = await openLmdbStore({ path: pathOf(fault) });
  try {
    const acquired = await store.acquire('after the fault', await store.leader());
    if (!('won' in acquired)) throw new Error('The race is lost');
    const found = {
      digest: await digestOf(store, acquired.won),
      answer: await store.resolve(acquired.won, BigInt(tried)),
    };
    await store.commit(acquired.won, 1_000n, [{ kind: 'put', key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
    return found;
  } finally {
    await store.close();
  }
}

function inDoubtOf(outcome: string | undefined): 'aborted' | 'unknown' | undefined {
  return outcome === 'aborted' || outcome === 'unknown' ? outcome : undefined;
}

function digestOfNothing(): string {
  return createHash('sha256').digest('hex');
}
