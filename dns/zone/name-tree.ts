/**
 * A tree of names, one node per label, the root being any name (a zone's apex, or the DNS root).
 *
 *            apex                children are found by a hash of (parent, label) in one table for the whole
 *           /    \               tree, so a step costs one look-up and no string is made
 *        img      www
 *        /
 *       *            nodes that only lie between others are empty non-terminals: they exist (RFC 4592 §2.2.2)
 *
 * The tree is built once and then only read. Queries can't make its chains longer: they add nothing to it.
 */
import { byteAt } from "../wire/bytes.ts";
import type { WireName } from "../wire/name.ts";

export interface TreeNode<Value> {
  readonly parent: TreeNode<Value> | undefined;
  /** Length octet and lower-case bytes. */
  readonly label: Uint8Array;
  readonly hash: number;
  /** The next node with the same hash. */
  next: TreeNode<Value> | undefined;
  readonly value: Value;
}

export interface NameTree<Value> {
  readonly root: TreeNode<Value>;
  readonly table: Map<number, TreeNode<Value>>;
  readonly makeValue: () => Value;
}

/** @param makeValue the value of a new node */
export function newNameTree<Value>(makeValue: () => Value): NameTree<Value> {
  const root = {
    parent: undefined,
    label: new Uint8Array(0),
    hash: 0x811c9dc5 | 0,
    next: undefined,
    value: makeValue(),
  };
  return { root, table: new Map(), makeValue };
}

/** The child of `parent` whose label is label `index` (from the left) of `name`. */
export function childOf<Value>(
  tree: NameTree<Value>,
  parent: TreeNode<Value>,
  name: WireName,
  index: number,
): TreeNode<Value> | undefined {
  const start = byteAt(name.labelStarts, index);
  return findChild(tree, parent, name.bytes, start);
}

/**
 * The node of `name` itself.
 * @param labelsAbove how many rightmost labels of `name` the root stands for
 */
export function findName<Value>(
  tree: NameTree<Value>,
  name: WireName,
  labelsAbove: number,
): TreeNode<Value> | undefined {
  let node: TreeNode<Value> | undefined = tree.root;
  for (let index = name.labelsCount - labelsAbove - 1; index >= 0 && node !== undefined; index--) {
    node = childOf(tree, node, name, index);
  }
  return node;
}

const wildcardLabel = Uint8Array.of(1, 0x2a);

/** The child of `parent` named `*`. */
export function wildcardChildOf<Value>(tree: NameTree<Value>, parent: TreeNode<Value>): TreeNode<Value> | undefined {
  return findChild(tree, parent, wildcardLabel, 0);
}

/**
 * The node of `name`, made with all nodes above it when it is not there yet.
 * @param labelsAbove how many rightmost labels of `name` the root stands for
 */
export function insertName<Value>(tree: NameTree<Value>, name: WireName, labelsAbove: number): TreeNode<Value> {
  let node = tree.root;
  for (let index = name.labelsCount - labelsAbove - 1; index >= 0; index--) {
    const start = byteAt(name.labelStarts, index);
    let child = findChild(tree, node, name.bytes, start);
    if (child === undefined) {
      const hash = hashLabel(node.hash, name.bytes, start);
      const label = name.bytes.slice(start, start + 1 + byteAt(name.bytes, start));
      child = { parent: node, label, hash, next: tree.table.get(hash), value: tree.makeValue() };
      tree.table.set(hash, child);
    }
    node = child;
  }
  return node;
}

function findChild<Value>(
  tree: NameTree<Value>,
  parent: TreeNode<Value>,
  bytes: Uint8Array,
  start: number,
): TreeNode<Value> | undefined {
  let node = tree.table.get(hashLabel(parent.hash, bytes, start));
  while (node !== undefined && !(node.parent === parent && isSameLabel(node.label, bytes, start))) node = node.next;
  return node;
}

/** FNV-1a over the label and its length, going on from the parent's hash. */
function hashLabel(seed: number, bytes: Uint8Array, start: number): number {
  const end = start + byteAt(bytes, start);
  let hash = seed;
  for (let i = start; i <= end; i++) hash = Math.imul(hash ^ byteAt(bytes, i), 0x01000193);
  return hash;
}

function isSameLabel(label: Uint8Array, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < label.length; i++) if (byteAt(label, i) !== byteAt(bytes, start + i)) return false;
  return true;
}
