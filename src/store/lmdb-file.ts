/**
 * Opening and making the files of an LMDB store: `x.mdb`, LMDB's `x.mdb-lock`, and while it is open a commit log
 * `x.mdb-log-…`.
 *
 * When LMDB cannot open or make a file, the `lmdb` package ends the process with a segmentation fault. So
 * everything that it would do is done or tried here before.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { open } from 'lmdb';
import { StoreError } from '../model/errors.ts';
import type { Random } from '../model/random.ts';
import type { Key } from '../model/records.ts';
import { checkHead } from './lmdb-check.ts';
import { keyCodec, valueCodec } from './lmdb-codec.ts';
import { emptyFile, PAGE_BYTES } from './lmdb-pages.ts';
import { Table, type Database } from './lmdb-table.ts';
import type { LogFiles } from './commit-log.ts';
import { damaged, emptyLog, LogFile } from './log-file.ts';

/**
 * The version of the format: of the tables of `lmdb.ts`, of the checksum of a record, and of the log.
 *
 * To change any of them: raise this number; let `checkHeader` accept the versions that this package can
 * still read, and bring a file of an older one up to date in the transaction in which it writes the new
 * number; keep a file that the last release wrote under `test/store/`, with a test that opens it; and note
 * in the changelog that a release before this one refuses the file, with `STORE_TOO_NEW`.
 */
const FORMAT_VERSION = 1;

const APPLICATION = 'holdfast';
/** The header has a table of its own, with the empty key. */
const HEADER_TABLE = 0x00;
const HEADER_KEY: Key = new Uint8Array();

/** The table of readers and the mutexes, for the 126 readers that LMDB has by default. */
const LOCK_FILE_BYTES = 8_272;
/** LMDB opens fewer descriptors than this. */
const DESCRIPTORS = 6;

interface Header {
  readonly application: string;
  readonly format: number;
}

/** Opens the file, and makes it before when it is absent: the folder with mode 0700, the file with 0600. */
export async function openLmdbFile(folder: string, file: string): Promise<Database> {
  makeFolder(folder);
  makeFile(folder, file, emptyFile);
  // LMDB would make this file with a hole, and a full disk under a hole in mapped memory ends the process.
  makeFile(folder, lockFileOf(file), () => new Uint8Array(LOCK_FILE_BYTES));
  checkAccess(file);
  withFile(file, 'r', (fd) => checkHeadBesideWriters(fd));
  const database = openDatabase(file);
  try {
    checkHeader(database);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** The files of the logs of the store in this file. */
export function logFilesOf(folder: string, file: string, random: Random): LogFiles {
  const prefix = `${file}-log-`;
  const pathOf = (identity: string): string => `${prefix}${identity}`;
  const open = (identity: string): LogFile => {
    const path = pathOf(identity);
    if (!existsSync(path)) throw damaged(`"${path}" is missing`);
    const log = new LogFile(path);
    if (log.identity === identity) return log;
    log.close();
    throw damaged(`"${path}" is another log`);
  };
  return {
    open,
    create(kept) {
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (path.startsWith(prefix) && path !== (kept && pathOf(kept))) rmSync(path, { force: true });
      }
      const log = emptyLog(random);
      makeFile(folder, pathOf(log.identity), () => log.bytes);
      return new LogFile(pathOf(log.identity));
    },
    seal(identity) {
      const log = open(identity);
      log.seal();
      log.close();
    },
    remove: (identity) => rmSync(pathOf(identity), { force: true }),
  };
}

/** Puts the header into a file that has none yet, in the write transaction under way. */
export function writeHeader(database: Database): void {
  const headers = new Table(database, HEADER_TABLE);
  if (headers.get(HEADER_KEY) !== undefined) return;
  const header: Header = { application: APPLICATION, format: FORMAT_VERSION };
  headers.put(HEADER_KEY, Buffer.from(JSON.stringify(header)));
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
 * Makes a file when it is absent: aside, and it gets its name when it is whole and synced. So there is never
 * a part of one under the name, whenever the power goes, and of several processes that do this one wins.
 */
function makeFile(folder: string, file: string, contents: () => Uint8Array): void {
  if (existsSync(file)) return;
  const aside = mkdtempSync(join(folder, '.new-'));
  try {
    const made = join(aside, 'file');
    writeFileSync(made, contents(), { mode: 0o600, flag: 'wx' });
    withFile(made, 'r+', fsyncSync);
    linkSync(made, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  syncFolder(folder);
}

function makeFolder(folder: string): void {
  const firstMade = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (firstMade === undefined) return;
  for (let made = resolve(folder); ; made = dirname(made)) {
    syncFolder(dirname(made));
    if (made === resolve(firstMade) || made === dirname(made)) return;
  }
}

/** Makes the names in a folder durable. Windows does so by itself, and cannot open a folder. */
function syncFolder(folder: string): void {
  if (process.platform !== 'win32') withFile(folder, 'r', fsyncSync);
}

function lockFileOf(file: string): string {
  return `${file}-lock`;
}

/**
 * Throws when LMDB could not open its files. The lock file must not be opened for that: closing it would
 * release the locks that LMDB holds for another store object of this process.
 */
function checkAccess(file: string): void {
  for (const each of [file, lockFileOf(file)]) {
    accessSync(each, constants.R_OK | constants.W_OK);
    if (!statSync(each).isFile()) throw new Error(`"${each}" is not a file`);
  }
  const descriptors: number[] = [];
  try {
    while (descriptors.length < DESCRIPTORS) descriptors.push(openSync(file, 'r+'));
  } finally {
    descriptors.forEach(closeSync);
  }
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

function checkHeader(database: Database): void {
  const snapshot = database.useReadTransaction();
  try {
    const bytes = new Table(database, HEADER_TABLE).get(HEADER_KEY, snapshot);
    const { entryCount } = database.getStats() as { readonly entryCount: number };
    if (bytes === undefined && entryCount === 0) return;
    const header = bytes && (JSON.parse(Buffer.from(bytes).toString()) as Partial<Header>);
    if (header?.application !== APPLICATION || header.format === undefined) {
      throw new StoreError('STORE_CORRUPT', 'aborted', 'Cannot use the store: the file is of another application');
    }
    if (header.format > FORMAT_VERSION) {
      const message = `Cannot use the store: its format ${header.format} is newer than ${FORMAT_VERSION}, upgrade this package`;
      throw new StoreError('STORE_TOO_NEW', 'aborted', message);
    }
  } finally {
    snapshot.done();
  }
}
