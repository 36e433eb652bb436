/**
 * Client address → outcome, as sorted ranges with an index in front.
 *
 *   v4Index   one entry per block of 2^v4Shift addresses: the range that holds the block's first address
 *                │ a binary search between two entries
 *   v4Ranges  0.0.0.0, 3 │ 5.8.0.0, 0 │ 5.9.0.0, 3 │ …    start and outcome; contiguous, the first start is 0,
 *                                                            neighbors differ in outcome
 *
 * Start and outcome are adjacent: a lookup of an uncached address waits for memory, and so it waits only once. IPv6 is
 * stored by its first 64 bits, with two words per start. Its index covers 2000::/3, which contains all unicast
 * addresses; addresses outside it are found by a search from the ends.
 *
 * Neighbors differ in outcome. So the largest aligned block around an address that stays inside its range is the
 * shortest prefix with the same outcome: two XORs and two counts of leading zeros.
 */
import { sharedUint32 } from "../geo/tables.ts";

export interface OutcomeTable {
  /** Two words per range: start, outcome code. */
  readonly v4Ranges: Uint32Array;
  readonly v4Index: Uint32Array;
  readonly v4Shift: number;
  /** Three words per range: start, the high word first, and outcome code. */
  readonly v6Ranges: Uint32Array;
  readonly v6Index: Uint32Array;
  /** Blocks have 2^v6Shift high words. */
  readonly v6Shift: number;
}

/** Ranges of one family, as the sweep returns them: `starts` has `stride` words per range. */
export interface SweptRanges {
  readonly starts: Uint32Array;
  readonly codes: Uint16Array;
  readonly count: number;
}

/** An index has at most 2^16 blocks (256 KiB) for IPv4, and 2^18 for IPv6, whose ranges are closer together. */
const v4IndexBitsMax = 16;
const v6IndexBitsMax = 18;

/** First high word of 2000::/3, and the number of its free bits. */
const unicastFirst = 0x2000_0000;
const unicastBits = 29;

export function buildOutcomeTable(v4: SweptRanges, v6: SweptRanges): OutcomeTable {
  const v4Ranges = sharedUint32(2 * v4.count);
  for (let range = 0; range < v4.count; range++) {
    v4Ranges[2 * range] = v4.starts[range] ?? 0;
    v4Ranges[2 * range + 1] = v4.codes[range] ?? 0;
  }
  const v6Ranges = sharedUint32(3 * v6.count);
  for (let range = 0; range < v6.count; range++) {
    v6Ranges[3 * range] = v6.starts[2 * range] ?? 0;
    v6Ranges[3 * range + 1] = v6.starts[2 * range + 1] ?? 0;
    v6Ranges[3 * range + 2] = v6.codes[range] ?? 0;
  }
  const v4Bits = indexBits(v4.count, v4IndexBitsMax);
  const v6Bits = indexBits(v6.count, v6IndexBitsMax);
  return {
    v4Ranges,
    v4Index: indexOf(v4, 1, v4Bits, 0, 32 - v4Bits),
    v4Shift: 32 - v4Bits,
    v6Ranges,
    v6Index: indexOf(v6, 2, v6Bits, unicastFirst, unicastBits - v6Bits),
    v6Shift: unicastBits - v6Bits,
  };
}

/** About two blocks per range, so that most contain one start or none. */
function indexBits(rangesCount: number, bitsMax: number): number {
  return Math.min(bitsMax, Math.max(1, 33 - Math.clz32(rangesCount)));
}

/** The range that contains each block's first address, and the one that contains the address after the last block. */
function indexOf(
  { starts, count }: SweptRanges,
  stride: 1 | 2,
  bits: number,
  first: number,
  shift: number,
): Uint32Array {
  const index = sharedUint32(2 ** bits + 1);
  let range = 0;
  for (let block = 0; block < index.length; block++) {
    const word = first + block * 2 ** shift;
    for (; range + 1 < count; range++) {
      const next = stride * (range + 1);
      const start = starts[next] ?? 0;
      if (start > word || (start === word && stride === 2 && (starts[next + 1] ?? 0) > 0)) break;
    }
    index[block] = range;
  }
  return index;
}

/** Four octets as a number. The caller ensures that they exist. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0
  );
}

/** The range that contains this IPv4 address. */
export function findRange4({ v4Ranges, v4Index, v4Shift }: OutcomeTable, address: number): number {
  const block = address >>> v4Shift;
  let low = v4Index[block] ?? 0;
  let high = v4Index[block + 1] ?? 0;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((v4Ranges[2 * middle] ?? 0) <= address) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The range that contains the IPv6 address with these first 64 bits. */
export function findRange6({ v6Ranges, v6Index, v6Shift }: OutcomeTable, high: number, low: number): number {
  const last = v6Index.length - 1;
  let from = 0;
  let to = v6Ranges.length / 3 - 1;
  if (high >>> unicastBits === 1) {
    const block = (high - unicastFirst) >>> v6Shift;
    from = v6Index[block] ?? 0;
    to = v6Index[block + 1] ?? 0;
  } else if (high < unicastFirst) to = v6Index[0] ?? 0;
  else from = v6Index[last] ?? 0;
  while (from < to) {
    const middle = (from + to + 1) >>> 1;
    const start = v6Ranges[3 * middle] ?? 0;
    if (start < high || (start === high && (v6Ranges[3 * middle + 1] ?? 0) <= low)) from = middle;
    else to = middle - 1;
  }
  return from;
}

/** Length of the shortest prefix around the address that lies inside its range. */
export function rangeScope4({ v4Ranges }: OutcomeTable, range: number, address: number): number {
  let scope = 0;
  if (range > 0) scope = Math.clz32(address ^ ((v4Ranges[2 * range] ?? 0) - 1)) + 1;
  const next = 2 * range + 2;
  if (next < v4Ranges.length) scope = Math.max(scope, Math.clz32(address ^ (v4Ranges[next] ?? 0)) + 1);
  return scope;
}

/** As rangeScope4(), for the first 64 bits of an IPv6 address. */
export function rangeScope6({ v6Ranges }: OutcomeTable, range: number, high: number, low: number): number {
  let scope = 0;
  const at = 3 * range;
  if (range > 0) {
    // The last address of the previous range: this start minus one, with a borrow from the high word.
    const startLow = v6Ranges[at + 1] ?? 0;
    const startHigh = v6Ranges[at] ?? 0;
    scope = sharedBits(high, low, startLow === 0 ? startHigh - 1 : startHigh, startLow - 1) + 1;
  }
  if (at + 3 < v6Ranges.length) {
    scope = Math.max(scope, sharedBits(high, low, v6Ranges[at + 3] ?? 0, v6Ranges[at + 4] ?? 0) + 1);
  }
  return scope;
}

/** Number of leading bits that the two 64-bit numbers share. */
function sharedBits(highA: number, lowA: number, highB: number, lowB: number): number {
  const high = highA ^ highB;
  return high === 0 ? 32 + Math.clz32(lowA ^ lowB) : Math.clz32(high);
}
