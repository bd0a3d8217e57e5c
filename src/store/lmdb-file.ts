/** Opening and making the file of an LMDB store. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { open } from 'lmdb';
import { StoreError } from '../model/errors.ts';
import type { Key } from '../model/records.ts';
import { checkHead } from './lmdb-check.ts';
import { keyCodec, valueCodec } from './lmdb-codec.ts';
import { PAGE_BYTES } from './lmdb-pages.ts';
import { Table, type Database } from './lmdb-table.ts';

/**
 * The version of the format: of the header, of the keys and records of `lmdb.ts`, of the seal of a record,
 * and of the log.
 *
 * To change any of them: raise this number; let `openLmdbFile` accept the versions that this package can
 * still read, and bring a file of an older one up to date in the transaction in which it writes the new
 * number; keep a file that the last release wrote under `test/store/` with a test that opens it; and note
 * in the changelog that a release before this one cannot open the file any more, which it says itself
 * with `STORE_TOO_NEW`.
 */
export const FORMAT_VERSION = 1;

const APPLICATION = 'holdfast';
/** The header has a table of its own, with the empty key. */
const HEADER_TABLE = 0x00;
const HEADER_KEY: Key = new Uint8Array();

interface Header {
  readonly application: string;
  readonly format: number;
}

/** Opens the file, and makes it before when it is absent. `folder` gets mode 0700 and the file 0600 when they are made. */
export async function openLmdbFile(folder: string, file: string): Promise<Database> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!existsSync(file)) await makeFile(folder, file);
  withFile(file, 'r', (fd) => checkHeadBesideWriters(fd));
  const database = openDatabase(file);
  try {
    database.resetReadTxn();
    const snapshot = database.useReadTransaction();
    try {
      checkHeader(new Table(database, HEADER_TABLE).get(HEADER_KEY, snapshot));
    } finally {
      snapshot.done();
    }
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Runs `use` with a descriptor of the file. */
export function withFile<T>(file: string, flags: 'r' | 'r+', use: (fd: number) => T): T {
  const fd = openSync(file, flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes a new file aside and gives it its name when it is whole and synced, so that there is never a part
 * of one under the name, whenever the power goes. Of several processes that do this at once one wins.
 */
async function makeFile(folder: string, file: string): Promise<void> {
  const aside = mkdtempSync(join(folder, '.new-'));
  try {
    const made = join(aside, 'new.mdb');
    const database = openDatabase(made);
    const header: Header = { application: APPLICATION, format: FORMAT_VERSION };
    database.transactionSync(() =>
      new Table(database, HEADER_TABLE).put(HEADER_KEY, Buffer.from(JSON.stringify(header))),
    );
    await database.close();
    try {
      linkSync(made, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  for (const entry of [folder, dirname(folder)]) syncFolder(entry);
}

/** Makes the names in a folder durable. Windows does so by itself, and cannot open a folder. */
function syncFolder(folder: string): void {
  if (process.platform !== 'win32') withFile(folder, 'r', fsyncSync);
}

function openDatabase(file: string): Database {
  const options = {
    path: file,
    noSubdir: true,
    keyEncoder: keyCodec,
    encoder: valueCodec,
    pageSize: PAGE_BYTES,
    // With this a commit would be synced some time after it was reported.
    overlappingSync: false,
    maxDbs: 1,
    // The types of the package do not know this one.
    permissionsMode: 0o600,
  };
  return open(options);
}

/** A commit of another process during the check can make it fail: then the meta pages have changed meanwhile. */
function checkHeadBesideWriters(fd: number): void {
  const metas = Buffer.alloc(2 * PAGE_BYTES);
  for (let seen = ''; ;) {
    try {
      return checkHead(fd);
    } catch (error) {
      readSync(fd, metas, 0, metas.length, 0);
      const now = metas.toString('latin1');
      if (now === seen) throw error;
      seen = now;
    }
  }
}

function checkHeader(bytes: Uint8Array | undefined): void {
  const header = bytes && (JSON.parse(Buffer.from(bytes).toString()) as Partial<Header>);
  if (header?.application !== APPLICATION || header.format === undefined) {
    throw new StoreError('STORE_CORRUPT', 'aborted', 'Cannot use the store: the file is of another application');
  }
  if (header.format > FORMAT_VERSION) {
    const message = `Cannot use the store: its format ${header.format} is newer than ${FORMAT_VERSION}, upgrade this package`;
    throw new StoreError('STORE_TOO_NEW', 'aborted', message);
  }
}
