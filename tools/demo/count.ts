/** The count at the end: what the store says, held against the folder itself. */
import { stat } from 'node:fs/promises';
import { open, type State, type StoredMessage } from 'holdfast';
import { listAll } from '../backlog.ts';
import { inLanes } from '../lanes.ts';
import { openChannels } from './channels.ts';
import { hashFile } from './file-digest.ts';
import { listFolder, pathBelow } from './folder.ts';

/** What is to be counted. */
export interface CountOrder {
  readonly folder: string;
  readonly data: string;
  /** The files that were there when the work began. */
  readonly before: readonly Buffer[];
  /** When that was, in epoch milliseconds. */
  readonly startedAt: number;
}

export interface Counted {
  readonly files: number;
  readonly bytes: number;
  readonly produced: number;
  readonly completed: readonly CompletedFile[];
  readonly dead: readonly DeadFile[];
  /** How often a message was taken from a killed process and came again. */
  readonly redelivered: number;
  /** Files without an end, without a recorded result, or with a wrong one. */
  readonly lost: readonly Buffer[];
  /** Messages and results that a file has beyond its first. */
  readonly doubled: number;
  readonly durability: string;
}

export interface CompletedFile {
  readonly path: Buffer;
  readonly sha256: string;
}

export interface DeadFile {
  readonly path: Buffer;
  readonly reason: string;
}

/** Everything that the store says of one file. */
interface Account {
  readonly path: Buffer;
  readonly completed: string[];
  readonly recorded: string[];
  readonly reasons: string[];
  unfinished: number;
}

const FILES_AT_A_TIME = 8;
const LIVE: readonly State[] = ['ready', 'delayed', 'leased', 'waiting'];

/** @throws the reason of `abort` when that fires; the store is closed then */
export async function countAll(order: CountOrder, abort: AbortSignal): Promise<Counted> {
  const { folder, data, before, startedAt } = order;
  const { accounts, ...stored } = await readStore(data, abort);
  const there = await listFolder(folder, data, abort);
  const known = new Set(before.map(keyOf));
  // A file that came meanwhile counts if the working process saw it, and one that went if it got its message in time.
  for (const path of there.files) if (known.has(keyOf(path))) accountOf(accounts, path);
  const lost: Buffer[] = [];
  let [bytes, doubled] = [0, 0];
  const all = [...accounts.values()];
  await inLanes(all, FILES_AT_A_TIME, async (account) => {
    const actual = await hashAgain(pathBelow(folder, account.path), startedAt, abort);
    bytes += actual?.bytes ?? 0;
    if (isLost(account, actual?.sha256)) lost.push(account.path);
  });
  for (const { completed, recorded, reasons, unfinished } of all) {
    doubled += Math.max(completed.length + reasons.length + unfinished - 1, recorded.length - 1, 0);
  }
  return {
    files: all.length,
    bytes,
    ...stored,
    completed: all.flatMap(({ path, completed }) => completed.map((sha256) => ({ path, sha256 }))),
    dead: all.flatMap(({ path, reasons }) => reasons.map((reason) => ({ path, reason }))),
    lost,
    doubled,
  };
}

function isLost({ completed, recorded, reasons, unfinished }: Account, actual: string | undefined): boolean {
  if (unfinished > 0 || completed.length + reasons.length === 0) return true;
  if (completed.length > 0 && recorded.length === 0) return true;
  return [...completed, ...recorded].some((sha256) => sha256 !== (actual ?? completed[0]));
}

async function readStore(
  data: string,
  abort: AbortSignal,
): Promise<{ accounts: Map<string, Account>; produced: number; redelivered: number; durability: string }> {
  await using holdfast = await open(`file:${data}`);
  const { added, hashed } = openChannels(holdfast);
  const accounts = new Map<string, Account>();
  let redelivered = 0;
  const take = ({ message, history }: StoredMessage<{ readonly path: Uint8Array }>): Account => {
    abort.throwIfAborted();
    redelivered += history.filter(({ what }) => what === 'leaseLost').length;
    return accountOf(accounts, message.path);
  };
  for await (const stored of listAll(added, 'completed')) {
    take(stored).completed.push((stored.result as { readonly sha256: string }).sha256);
  }
  for await (const stored of listAll(added, 'dead')) take(stored).reasons.push(stored.failure?.message ?? 'Unknown');
  for (const state of LIVE) for await (const stored of listAll(added, state)) take(stored).unfinished += 1;
  for await (const { message } of listAll(hashed, 'ready')) {
    abort.throwIfAborted();
    accountOf(accounts, message.path).recorded.push(message.sha256);
  }
  const { totals } = await added.inspect();
  return { accounts, produced: totals.produced, redelivered, durability: holdfast.durability };
}

function accountOf(accounts: Map<string, Account>, path: Uint8Array): Account {
  const key = keyOf(path);
  let account = accounts.get(key);
  if (account === undefined) {
    account = { path: Buffer.from(path), completed: [], recorded: [], reasons: [], unfinished: 0 };
    accounts.set(key, account);
  }
  return account;
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path).toString('latin1');
}

/** What the file holds now; `sha256` is unknown when it was changed since. `undefined` when it cannot be read. */
async function hashAgain(
  path: Buffer,
  startedAt: number,
  abort: AbortSignal,
): Promise<{ bytes: number; sha256: string | undefined } | undefined> {
  try {
    const { mtimeMs, ctimeMs } = await stat(path);
    const { sha256, bytes } = await hashFile(path, abort);
    return { bytes, sha256: Math.max(mtimeMs, ctimeMs) < startedAt ? sha256 : undefined };
  } catch {
    abort.throwIfAborted();
    return undefined;
  }
}
