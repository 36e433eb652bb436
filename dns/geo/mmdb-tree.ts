/**
 * The search tree of a MaxMind DB file, walked once and turned into ranges.
 *
 *              node 0                 A node has two records, for the next bit 0 and 1. A record below nodeCount is
 *           0 /      \ 1              another node, nodeCount itself is "nothing known", and one past it leads to
 *        node 1      data ▶ 77        the data: nodeCount + 16 + offset.
 *       0 /  \ 1
 *   nothing  data ▶ 12                leaves: 0.0.0.0 ▶ 0 │ 64.0.0.0 ▶ 12 │ 128.0.0.0 ▶ 77
 *
 * The walk goes down to /32 for IPv4 and to /64 for IPv6; below that, the lowest address decides. Neighbors with the
 * same record become one range. The walk enters each node once: a tree of n nodes has at most n + 1 leaves, so more
 * than that means a loop, and the file is damaged.
 *
 * In an IPv6 tree the IPv4 addresses are in ::/96, and writers point 2002::/16 (6to4), 2001::/32 (Teredo) and
 * ::ffff:0:0/96 to the same node. Such a second path counts as "nothing known": 6to4 is obsolete (RFC 7526), and the
 * bits after 2001::/32 are the relay's address, not the client's.
 */
import { DamagedData } from "./mmdb-value.ts";
import { sharedUint32, type Ranges } from "./tables.ts";

/** Zero octets between the tree and the data. */
export const separatorLength = 16;

export interface Tree {
  /** The file: the tree is at its beginning. */
  readonly bytes: DataView;
  readonly nodeCount: number;
  /** Bits per record. */
  readonly recordSize: 24 | 28 | 32;
  readonly ipVersion: 4 | 6;
  /** Length of the data section in octets. */
  readonly dataLength: number;
}

export interface Walk {
  /**
   * Continues the walk for about this many nodes.
   * @returns whether the walk is complete
   * @throws DamagedData
   */
  advance: (nodes: number) => boolean;
  /**
   * The ranges, in shared memory. Call it once, after the walk is complete. It calls `valueOf` for each leaf, but not
   * again for a neighbor with the same record.
   * @param valueOf value of the data at this offset; not called where nothing is known, which has the value 0
   */
  ranges: (valueOf: (offset: number) => number) => Ranges;
}

/** The record of the node for the next bit. */
export function recordOf({ bytes, recordSize }: Tree, node: number, bit: number): number {
  // One load of four octets, with the neighbors' bits masked off. The separator after the tree keeps it within the
  // file.
  switch (recordSize) {
    case 24:
      return bit === 0 ? bytes.getUint32(node * 6) >>> 8 : bytes.getUint32(node * 6 + 2) & 0x00ff_ffff;
    case 28: {
      // 24 bits, then the four high bits of both in one octet, then 24 bits.
      if (bit === 1) return bytes.getUint32(node * 7 + 3) & 0x0fff_ffff;
      const word = bytes.getUint32(node * 7);
      return ((word & 0xf0) << 20) | (word >>> 8);
    }
    case 32:
      return bytes.getUint32(node * 8 + bit * 4);
  }
}

/** The record where IPv4 begins; nodeCount if the tree has none. */
export function ipv4Root(tree: Tree): number {
  if (tree.ipVersion === 4) return 0;
  let record = 0;
  for (let depth = 0; depth < 96; depth++) {
    if (record >= tree.nodeCount) return tree.nodeCount;
    record = recordOf(tree, record, 0);
  }
  return record;
}

/** The offset in the data section that a leaf with data leads to. */
export function offsetOf({ nodeCount, dataLength }: Tree, record: number): number {
  const offset = record - nodeCount - separatorLength;
  if (offset < 0 || offset >= dataLength) throw new DamagedData("a search tree that leads out of the data");
  return offset;
}

/** @param onData called with the offset of each leaf with data, but not again for a neighbor with the same record */
export function createWalk(tree: Tree, family: 4 | 6, onData: (offset: number) => void): Walk {
  const { nodeCount } = tree;
  const isV4 = family === 4;
  const bits = isV4 ? 32 : 64;
  const words = isV4 ? 1 : 2;
  const alias = isV4 || tree.ipVersion === 4 ? nodeCount : ipv4Root(tree);
  const starts = new Uint32Array((nodeCount + 1) * words);
  const records = new Uint32Array(nodeCount + 1);
  let length = 0;
  let entered = 0;

  // Pending records: at most the other side of each node on the way down, four words each.
  const stack = new Uint32Array(4 * (bits + 1));
  stack[0] = isV4 ? ipv4Root(tree) : 0;
  let stacked = 4;

  /** The leaf of the lowest address below a node at the last bit. */
  function lowest(node: number): number {
    let record = node;
    for (let depth = bits; record < nodeCount; depth++) {
      if (depth === (isV4 ? 32 : 128)) throw new DamagedData("a search tree that is deeper than an address is long");
      record = recordOf(tree, record, 0);
    }
    return record;
  }

  function advance(nodes: number): boolean {
    const until = entered + nodes;
    let last = -1;
    while (stacked > 0) {
      if (entered > until) return false;
      stacked -= 4;
      let record = stack[stacked] ?? 0;
      let depth = stack[stacked + 1] ?? 0;
      const high = stack[stacked + 2] ?? 0;
      const low = stack[stacked + 3] ?? 0;
      while (record < nodeCount) {
        if (record === alias) record = nodeCount;
        else if (depth === bits) record = lowest(record);
        else {
          if (++entered > nodeCount) throw new DamagedData("a search tree that leads in circles");
          const bit = 0x8000_0000 >>> (depth & 31);
          depth++;
          stack[stacked] = recordOf(tree, record, 1);
          stack[stacked + 1] = depth;
          stack[stacked + 2] = depth <= 32 ? high | bit : high;
          stack[stacked + 3] = depth <= 32 ? low : low | bit;
          stacked += 4;
          record = recordOf(tree, record, 0);
        }
      }
      if (record === last) continue;
      last = record;
      if (record !== nodeCount) onData(offsetOf(tree, record));
      if (isV4) starts[length] = high;
      else {
        starts[2 * length] = high;
        starts[2 * length + 1] = low;
      }
      records[length++] = record;
    }
    return true;
  }

  return {
    advance,
    ranges(valueOf) {
      // In place: the write position never passes the read position.
      let kept = 0;
      let last = -1;
      for (let i = 0; i < length; i++) {
        const record = records[i] ?? 0;
        const value = record === nodeCount ? 0 : valueOf(record - nodeCount - separatorLength);
        if (value === last) continue;
        last = value;
        records[kept] = value;
        if (isV4) starts[kept] = starts[i] ?? 0;
        else {
          starts[2 * kept] = starts[2 * i] ?? 0;
          starts[2 * kept + 1] = starts[2 * i + 1] ?? 0;
        }
        kept++;
      }
      const ranges = { starts: shared(starts, kept * words), values: shared(records, kept) };
      // Free the memory at once: 12 octets per node.
      starts.buffer.transfer(0);
      records.buffer.transfer(0);
      return ranges;
    },
  };
}

function shared(words: Uint32Array, length: number): Uint32Array {
  const copy = sharedUint32(length);
  copy.set(words.subarray(0, length));
  return copy;
}
