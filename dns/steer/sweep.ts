/**
 * One pass over the address space that overlays overrides by network, AS numbers and places, and records where the
 * outcome changes.
 *
 *   networks  ──────────┬───── /12 ───┬─ /16 ─┬─────┬────────────    flattened: the longest on top
 *   AS numbers ────┬────│──┬──────────│───────│─────│──┬──────
 *   places    ┬─┬──┴┬──┬┴┬─┴┬──┬───┬──┴┬─┬────┴┬────┴┬─┴─┬───┬
 *   outcome   a     b   a   c          d       c     a   b          equal neighbors are one range
 *
 * Networks take precedence, then AS numbers. Where these decide the outcome, the places below are skipped. So the pass
 * looks at each place range once, and each override adds a few binary searches.
 *
 * Keys are 64 bits in two words. An IPv4 address is in the high word, with 0 in the low one. The end of the space is
 * the high word 2^32, which a double represents exactly.
 */
import type { GeoTables, RangeTable } from "../geo/tables.ts";
import type { Family } from "../wire/address.ts";
import { placeDecides, type GeoOutcomes, type Prelude } from "./geo-outcomes.ts";
import { wordAt, type SweptRanges } from "./outcome-table.ts";
import type { PlanNetwork, PlanOverrides } from "./overrides.ts";

const endOfSpace = 2 ** 32;

/** IPv6 addresses are resolved to /64 and no finer. */
const prefixLengthMax = 64;

interface Key {
  readonly high: number;
  readonly low: number;
}

/** Nested networks as one list without gaps. `groups` are those of the network and of all networks around it. */
interface Segment extends Key {
  readonly groups: readonly (readonly number[])[];
}

interface Lane {
  readonly starts: Uint32Array;
  readonly values: Uint32Array;
  readonly stride: 1 | 2;
}

export function sweep(
  overrides: PlanOverrides,
  family: Family,
  { places, asns }: Pick<GeoTables, "places" | "asns">,
  outcomes: GeoOutcomes,
): SweptRanges {
  const placeLane = laneOf(places, family);
  const asnLane = overrides.asns.size === 0 || asns === undefined ? undefined : laneOf(asns, family);
  const out = newRangeList(placeLane.stride);
  const segments = flatten(overrides.networks.filter((network) => network.address.family === family));
  const noPrelude = outcomes.preludeOf([]);
  let placeAt = 0;

  /** Emits the outcomes of the place ranges from `start` up to `end`. */
  function takePlaces(start: Key, end: Key, prelude: Prelude): void {
    const from = lowerBound(placeLane, placeAt, start.high, start.low);
    // The range that contains `start` may begin before it.
    placeAt = isStart(placeLane, from, start) ? from : from - 1;
    const to = lowerBound(placeLane, placeAt + 1, end.high, end.low);
    const { values } = placeLane;
    const codeAt = (at: number): number => {
      const place = values[at] ?? 0;
      return prelude === noPrelude ? (outcomes.placeCodes[place] ?? 0) : outcomes.codeAfter(prelude, place);
    };
    push(out, start.high, start.low, codeAt(placeAt));
    if (prelude === noPrelude) {
      takeRanges(out, placeLane, outcomes.placeCodes, placeAt + 1, to);
    } else {
      const { starts, stride } = placeLane;
      for (let at = placeAt + 1; at < to; at++) {
        push(out, starts[stride * at] ?? 0, stride === 2 ? (starts[2 * at + 1] ?? 0) : 0, codeAt(at));
      }
    }
    placeAt = to - 1;
  }

  function takePiece(start: Key, end: Key, prelude: Prelude): void {
    if (prelude.code === placeDecides) takePlaces(start, end, prelude);
    else push(out, start.high, start.low, prelude.code);
  }

  const asnPieces = asnLane === undefined ? undefined : piecesOfAsns(asnLane, overrides.asns);
  let asnAt = 0;
  for (const [index, segment] of segments.entries()) {
    const end = segments[index + 1] ?? { high: endOfSpace, low: 0 };
    const prelude = segment.groups.length === 0 ? noPrelude : outcomes.preludeOf(segment.groups);
    if (asnPieces === undefined || prelude.code !== placeDecides) {
      takePiece(segment, end, prelude);
      continue;
    }
    // The parts of this segment, split where a relevant AS number begins or ends.
    const preludes = new Map<number, Prelude>([[-1, prelude]]);
    for (; asnAt > 0 && isBefore(segment, asnPieces[asnAt]); asnAt--);
    while (asnAt + 1 < asnPieces.length && !isBefore(segment, asnPieces[asnAt + 1])) asnAt++;
    for (let start: Key = segment; ; asnAt++) {
      const piece = asnPieces[asnAt];
      const next = asnPieces[asnAt + 1];
      const isLast = next === undefined || !isBefore(next, end);
      const asn = piece?.asn ?? -1;
      let withAsn = preludes.get(asn);
      if (withAsn === undefined) {
        withAsn = outcomes.preludeOf([...segment.groups, overrides.asns.get(asn)?.members ?? []]);
        preludes.set(asn, withAsn);
      }
      takePiece(start, isLast ? end : next, withAsn);
      if (isLast) break;
      start = next;
    }
  }
  return { starts: out.starts, codes: out.codes, count: out.count };
}

function laneOf(table: RangeTable, family: Family): Lane {
  return family === 4
    ? { starts: table.v4Starts, values: table.v4Values, stride: 1 }
    : { starts: table.v6Starts, values: table.v6Values, stride: 2 };
}

/** The positions at which an AS number that an override names begins, or ends (-1). */
function piecesOfAsns(
  { starts, values, stride }: Lane,
  named: PlanOverrides["asns"],
): (Key & { readonly asn: number })[] {
  // Few numbers are named. The low bits rule out most of the others without a map lookup.
  const mayBeNamed = new Uint8Array(0x1_0000);
  for (const asn of named.keys()) mayBeNamed[asn & 0xffff] = 1;
  const pieces: (Key & { asn: number })[] = [];
  let last = -2;
  for (let at = 0; at < values.length; at++) {
    const value = values[at] ?? 0;
    const asn = mayBeNamed[value & 0xffff] === 1 && named.has(value) ? value : -1;
    if (asn === last) continue;
    last = asn;
    pieces.push({ high: starts[stride * at] ?? 0, low: stride === 2 ? (starts[2 * at + 1] ?? 0) : 0, asn });
  }
  return pieces;
}

interface Laid extends Key {
  readonly end: Key;
  readonly groups: readonly (readonly number[])[];
}

/** Flattens nested networks, with longer ones on top. */
function flatten(networks: readonly PlanNetwork[]): Segment[] {
  const sorted = networks
    .map(({ address, prefixLength, members, index }) => ({
      high: wordAt(address.bytes, 0),
      low: address.family === 4 ? 0 : wordAt(address.bytes, 4),
      length: Math.min(prefixLength, prefixLengthMax),
      members,
      index,
    }))
    // Of equal networks, which the document's check rejects, the first one is on top.
    .toSorted((a, b) => a.high - b.high || a.low - b.low || a.length - b.length || b.index - a.index);
  const segments: Segment[] = [{ high: 0, low: 0, groups: [] }];
  const open: Laid[] = [];
  const begin = (segment: Segment): void => {
    const last = segments.at(-1);
    if (last !== undefined && last.high === segment.high && last.low === segment.low) segments.pop();
    segments.push(segment);
  };
  const closeUpTo = (key: Key): void => {
    for (let top = open.at(-1); top !== undefined && !isBefore(key, top.end); top = open.at(-1)) {
      open.pop();
      if (top.end.high < endOfSpace) begin({ ...top.end, groups: open.at(-1)?.groups ?? [] });
    }
  };
  for (const { high, low, length, members } of sorted) {
    closeUpTo({ high, low });
    const groups = [members, ...(open.at(-1)?.groups ?? [])];
    open.push({ high, low, end: endOf(high, low, length), groups });
    begin({ high, low, groups });
  }
  closeUpTo({ high: endOfSpace, low: 0 });
  return segments;
}

/** The first key after the network. */
function endOf(high: number, low: number, prefixLength: number): Key {
  if (prefixLength <= 32) return { high: high + 2 ** (32 - prefixLength), low: 0 };
  const end = low + 2 ** (64 - prefixLength);
  return end < 2 ** 32 ? { high, low: end } : { high: high + 1, low: 0 };
}

function isBefore(a: Key, b: Key | undefined): boolean {
  return b !== undefined && (a.high < b.high || (a.high === b.high && a.low < b.low));
}

function isStart({ starts, stride }: Lane, at: number, { high, low }: Key): boolean {
  return starts[stride * at] === high && (stride === 1 || starts[2 * at + 1] === low);
}

/**
 * Index of the first range from `from` on that starts at or after the key. Uses a galloping search, because the result
 * is usually near.
 */
function lowerBound({ starts, stride, values }: Lane, from: number, high: number, low: number): number {
  const count = values.length;
  const startsBefore = (at: number): boolean => {
    const start = starts[stride * at] ?? 0;
    return start < high || (start === high && stride === 2 && (starts[2 * at + 1] ?? 0) < low);
  };
  let low0 = from;
  let step = 1;
  while (low0 + step <= count && startsBefore(low0 + step - 1)) {
    low0 += step;
    step *= 2;
  }
  let high0 = Math.min(count, low0 + step);
  while (low0 < high0) {
    const middle = (low0 + high0) >>> 1;
    if (startsBefore(middle)) low0 = middle + 1;
    else high0 = middle;
  }
  return low0;
}

interface RangeList {
  starts: Uint32Array;
  codes: Uint16Array;
  count: number;
  readonly stride: 1 | 2;
}

const rangesAtFirst = 1024;

function newRangeList(stride: 1 | 2): RangeList {
  return { starts: new Uint32Array(stride * rangesAtFirst), codes: new Uint16Array(rangesAtFirst), count: 0, stride };
}

function grow(list: RangeList): void {
  const { starts, codes } = list;
  list.starts = new Uint32Array(2 * starts.length);
  list.starts.set(starts);
  list.codes = new Uint16Array(2 * codes.length);
  list.codes.set(codes);
}

/** Adds a range that begins at this key, unless it has the same outcome as the one before. */
function push(list: RangeList, high: number, low: number, code: number): void {
  const { count, stride } = list;
  if (count > 0 && list.codes[count - 1] === code) return;
  if (count === list.codes.length) grow(list);
  list.starts[stride * count] = high;
  if (stride === 2) list.starts[2 * count + 1] = low;
  list.codes[count] = code;
  list.count = count + 1;
}

/** push() for the place ranges from `from` up to `to`: the loop over millions of them. */
function takeRanges(list: RangeList, lane: Lane, placeCodes: Uint16Array, from: number, to: number): void {
  const { starts, stride, values } = lane;
  let last = list.codes[list.count - 1] ?? 0;
  for (let at = from; at < to; at++) {
    const code = placeCodes[values[at] ?? 0] ?? 0;
    if (code === last) continue;
    last = code;
    push(list, starts[stride * at] ?? 0, stride === 2 ? (starts[2 * at + 1] ?? 0) : 0, code);
  }
}
