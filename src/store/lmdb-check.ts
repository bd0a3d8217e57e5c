/** Checks a whole LMDB file: that its trees are sound, that no page is used twice, and that the records are whole. */
import { fstatSync } from 'node:fs';
import { compareKeys, type Key } from '../model/records.ts';
import {
  checkPage,
  childOf,
  damaged,
  inlineOf,
  keyOf,
  overflowOf,
  PAGE_BYTES,
  readMetas,
  readOverflow,
  readPages,
  writtenBy,
  type Meta,
  type Page,
  type Tree,
} from './lmdb-pages.ts';
import { matchesChecksum, matchesKey } from './lmdb-record.ts';

/** A node of the tree of free pages has the number of a transaction as its key. */
const FREE_KEY_BYTES = 8;

/** Leaf pages with no more than this many others between them are read at once. */
const RUN_GAP_PAGES = 4;
const RUN_PAGES = 64;

/**
 * Checks everything that LMDB will rely on, and every record; of the values that lie on pages of their own
 * only the beginning, because the rest is checked when it is read. Throws `STORE_CORRUPT` and says what is
 * damaged.
 *
 * Nobody may commit meanwhile. The time is that of reading all but the large values once.
 */
export function checkFile(fd: number): void {
  const [newest, older] = readMetas(fd);
  const used = new PageSet(newest, Math.floor(fstatSync(fd).size / PAGE_BYTES));
  checkRoot(fd, newest, newest.transaction);
  // When a meta page could not be written, LMDB gave it back its number only, not the roots that it had.
  checkRoot(fd, older, newest.transaction + 1);
  checkTree(fd, newest.main, used, (page, index) => checkRecord(fd, newest.main, page, index, used));
  const free: number[] = [];
  checkTree(fd, newest.free, used, (page, index) => collectFree(fd, newest.free, page, index, used, free));
  for (const page of free) {
    if (used.has(page)) throw damaged(`page ${page} is in use and listed as free`);
  }
}

/** Checks what the first look at the store touches: the meta pages, and the way to the first keys. */
export function checkHead(fd: number): void {
  const [newest] = readMetas(fd);
  const { main } = newest;
  let number = main.root;
  for (let level = 1; number !== undefined; level++) {
    const leaf = level === main.depth;
    const page = checkPage(readPages(fd, number, 1), number, leaf ? 'leaf' : 'branch', main);
    number = leaf ? undefined : childOf(page, 0);
  }
}

/**
 * Every transaction of ours writes the main tree, so the root of a meta page was written by the transaction
 * of that page. A meta page with a damaged transaction number is found by this.
 */
function checkRoot(fd: number, { main, transaction }: Meta, orTransaction: number): void {
  if (main.root === undefined) return;
  const tree = { ...main, transaction: orTransaction };
  const page = checkPage(readPages(fd, main.root, 1), main.root, main.depth > 1 ? 'branch' : 'leaf', tree);
  const writer = writtenBy(page);
  if (writer === transaction || writer === orTransaction) return;
  throw damaged(`the root of transaction ${transaction} is of transaction ${writer}`);
}

/** The pages that are in use, each once. */
class PageSet {
  readonly #bits: Uint8Array;
  readonly #end: number;
  readonly #last: number;

  constructor({ lastPage }: Meta, pagesInFile: number) {
    this.#last = lastPage;
    // LMDB may never have written pages at the end, when they were free again before their commit.
    this.#end = Math.min(lastPage + 1, pagesInFile);
    this.#bits = new Uint8Array(Math.ceil(this.#end / 8));
  }

  add(first: number, count: number): void {
    if (!(first >= 2 && first + count <= this.#end)) throw damaged(`page ${first} lies outside of the file`);
    for (let page = first; page < first + count; page++) {
      if (this.has(page)) throw damaged(`page ${page} is used twice`);
      this.#bits[page >> 3] = (this.#bits[page >> 3] as number) | (1 << (page & 7));
    }
  }

  has(page: number): boolean {
    return ((this.#bits[page >> 3] ?? 0) & (1 << (page & 7))) !== 0;
  }

  /** Whether a page may be listed as free. */
  covers(first: number, count: number): boolean {
    return first >= 2 && first + count - 1 <= this.#last;
  }
}

/** A page that is still to be read, and between which keys all of its own must be. */
interface Pending {
  readonly page: number;
  readonly from: Key | undefined;
  readonly to: Key | undefined;
}

type VisitNode = (page: Page, index: number) => void;

function checkTree(fd: number, tree: Tree, used: PageSet, visit: VisitNode): void {
  if (tree.root === undefined) {
    if (tree.entries !== 0) throw damaged(`the ${tree.name} tree lost its root`);
    return;
  }
  let pending: Pending[] = [{ page: tree.root, from: undefined, to: undefined }];
  let branchPages = 0;
  for (let level = 1; level < tree.depth; level++) {
    branchPages += pending.length;
    pending = childrenOf(fd, tree, pending, used);
  }
  const entries = checkLeaves(fd, tree, pending, used, visit);
  const complete = branchPages === tree.branchPages && pending.length === tree.leafPages && entries === tree.entries;
  if (!complete) throw damaged(`the ${tree.name} tree is not complete`);
}

function childrenOf(fd: number, tree: Tree, parents: readonly Pending[], used: PageSet): Pending[] {
  const children: Pending[] = [];
  for (const parent of parents) {
    used.add(parent.page, 1);
    const page = checkPage(readPages(fd, parent.page, 1), parent.page, 'branch', tree);
    checkBounds(tree, page, 1, parent);
    for (let i = 0; i < page.nodes; i++) {
      const from = i === 0 ? parent.from : keyOf(page, i);
      const to = i === page.nodes - 1 ? parent.to : keyOf(page, i + 1);
      children.push({ page: childOf(page, i), from, to });
    }
  }
  return children;
}

/** Reads the leaves in the order of the file, which a disk likes better than the order of the keys. */
function checkLeaves(fd: number, tree: Tree, leaves: readonly Pending[], used: PageSet, visit: VisitNode): number {
  const sorted = leaves.toSorted((a, b) => a.page - b.page);
  let entries = 0;
  for (let start = 0; start < sorted.length;) {
    const end = endOfRun(sorted, start);
    const first = (sorted[start] as Pending).page;
    for (let i = start; i < end; i++) used.add((sorted[i] as Pending).page, 1);
    const bytes = readPages(fd, first, (sorted[end - 1] as Pending).page - first + 1);
    for (; start < end; start++) {
      const leaf = sorted[start] as Pending;
      const offset = (leaf.page - first) * PAGE_BYTES;
      const page = checkPage(bytes.subarray(offset, offset + PAGE_BYTES), leaf.page, 'leaf', tree);
      checkBounds(tree, page, 0, leaf);
      for (let i = 0; i < page.nodes; i++) visit(page, i);
      entries += page.nodes;
    }
  }
  return entries;
}

function endOfRun(sorted: readonly Pending[], start: number): number {
  const first = (sorted[start] as Pending).page;
  let last = first;
  let end = start + 1;
  for (; end < sorted.length; end++) {
    const next = (sorted[end] as Pending).page;
    if (next - last > RUN_GAP_PAGES || next - first >= RUN_PAGES) break;
    last = next;
  }
  return end;
}

function checkBounds(tree: Tree, page: Page, firstIndex: number, { from, to }: Pending): void {
  if (tree.name === 'free' || page.nodes <= firstIndex) return;
  const low = from !== undefined && compareKeys(keyOf(page, firstIndex), from) < 0;
  const high = to !== undefined && compareKeys(keyOf(page, page.nodes - 1), to) >= 0;
  if (low || high) throw damaged(`page ${page.number} holds keys of another page`);
}

function checkRecord(fd: number, tree: Tree, page: Page, index: number, used: PageSet): void {
  const overflow = overflowOf(page, index, tree);
  if (overflow === undefined) {
    const { keyLength, bytes } = inlineOf(page, index);
    if (matchesChecksum(bytes, keyLength)) return;
  } else {
    used.add(overflow.first, overflow.pages);
    if (matchesKey(keyOf(page, index), readOverflow(fd, page, index, overflow, false))) return;
  }
  throw damaged(`the checksum of record ${index} of page ${page.number} is wrong`);
}

/** Collects the pages of one list of free pages: 0 is a gap, a negative number the length of the run at the next one. */
function collectFree(fd: number, tree: Tree, page: Page, index: number, used: PageSet, free: number[]): void {
  const overflow = overflowOf(page, index, tree);
  if (overflow !== undefined) used.add(overflow.first, overflow.pages);
  const list =
    overflow === undefined
      ? inlineOf(page, index).bytes.subarray(FREE_KEY_BYTES)
      : readOverflow(fd, page, index, overflow, true);
  const view = new DataView(list.buffer, list.byteOffset, list.length);
  const count = list.length >= 8 ? Number(view.getBigInt64(0, true)) : NaN;
  if (keyOf(page, index).length !== FREE_KEY_BYTES || !(count >= 0 && count * 8 + 8 <= list.length)) {
    throw damaged(`the list of free pages ${index} of page ${page.number} is damaged`);
  }
  for (let i = 1; i <= count; i++) {
    const entry = Number(view.getBigInt64(8 * i, true));
    if (entry === 0) continue;
    const [first, length] = entry > 0 ? [entry, 1] : [i < count ? Number(view.getBigInt64(8 * ++i, true)) : 0, -entry];
    if (!used.covers(first, length)) throw damaged(`a free page of page ${page.number} lies outside of the file`);
    for (let at = first; at < first + length; at++) free.push(at);
  }
}
