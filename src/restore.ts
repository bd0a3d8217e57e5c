/** Restoring a backup into a folder: as `open.ts`, it composes what otherwise does not see each other. */
import { createReadStream } from 'node:fs';
import { link, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackupEnd, type BackupHeader, readBackup } from './broker/backup-format.ts';
import { restoreInto } from './broker/restore.ts';
import { systemClock } from './model/clock.ts';
import { HoldfastError } from './model/errors.ts';
import { systemRandom } from './model/random.ts';
import type { Write } from './model/records.ts';

/** What a backup held. */
export interface Restored {
  readonly space: string;
  /** The moment as of which everything is, in epoch milliseconds. */
  readonly at: number;
}

/**
 * Makes a new store of a backup: the same space, channels and messages under the same ids, as of the moment at which the
 * backup ended. Sessions are dropped, and messages that a handler had then are ready again. The file is checked as a whole
 * before anything is written, and the store appears in the folder when it is complete and synced, or not at all.
 *
 * It works in the caller's thread and keeps it busy: do it in a process of its own.
 *
 * @param file a file with the bytes of `backup()`
 * @param folder where the store is to be; made if it is not there
 * @throws HoldfastError `BACKUP_DAMAGED`, `STORE_TOO_NEW`; `STORE_EXISTS` when the folder holds a store of this space
 */
export async function restore(file: string, folder: string): Promise<Restored> {
  for (const [name, value] of Object.entries({ file, folder })) {
    if (typeof value !== 'string' || value === '') throw new TypeError(`Cannot restore: "${name}" must be a path`);
  }
  const { header, end } = await verify(file);
  const { space } = header;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await refuseExisting(folder, space);
  const scratch = join(folder, `.restoring-${Buffer.from(systemRandom.fill(new Uint8Array(8))).toString('hex')}`);
  try {
    await mkdir(scratch, { mode: 0o700 });
    await build(file, scratch, space);
    await publish(scratch, folder, `${space}.mdb`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { space, at: end.endedAt };
}

async function verify(file: string): Promise<{ header: BackupHeader; end: BackupEnd }> {
  let header: BackupHeader | undefined;
  let end: BackupEnd | undefined;
  for await (const record of readBackup(createReadStream(file))) {
    if (record.kind === 'header') header = record.header;
    else if (record.kind === 'end') end = record.end;
  }
  // The reader would have thrown.
  if (header === undefined || end === undefined) throw new HoldfastError('BACKUP_DAMAGED', 'The backup has no end');
  return { header, end };
}

async function refuseExisting(folder: string, space: string): Promise<void> {
  const existing = (await readdir(folder)).find((name) => name === `${space}.mdb` || name.startsWith(`${space}.mdb-`));
  if (existing === undefined) return;
  const message = `Cannot restore into "${folder}": it holds a store, "${existing}"; give a new folder`;
  throw new HoldfastError('STORE_EXISTS', message);
}

async function build(file: string, folder: string, space: string): Promise<void> {
  const { openLmdbStore } = await import('./store/lmdb.ts');
  const store = await openLmdbStore({ path: folder, space });
  try {
    await restoreInto(store, space, writesOf(file), systemClock.wallMs());
  } finally {
    await store.close();
  }
}

async function* writesOf(file: string): AsyncGenerator<readonly Write[], void> {
  for await (const record of readBackup(createReadStream(file))) if (record.kind === 'writes') yield record.writes;
}

/** A closed store is one file. It gets its name only if nobody has it yet, and never before it is whole. */
async function publish(scratch: string, folder: string, name: string): Promise<void> {
  await sync(join(scratch, name));
  try {
    await link(join(scratch, name), join(folder, name));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    const message = `Cannot restore into "${folder}": somebody else has made a store there meanwhile`;
    throw new HoldfastError('STORE_EXISTS', message, { cause });
  }
  // Windows cannot sync a folder, and need not.
  if (process.platform !== 'win32') await sync(folder);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
