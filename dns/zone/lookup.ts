/**
 * Finds a name in the zones (RFC 1034 §4.3.2), pure and without allocation: from the root down, one table step per
 * label, so that it finds a zone's apex and a delegation before the name itself.
 *
 *   img.eu.cdn.test     test ▶ cdn (apex: zone 0) ▶ eu ▶ img          the deepest apex is the zone that answers
 *
 * A DS question at the apex of one of our zones belongs to the parent zone, if that one is ours as well (RFC 4035
 * §3.1.4.1).
 */
import { byteAt, intAt } from "../wire/bytes.ts";
import { labelHash, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import {
  flagBits,
  hasCname,
  hasDname,
  hasWildcard,
  isApex,
  isCut,
  nodeExtra,
  nodeFirstSet,
  nodeFlags,
  nodeLabelAt,
  nodeParent,
  nodeWords,
  setType,
  setWords,
  type NameTable,
  type CompiledZones,
} from "./compiled-zones.ts";

/** The name exists, at `node`. */
export const foundHere = 0;
/** The name does not exist; `node` is the wildcard that matches it (RFC 4592). */
export const foundByWildcard = 1;
/** At or below the delegation at `node` to other servers. */
export const foundDelegation = 2;
/** Below the DNAME at `node` (RFC 6672). */
export const foundDname = 3;
/** The name would be in the zone but does not exist; `node` is its closest encloser. */
export const foundMissing = 4;
export type FoundKind =
  typeof foundHere | typeof foundByWildcard | typeof foundDelegation | typeof foundDname | typeof foundMissing;

/** The result of a lookup. One object is reused for all queries. */
export interface Found {
  /** Valid only if `zone` is not -1. */
  kind: FoundKind;
  /** -1: in none of our zones. */
  zone: number;
  node: number;
  /** Number of rightmost labels of the name that `node` has; for a wildcard, those of its parent. */
  nodeLabels: number;
  /** Table entries visited. */
  steps: number;
}

export function emptyFound(): Found {
  return { kind: foundMissing, zone: -1, node: 0, nodeLabels: 0, steps: 0 };
}

/**
 * Looks for `name`. A wildcard matches only names whose closest encloser is its parent, so never names below an
 * existing name, including empty non-terminals (RFC 4592 §3.3).
 */
export function lookUp(names: NameTable, name: WireName, type: number, found: Found): void {
  const { nodes } = names;
  const { bytes, labelStarts, labelHashes, labelsCount: labels } = name;
  let node = 0;
  let flags = intAt(nodes, nodeFlags);
  let zone = (flags & isApex) !== 0 ? intAt(nodes, nodeExtra) : -1;
  // The first delegation or DNAME below the zone's apex hides the names below it, but not another of our zones.
  let hidingKind: FoundKind = foundHere;
  let hidingNode = 0;
  let hidingLabels = 0;
  if ((flags & hasDname) !== 0 && labels > 0) hidingKind = foundDname;
  found.steps = 0;
  let label = labels - 1;
  for (; label >= 0; label--) {
    const at = byteAt(labelStarts, label);
    const child = childOf(names, node, bytes, at, intAt(labelHashes, label), found);
    if (child < 0) break;
    node = child;
    flags = intAt(nodes, node * nodeWords + nodeFlags);
    if ((flags & (isApex | isCut | hasDname)) === 0) continue;
    const isDsHere = type === recordTypes.DS && label === 0;
    if ((flags & isApex) !== 0 && !(isDsHere && zone >= 0)) {
      zone = intAt(nodes, node * nodeWords + nodeExtra);
      hidingKind = foundHere;
    }
    if (hidingKind !== foundHere) continue;
    if ((flags & isCut) !== 0 && !isDsHere) hidingKind = foundDelegation;
    else if ((flags & hasDname) !== 0 && label > 0) hidingKind = foundDname;
    else continue;
    hidingNode = node;
    hidingLabels = labels - label;
  }
  found.zone = zone;
  if (hidingKind !== foundHere) {
    found.kind = hidingKind;
    found.node = hidingNode;
    found.nodeLabels = hidingLabels;
    return;
  }
  found.kind = foundHere;
  found.node = node;
  found.nodeLabels = labels - 1 - label;
  if (label < 0) return;
  found.kind = foundMissing;
  if ((flags & hasWildcard) === 0) return;
  found.kind = foundByWildcard;
  found.node = childOf(names, node, wildcardLabel, 0, wildcardHash, found);
}

const wildcardLabel = Uint8Array.of(1, 0x2a);
const wildcardHash = labelHash(wildcardLabel, 0);

/**
 * The child of `parent` whose label (length octet first) is at `bytes[at]`, or -1. Queries can't slow it down: they add
 * nothing to the table, which is at least half empty.
 * @param hash labelHash() of that label
 * @param counted its `steps` increase by the table entries visited
 */
export function childOf(
  names: NameTable,
  parent: number,
  bytes: Uint8Array,
  at: number,
  hash: number,
  counted: { steps: number },
): number {
  const { table, nodes } = names;
  const mask = table.length - 1;
  const first = placeOf(parent, hash);
  for (let turn = 0; ; turn++) {
    const node = intAt(table, (first + turn) & mask) - 1;
    const base = node * nodeWords;
    if (
      node < 0 ||
      (intAt(nodes, base + nodeParent) === parent &&
        isSameLabel(names.bytes, intAt(nodes, base + nodeLabelAt), bytes, at))
    ) {
      counted.steps += turn + 1;
      return node;
    }
  }
}

/** The first table entry to visit. Mixed, so that the low bits depend on all bits. */
export function placeOf(parent: number, hash: number): number {
  const mixed = Math.imul(hash ^ Math.imul(parent + 1, 0x9e3779b1), 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

function isSameLabel(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  const size = byteAt(a, aAt);
  for (let i = 0; i <= size; i++) if (byteAt(a, aAt + i) !== byteAt(b, bAt + i)) return false;
  return true;
}

/** The RRset of this type at `node`, or -1. It follows no aliases and ignores steering. */
export function setOf(compiled: CompiledZones, node: number, type: number): number {
  const base = node * nodeWords;
  const first = intAt(compiled.nodes, base + nodeFirstSet);
  const end = first + (intAt(compiled.nodes, base + nodeFlags) >>> flagBits);
  for (let set = first; set < end; set++) {
    if (intAt(compiled.sets, set * setWords + setType) === type) return set;
  }
  return -1;
}

/** Whether `node` has any RRset. */
export function hasSets(compiled: CompiledZones, node: number): boolean {
  return intAt(compiled.nodes, node * nodeWords + nodeFlags) >>> flagBits > 0;
}

/** Whether `node` has a CNAME. */
export function isAlias(compiled: CompiledZones, node: number): boolean {
  return (intAt(compiled.nodes, node * nodeWords + nodeFlags) & hasCname) !== 0;
}
