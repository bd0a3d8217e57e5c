/**
 * An ordered set that also answers rank and offset: a B+ tree in memory whose branches count what is below.
 * Adding, removing, finding the first, the n-th, and the rank of an item are O(log n).
 */

/** Orders two items; 0 only for the same item. */
export type Compare<T> = (a: T, b: T) => number;

const MAX_ITEMS = 64;

interface Leaf<T> {
  readonly leaf: true;
  readonly items: T[];
}

interface Branch<T> {
  readonly leaf: false;
  readonly children: Node<T>[];
  /** The first item of each child. Never one that was removed: its owner may change what it is ordered by. */
  readonly lows: T[];
  count: number;
}

type Node<T> = Leaf<T> | Branch<T>;

export class OrderedIndex<T> {
  readonly #compare: Compare<T>;
  #root: Node<T> = { leaf: true, items: [] };

  constructor(compare: Compare<T>) {
    this.#compare = compare;
  }

  get size(): number {
    return countOf(this.#root);
  }

  /** Adds an item that is not in the set. */
  add(item: T): void {
    const split = this.#add(this.#root, item);
    if (split === undefined) return;
    const children = [this.#root, split];
    const lows = [firstOf(this.#root), firstOf(split)];
    this.#root = { leaf: false, children, lows, count: countOf(this.#root) + countOf(split) };
  }

  /** Removes an item and says whether it was there. */
  remove(item: T): boolean {
    const removed = this.#remove(this.#root, item);
    while (!this.#root.leaf && this.#root.children.length === 1) this.#root = this.#root.children[0] as Node<T>;
    return removed;
  }

  first(): T | undefined {
    let node = this.#root;
    while (!node.leaf) node = node.children[0] as Node<T>;
    return node.items[0];
  }

  /** The item with this 0-based rank. */
  at(rank: number): T | undefined {
    let node = this.#root;
    let left = rank;
    descend: while (!node.leaf) {
      for (const child of node.children) {
        const count = countOf(child);
        if (left < count) {
          node = child;
          continue descend;
        }
        left -= count;
      }
      return undefined;
    }
    return node.items[left];
  }

  /** How many items come before this one, whether it is in the set or not. */
  rank(item: T): number {
    let node = this.#root;
    let before = 0;
    while (!node.leaf) {
      const position = this.#childFor(node, item);
      for (let i = 0; i < position; i++) before += countOf(node.children[i] as Node<T>);
      node = node.children[position] as Node<T>;
    }
    return before + this.#position(node.items, item);
  }

  has(item: T): boolean {
    const found = this.at(this.rank(item));
    return found !== undefined && this.#compare(found, item) === 0;
  }

  /** Up to `limit` items from the one with rank `offset`, in order. */
  slice(offset: number, limit: number): T[] {
    const items: T[] = [];
    for (let rank = offset; rank < offset + limit; rank++) {
      const item = this.at(rank);
      if (item === undefined) break;
      items.push(item);
    }
    return items;
  }

  #add(node: Node<T>, item: T): Node<T> | undefined {
    if (node.leaf) {
      node.items.splice(this.#position(node.items, item), 0, item);
      return node.items.length > MAX_ITEMS ? splitLeaf(node, this.#isLast(node, item)) : undefined;
    }
    const position = this.#childFor(node, item);
    const child = node.children[position] as Node<T>;
    if (this.#compare(item, node.lows[position] as T) < 0) node.lows[position] = item;
    node.count += 1;
    const split = this.#add(child, item);
    if (split === undefined) return undefined;
    node.children.splice(position + 1, 0, split);
    node.lows.splice(position + 1, 0, firstOf(split));
    return node.children.length > MAX_ITEMS ? splitBranch(node) : undefined;
  }

  #isLast(leaf: Leaf<T>, item: T): boolean {
    return leaf.items[leaf.items.length - 1] === item;
  }

  #remove(node: Node<T>, item: T): boolean {
    if (node.leaf) {
      const position = this.#position(node.items, item);
      const found = node.items[position];
      if (found === undefined || this.#compare(found, item) !== 0) return false;
      if (position === 0) node.items.shift();
      else node.items.splice(position, 1);
      return true;
    }
    const position = this.#childFor(node, item);
    const child = node.children[position] as Node<T>;
    if (!this.#remove(child, item)) return false;
    node.count -= 1;
    if (countOf(child) === 0 && node.children.length > 1) {
      node.children.splice(position, 1);
      node.lows.splice(position, 1);
    } else if (countOf(child) > 0 && this.#compare(node.lows[position] as T, item) === 0) {
      node.lows[position] = firstOf(child);
    }
    return true;
  }

  /** The last child whose low is not above the item, or the first. */
  #childFor(branch: Branch<T>, item: T): number {
    let low = 1;
    let high = branch.lows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(branch.lows[middle] as T, item) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The position of the first item that is not below this one. */
  #position(items: readonly T[], item: T): number {
    const last = items.length - 1;
    if (last >= 0 && this.#compare(items[last] as T, item) < 0) return items.length;
    let low = 0;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(items[middle] as T, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function countOf<T>(node: Node<T>): number {
  return node.leaf ? node.items.length : node.count;
}

function firstOf<T>(node: Node<T>): T {
  let at = node;
  while (!at.leaf) at = at.children[0] as Node<T>;
  return at.items[0] as T;
}

/** Splits off the upper half; after an append only the new item, so that growing sequences leave full leaves. */
function splitLeaf<T>(leaf: Leaf<T>, appended: boolean): Leaf<T> {
  return { leaf: true, items: leaf.items.splice(appended ? leaf.items.length - 1 : leaf.items.length >>> 1) };
}

function splitBranch<T>(branch: Branch<T>): Branch<T> {
  const from = branch.children.length >>> 1;
  const children = branch.children.splice(from);
  const lows = branch.lows.splice(from);
  const count = children.reduce((sum, child) => sum + countOf(child), 0);
  branch.count -= count;
  return { leaf: false, children, lows, count };
}
