/**
 * Builds chains of groups and gives each distinct one a number, its *outcome code*.
 *
 *   code 0 … sites - 1    that site, for every client
 *   sites, sites + 1, …   a chain in Draws: the client's network draws
 *
 * A chain ends with the first group that sheds nothing, or after chainGroupsMax groups. Groups whose sites keep nothing
 * at all are left out, except the last one. So where no load is shed, a chain is one group, usually of one site.
 */
import type { Draws } from "./draws.ts";
import { searchBits } from "./draws.ts";
import type { Plan } from "./plan.ts";

/** How many groups a client can pass through when all of them shed. The last group takes the rest. */
const chainGroupsMax = 8;

/**
 * Codes have 16 bits. Beyond this many chains (thousands of sites that all shed), a new chain is reduced to its first
 * site.
 */
const codesMax = 0x1_0000;

/** With more candidates than this, the trie of chains is a map instead of a table of children. */
const tableWidthMax = 64;

export interface ChainBuilder {
  begin: () => void;
  /** By position in Plan.candidates: 1 where the site is in the chain that is being built. */
  readonly isUsed: Uint8Array;
  /** Adds a group: those of `members` that are not in the chain yet. Returns true if the chain is complete. */
  add: (members: ArrayLike<number>, count: number) => boolean;
  /** The code of the groups that were added. Requires at least one group. */
  finish: () => number;
  draws: () => Draws;
}

export function chainBuilderOf(plan: Plan, sitesCount: number): ChainBuilder {
  const { candidates, keptShares, weights } = plan;
  const isUsed = new Uint8Array(candidates.length);
  // The chain being built: positions group by group, and where each group ends.
  const positions = new Uint16Array(candidates.length);
  const groupEnds = new Uint16Array(chainGroupsMax);
  let length = 0;
  let groups = 0;

  const step = newTrie(candidates.length + 1);
  const endOfGroup = candidates.length;
  const codeOfNode = new Map<number, number>();
  const chainStarts = [0];
  const groupStarts = [0];
  const members: number[] = [];
  const memberWeights: number[] = [];
  const bits: number[] = [];

  const kept = Float64Array.from(keptShares);
  const isAnyEmptied = keptShares.includes(0);

  function keepsNothing(from: number, to: number): boolean {
    for (let at = from; at < to; at++) if ((kept[positions[at] ?? 0] ?? 1) > 0) return false;
    return true;
  }

  /** Removes groups that keep nothing, except the last one. */
  function leaveOutEmptied(): void {
    let from = 0;
    let left = 0;
    let leftLength = 0;
    for (let group = 0; group < groups; group++) {
      const to = groupEnds[group] ?? 0;
      if (group === groups - 1 || !keepsNothing(from, to)) {
        positions.copyWithin(leftLength, from, to);
        leftLength += to - from;
        groupEnds[left++] = leftLength;
      }
      from = to;
    }
    groups = left;
    length = leftLength;
  }

  function append(): number {
    if (sitesCount + bits.length >= codesMax) return candidates[positions[0] ?? 0] ?? 0;
    let from = 0;
    for (let group = 0; group < groups; group++) {
      const to = groupEnds[group] ?? 0;
      for (let at = from; at < to; at++) {
        const position = positions[at] ?? 0;
        members.push(candidates[position] ?? 0);
        // A site that is alone in its group (an override's `site`) may have weight 0, because it does not draw against
        // others.
        memberWeights.push(to - from === 1 ? 1 : (weights[position] ?? 1));
      }
      groupStarts.push(members.length);
      from = to;
    }
    chainStarts.push(groupStarts.length - 1);
    bits.push(searchBits(length));
    return sitesCount + bits.length - 1;
  }

  return {
    isUsed,
    begin() {
      isUsed.fill(0);
      length = 0;
      groups = 0;
    },
    add(list, count) {
      const before = length;
      let keepsAll = true;
      for (let i = 0; i < count; i++) {
        const position = list[i] ?? 0;
        if (isUsed[position] === 1) continue;
        isUsed[position] = 1;
        positions[length++] = position;
        if ((kept[position] ?? 1) < 1) keepsAll = false;
      }
      if (length === before) return false;
      groupEnds[groups++] = length;
      return keepsAll || groups === chainGroupsMax;
    },
    finish() {
      if (isAnyEmptied) leaveOutEmptied();
      if (length === 1) return candidates[positions[0] ?? 0] ?? 0;
      let node = 0;
      let at = 0;
      for (let group = 0; group < groups; group++) {
        for (; at < (groupEnds[group] ?? 0); at++) node = step(node, positions[at] ?? 0);
        node = step(node, endOfGroup);
      }
      let code = codeOfNode.get(node);
      if (code === undefined) {
        code = append();
        codeOfNode.set(node, code);
      }
      return code;
    },
    draws: () => ({
      chainStarts: sharedFrom(chainStarts),
      groupStarts: sharedFrom(groupStarts),
      members: sharedSites(members),
      weights: sharedWeights(memberWeights),
      searchBits: sharedBits(bits),
    }),
  };
}

/**
 * Numbers the nodes of a trie by the tokens (below `width`) that lead to them. The root is 0; each new path gets new
 * numbers.
 */
function newTrie(width: number): (node: number, token: number) => number {
  let nodes = 0;
  if (width > tableWidthMax) {
    const children = new Map<number, number>();
    return (node, token) => {
      const known = children.get(node * width + token);
      if (known !== undefined) return known;
      children.set(node * width + token, ++nodes);
      return nodes;
    };
  }
  let children = new Int32Array(64 * width);
  return (node, token) => {
    const at = node * width + token;
    const known = children[at] ?? 0;
    if (known > 0) return known;
    nodes++;
    if ((nodes + 1) * width > children.length) {
      const more = new Int32Array(2 * children.length);
      more.set(children);
      children = more;
    }
    children[at] = nodes;
    return nodes;
  };
}

function sharedFrom(values: readonly number[]): Uint32Array {
  const shared = new Uint32Array(new SharedArrayBuffer(4 * values.length));
  shared.set(values);
  return shared;
}

function sharedSites(values: readonly number[]): Uint16Array {
  const shared = new Uint16Array(new SharedArrayBuffer(2 * values.length));
  shared.set(values);
  return shared;
}

function sharedWeights(values: readonly number[]): Float64Array {
  const shared = new Float64Array(new SharedArrayBuffer(8 * values.length));
  shared.set(values);
  return shared;
}

function sharedBits(values: readonly number[]): Uint8Array {
  const shared = new Uint8Array(new SharedArrayBuffer(values.length));
  shared.set(values);
  return shared;
}
