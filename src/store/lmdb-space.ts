/** The room on the disk of an LMDB store. */
import { statfsSync } from 'node:fs';
import { StoreError } from '../model/errors.ts';
import { PAGE_BYTES } from './lmdb-pages.ts';
import type { Database, WriteMeter } from './lmdb-table.ts';

/** With more free space than this nothing is counted. */
export const AMPLE_BYTES: number = 256 * 1024 * 1024;

/** For the free list and the branch pages. */
const SPARE_PAGES = 32;

interface TreeStats {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface Stats extends TreeStats {
  readonly lastPageNumber: number;
  readonly free: TreeStats;
}

/** The bytes that the disk of the file has left. */
export function freeBytesOnDisk(file: string): number {
  const { bavail, bsize } = statfsSync(file);
  return bavail * bsize;
}

/** The pages of the file that no tree uses, in bytes; LMDB fills them before it lets the file grow. */
export function reusableBytes(database: Database): number {
  const stats = database.getStats() as Stats;
  const pagesOf = (tree: TreeStats): number => tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages;
  return Math.max(stats.lastPageNumber - 1 - pagesOf(stats) - pagesOf(stats.free), 0) * PAGE_BYTES;
}

/**
 * Throws `STORE_FULL` when the write transaction under way might find no room. It is looked for before LMDB
 * does, because the `lmdb` package writes its message about a failed write into memory that is too small
 * for it, which can end the process.
 */
export function checkRoom(database: Database, file: string, { records, largeBytes }: WriteMeter): void {
  const free = freeBytesOnDisk(file);
  if (free > AMPLE_BYTES) return;
  const stats = database.getStats() as Stats;
  // A record changes the page that it is in, and may split it; more pages than there are do not change.
  const pages = Math.min(records * 2, stats.treeBranchPageCount + stats.treeLeafPageCount) + SPARE_PAGES;
  const needed = largeBytes + pages * PAGE_BYTES;
  // Not every page that no tree uses can be had: some belong to a snapshot, and a large value needs neighbours.
  if (free + reusableBytes(database) / 2 >= needed) return;
  const message = `Cannot commit: the disk has ${free} bytes left, and up to ${needed} may be needed`;
  throw new StoreError('STORE_FULL', 'aborted', message);
}
