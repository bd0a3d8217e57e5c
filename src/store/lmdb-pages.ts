/**
 * The pages of an LMDB file, read with ordinary reads and checked before they are believed.
 *
 * LMDB trusts what it maps: a damaged page makes it follow wild pointers, abort, or miss keys. So the
 * file is checked here first. The layout is that of data version 2 of the `lmdb` package, in
 * `dependencies/lmdb/libraries/liblmdb/mdb.c`: MDB_page_header, MDB_meta, MDB_db and MDB_node.
 */
import { fstatSync, readSync } from 'node:fs';
import { StoreError } from '../model/errors.ts';

/** The page size of our files; pages of 4 KiB would take keys up to 1,978 bytes only. */
export const PAGE_BYTES = 8_192;

const HEADER_BYTES = 24;
const BODY_BYTES: number = PAGE_BYTES - HEADER_BYTES;
const NODE_HEADER_BYTES = 8;
const OVERFLOW_REFERENCE_BYTES = 24;

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const [BRANCH, LEAF, OVERFLOW, META] = [0x01, 0x02, 0x04, 0x08];
const BIG_DATA = 0x01;
/** MDB_NOSUBDIR, and MDB_INTEGERKEY for the tree of free pages. */
const FREE_TREE_FLAGS = 0x4008;
/** A transaction cannot leave more pages at the end unwritten: LMDB lists no more changed pages than these. */
const MOST_UNWRITTEN_PAGES = 2 ** 17;
/** Numbers above this occur in damaged files only. */
const MOST_PAGES = 2 ** 39;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/** The first size of the map, which LMDB enlarges as it needs. */
const MAP_BYTES = 0x20000n;

/** One B-tree of the file, as a meta page describes it. */
export interface Tree {
  readonly name: 'main' | 'free';
  /** The last transaction, which no page of the tree can be younger than. */
  readonly transaction: number;
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly entries: number;
  /** `undefined` when the tree is empty. */
  readonly root: number | undefined;
}

/** One of the two meta pages. The one with the higher transaction number is the state of the file. */
export interface Meta {
  readonly transaction: number;
  readonly lastPage: number;
  readonly free: Tree;
  readonly main: Tree;
}

/** A branch or leaf page that was checked: every node lies inside it, and its keys ascend. */
export interface Page {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly nodes: number;
}

/** A value on pages of its own. */
export interface Overflow {
  readonly first: number;
  readonly pages: number;
}

/** Damage that was found; the caller adds the name of the file. */
export function damaged(what: string): StoreError {
  return new StoreError('STORE_CORRUPT', 'aborted', `Cannot use the store: ${what}`);
}

/** Reads `count` pages from `first` on. */
export function readPages(fd: number, first: number, count: number): Uint8Array {
  if (first > MOST_PAGES) throw damaged(`page ${first} lies behind the end of the file`);
  const bytes = new Uint8Array(count * PAGE_BYTES);
  for (let at = 0; at < bytes.length;) {
    const read = readSync(fd, bytes, at, bytes.length - at, first * PAGE_BYTES + at);
    if (read === 0) throw damaged(`page ${first + Math.floor(at / PAGE_BYTES)} lies behind the end of the file`);
    at += read;
  }
  return bytes;
}

/** The contents of a new file: the two meta pages of transaction 0, with empty trees. */
export function emptyFile(): Uint8Array {
  const bytes = new Uint8Array(2 * PAGE_BYTES);
  for (const number of [0, 1]) {
    const view = new DataView(bytes.buffer, number * PAGE_BYTES, PAGE_BYTES);
    const at = (offset: number): number => HEADER_BYTES + offset;
    view.setBigUint64(0, BigInt(number), true);
    view.setUint16(18, META, true);
    view.setUint32(at(0), MAGIC, true);
    view.setUint32(at(4), DATA_VERSION, true);
    view.setBigUint64(at(16), MAP_BYTES, true);
    view.setUint32(at(24), PAGE_BYTES, true);
    view.setUint16(at(28), FREE_TREE_FLAGS, true);
    for (const tree of [at(24), at(72)]) view.setBigUint64(tree + 40, NO_PAGE, true);
    view.setBigUint64(at(120), 1n, true);
  }
  return bytes;
}

/** Reads and checks both meta pages; the newer one comes first. */
export function readMetas(fd: number): readonly [Meta, Meta] {
  const bytes = new Uint8Array(2 * PAGE_BYTES);
  if (readSync(fd, bytes, 0, bytes.length, 0) < bytes.length) throw damaged('the file is too short to be a store');
  const [even, odd] = [parseMeta(bytes, 0), parseMeta(bytes, 1)];
  // LMDB maps as much as the meta page asks for, and cannot say when that is refused.
  const mostPages = Math.floor(fstatSync(fd).size / PAGE_BYTES) + MOST_UNWRITTEN_PAGES;
  if (even.lastPage > mostPages || odd.lastPage > mostPages) throw damaged('the end of the file is missing');
  // Commits write the two pages in turn, so their numbers follow each other; both are 0 in a new file.
  if (Math.abs(even.transaction - odd.transaction) !== 1 && even.transaction + odd.transaction !== 0) {
    throw damaged('the two meta pages are not of successive transactions');
  }
  const [newest, older] = even.transaction >= odd.transaction ? [even, odd] : [odd, even];
  // The older one may have roots of a transaction that failed, together with a last page of its own.
  for (const { root } of [newest.main, newest.free]) {
    if (root !== undefined && !(root >= 2 && root <= newest.lastPage)) throw damaged('a root lies outside of the file');
  }
  return [newest, older];
}

function parseMeta(bytes: Uint8Array, number: number): Meta {
  const view = new DataView(bytes.buffer, number * PAGE_BYTES, PAGE_BYTES);
  const at = (offset: number): number => HEADER_BYTES + offset;
  const version = view.getUint32(at(4), true);
  if (view.getUint32(at(0), true) !== MAGIC) throw damaged('the file is not a store, or its head is damaged');
  if (version > DATA_VERSION && version < 100) {
    throw new StoreError(
      'STORE_TOO_NEW',
      'aborted',
      `Cannot use the store: its LMDB data version ${version} is unknown here`,
    );
  }
  const transaction = toNumber(view.getBigUint64(at(128), true));
  const meta: Meta = {
    transaction,
    lastPage: toNumber(view.getBigUint64(at(120), true)),
    free: { name: 'free', transaction, ...parseTree(view, at(24)) },
    main: { name: 'main', transaction, ...parseTree(view, at(72)) },
  };
  const sound =
    version === DATA_VERSION &&
    toNumber(view.getBigUint64(0, true)) === number &&
    view.getUint16(18, true) === META &&
    view.getUint32(at(24), true) === PAGE_BYTES &&
    view.getUint16(at(28), true) === FREE_TREE_FLAGS &&
    view.getUint16(at(76), true) === 0 &&
    (meta.transaction === 0 || meta.transaction % 2 === number);
  if (!sound) throw damaged(`meta page ${number} is damaged`);
  return meta;
}

function parseTree(view: DataView, offset: number): Omit<Tree, 'name' | 'transaction'> {
  const root = view.getBigUint64(offset + 40, true);
  return {
    depth: view.getUint16(offset + 6, true),
    branchPages: toNumber(view.getBigUint64(offset + 8, true)),
    leafPages: toNumber(view.getBigUint64(offset + 16, true)),
    entries: toNumber(view.getBigUint64(offset + 32, true)),
    root: root === NO_PAGE ? undefined : toNumber(root),
  };
}

/** Numbers above 2^53 occur in damaged files only; there a wrong one serves as well. */
function toNumber(value: bigint): number {
  return Number(value);
}

/** The transaction that wrote a page. */
export function writtenBy({ view }: Page): number {
  return toNumber(view.getBigUint64(8, true));
}

/** Checks the page `number` of `tree` in `bytes`, which must be a branch or a leaf as `kind` says. */
export function checkPage(bytes: Uint8Array, number: number, kind: 'branch' | 'leaf', tree: Tree): Page {
  const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
  const lower = view.getUint16(20, true);
  const upper = view.getUint16(22, true);
  const page: Page = { number, bytes, view, nodes: lower >> 1 };
  const flags = kind === 'leaf' ? LEAF : BRANCH;
  const sound =
    toNumber(view.getBigUint64(0, true)) === number &&
    // LMDB takes a page of a later transaction for one that it has in memory.
    writtenBy(page) <= tree.transaction &&
    view.getUint32(16, true) >>> 16 === flags &&
    lower % 2 === 0 &&
    lower <= upper &&
    upper <= BODY_BYTES &&
    page.nodes >= (kind === 'branch' && tree.name === 'main' ? 2 : 1);
  if (!sound) throw damaged(`page ${number} is not the ${kind} page that it should be`);
  checkNodes(page, kind, upper);
  // The keys of the free tree are numbers in the order of the machine.
  if (tree.name === 'main') checkOrder(page, kind);
  return page;
}

function checkNodes(page: Page, kind: 'branch' | 'leaf', upper: number): void {
  const { view, nodes, number } = page;
  let total = 0;
  for (let i = 0; i < nodes; i++) {
    const pointer = view.getUint16(HEADER_BYTES + 2 * i, true);
    if (pointer < upper || pointer % 2 !== 0 || pointer + NODE_HEADER_BYTES > BODY_BYTES) {
      throw damaged(`node ${i} of page ${number} lies outside of it`);
    }
    const size = nodeBytes(view, HEADER_BYTES + pointer, kind);
    if (pointer + size > BODY_BYTES) throw damaged(`node ${i} of page ${number} reaches beyond it`);
    total += size + (size % 2);
  }
  if (total !== BODY_BYTES - upper) throw damaged(`the nodes of page ${number} do not fill it`);
}

function checkOrder(page: Page, kind: 'branch' | 'leaf'): void {
  // The first key of a branch page has no meaning.
  for (let i = kind === 'branch' ? 2 : 1; i < page.nodes; i++) {
    if (compareNodes(page, i - 1, i) >= 0) throw damaged(`the keys of page ${page.number} are not in order`);
  }
}

function nodeBytes(view: DataView, node: number, kind: 'branch' | 'leaf'): number {
  const keyLength = view.getUint16(node + 6, true);
  if (kind === 'branch') return NODE_HEADER_BYTES + keyLength;
  const flags = view.getUint16(node + 4, true);
  if (flags === BIG_DATA) return NODE_HEADER_BYTES + keyLength + OVERFLOW_REFERENCE_BYTES;
  if (flags !== 0) return Infinity;
  return NODE_HEADER_BYTES + keyLength + view.getUint32(node, true);
}

function nodeAt({ view }: Page, index: number): number {
  return HEADER_BYTES + view.getUint16(HEADER_BYTES + 2 * index, true);
}

function compareNodes(page: Page, a: number, b: number): number {
  const { bytes, view } = page;
  const [nodeA, nodeB] = [nodeAt(page, a), nodeAt(page, b)];
  const [lengthA, lengthB] = [view.getUint16(nodeA + 6, true), view.getUint16(nodeB + 6, true)];
  const shared = Math.min(lengthA, lengthB);
  for (let i = NODE_HEADER_BYTES; i < NODE_HEADER_BYTES + shared; i++) {
    const difference = (bytes[nodeA + i] as number) - (bytes[nodeB + i] as number);
    if (difference !== 0) return difference;
  }
  return lengthA - lengthB;
}

/** The key of a node, as a view. */
export function keyOf(page: Page, index: number): Uint8Array {
  const node = nodeAt(page, index);
  const start = node + NODE_HEADER_BYTES;
  return page.bytes.subarray(start, start + page.view.getUint16(node + 6, true));
}

/** The page that a node of a branch page points to. */
export function childOf(page: Page, index: number): number {
  const node = nodeAt(page, index);
  return page.view.getUint32(node, true) + page.view.getUint16(node + 4, true) * 2 ** 32;
}

/** The pages that hold the value of a node of a leaf page, or `undefined` when it is in the node. */
export function overflowOf(page: Page, index: number, { transaction }: Tree): Overflow | undefined {
  const node = nodeAt(page, index);
  const { view } = page;
  if (view.getUint16(node + 4, true) !== BIG_DATA) return undefined;
  const reference = node + NODE_HEADER_BYTES + view.getUint16(node + 6, true);
  const overflow = {
    first: toNumber(view.getBigUint64(reference, true)),
    pages: toNumber(view.getBigUint64(reference + 16, true)),
  };
  const needed = Math.ceil((HEADER_BYTES + view.getUint32(node, true)) / PAGE_BYTES);
  if (toNumber(view.getBigUint64(reference + 8, true)) > transaction) {
    throw damaged(`node ${index} of page ${page.number} is of a later transaction`);
  }
  // A value that was replaced by a shorter one within a transaction keeps the pages of the longer one.
  if (!(overflow.pages >= needed)) throw damaged(`node ${index} of page ${page.number} has too few pages`);
  return overflow;
}

/** Key and value of a node whose value is in the page, as one view, and the length of the key. */
export function inlineOf(page: Page, index: number): { keyLength: number; bytes: Uint8Array } {
  const node = nodeAt(page, index);
  const keyLength = page.view.getUint16(node + 6, true);
  const start = node + NODE_HEADER_BYTES;
  return { keyLength, bytes: page.bytes.subarray(start, start + keyLength + page.view.getUint32(node, true)) };
}

/** The beginning of a value that is on pages of its own, or the whole of it. */
export function readOverflow(
  fd: number,
  page: Page,
  index: number,
  { first, pages }: Overflow,
  whole: boolean,
): Uint8Array {
  const length = page.view.getUint32(nodeAt(page, index), true);
  const bytes = readPages(fd, first, whole ? pages : 1);
  const view = new DataView(bytes.buffer);
  const sound =
    toNumber(view.getBigUint64(0, true)) === first &&
    toNumber(view.getBigUint64(8, true)) <= writtenBy(page) &&
    view.getUint16(18, true) === OVERFLOW &&
    view.getUint32(20, true) === pages;
  if (!sound) throw damaged(`page ${first} is not the first one of the value that it should be`);
  return bytes.subarray(HEADER_BYTES, Math.min(HEADER_BYTES + length, bytes.length));
}
