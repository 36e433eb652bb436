/**
 * The index of the disk tier: one row of 64 bytes per object, outside the JavaScript heap.
 *
 *   key ─▶ bucket ─▶ row ─▶ next row of the bucket        (a linear hash table: buckets split one at a time)
 *
 *   word 0–3  key          4  next row of the bucket      5  volume of the body (0: none)   6  offset in the volume
 *        7    body length, low 32 bits                     8  its high 16 bits, and the high 16 bits of feedSeq
 *        9    head segment 10  offset in it               11  head length (24 bits), frequency (2), flags (6)
 *        12   feedSeq, low 13  tags (tag-pool.ts)      14, 15  previous and next row of the same volume
 *
 * A row takes 64 bytes, a bucket 4, the tags 4 + 4 each: with six tags 96 bytes. Growing never moves a row and never
 * rehashes the table, so no insertion takes long.
 *
 * Only the main thread writes. Row 0 is never used: 0 means "no row".
 */
import type { Key } from "./key.ts";
import { addTags, createTagPool, removeTags, type TagPool } from "./tag-pool.ts";
import { chunkOf, createWords, growWords, placeOf, setWord, wordAt, type Words } from "./words.ts";

const rowBits = 4;
/** Buckets at first; later, there is one for each object. */
const bucketsAtFirst = 1024;

export const field = {
  key: 0,
  key1: 1,
  key2: 2,
  chain: 4,
  volume: 5,
  offset: 6,
  lengthLow: 7,
  high: 8,
  headSegment: 9,
  headOffset: 10,
  headAndFlags: 11,
  feedSeqLow: 12,
  tags: 13,
  previous: 14,
  next: 15,
} as const;
export type Field = (typeof field)[keyof typeof field];

export const headBytesMax = 2 ** 24 - 1;
export const frequencyMax = 3;
/** Bits of a row's flags. */
export const flag = {
  /** Every block of the body was verified by this process. Not persistent. */
  verified: 1,
  /** The frequency has changed since it was last written to disk. Not persistent. */
  dirty: 2,
} as const;

export interface Index {
  readonly rows: Words;
  readonly buckets: Words;
  readonly tags: TagPool;
  readonly rowsMax: number;
  count: number;
  /** The number of rows ever used, and the first of those that are free again. */
  rowsEnd: number;
  freeRow: number;
  /** Buckets in use: 2^level at the start of a round, and the next one to be split. */
  level: number;
  split: number;
}

/** The contents of an object's row. Lengths in bytes. */
export interface RowFacts {
  readonly volume: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly headSegment: number;
  readonly headOffset: number;
  readonly headBytes: number;
  readonly feedSeq: number;
}

/** @param rowsMax objects beyond that are refused: the bound on the memory of the index */
export function createIndex(rowsMax: number): Index {
  const index: Index = {
    rows: createWords(),
    buckets: createWords(),
    tags: createTagPool(),
    rowsMax,
    count: 0,
    rowsEnd: 1,
    freeRow: 0,
    level: Math.log2(bucketsAtFirst),
    split: 0,
  };
  growWords(index.buckets, bucketsAtFirst);
  growWords(index.rows, 2 << rowBits);
  return index;
}

/** Makes buckets for the expected number of rows, so that an empty index is filled without splits. */
export function expectRows(index: Index, count: number): void {
  const level = Math.ceil(Math.log2(Math.min(count, index.rowsMax)));
  if (index.count > 0 || level <= index.level) return;
  index.level = level;
  growWords(index.buckets, 2 ** level);
}

/** Where a row's words begin. */
export function rowStart(row: number): number {
  return row << rowBits;
}

export function get(index: Index, row: number, of: Field): number {
  return wordAt(index.rows, (row << rowBits) + of);
}

export function set(index: Index, row: number, of: Field, value: number): void {
  setWord(index.rows, (row << rowBits) + of, value);
}

/** The row of a key; 0: none. */
export function findRow(index: Index, key: Key): number {
  let row = wordAt(index.buckets, bucketOf(index, key[0] ?? 0));
  while (row !== 0 && !isKeyOf(index, row, key)) row = get(index, row, field.chain);
  return row;
}

/** Adds an empty row for a key that has none. Returns 0 when the index is full. */
export function addRow(index: Index, key: Key): number {
  if (index.count >= index.rowsMax) return 0;
  let row = index.freeRow;
  if (row === 0) {
    row = index.rowsEnd;
    index.rowsEnd += 1;
    growWords(index.rows, index.rowsEnd << rowBits);
  } else {
    index.freeRow = get(index, row, field.chain);
  }
  const chunk = chunkOf(index.rows, row << rowBits);
  const at = placeOf(row << rowBits);
  chunk.fill(0, at, at + (1 << rowBits));
  chunk.set(key, at);
  index.count += 1;
  const bucket = bucketOf(index, key[0] ?? 0);
  set(index, row, field.chain, wordAt(index.buckets, bucket));
  setWord(index.buckets, bucket, row);
  splitBucket(index);
  return row;
}

/** Frees a row and its tags; whoever has it in the list of a volume must remove it there first. */
export function removeRow(index: Index, row: number): void {
  const bucket = bucketOf(index, get(index, row, field.key));
  const following = get(index, row, field.chain);
  let before = wordAt(index.buckets, bucket);
  if (before === row) {
    setWord(index.buckets, bucket, following);
  } else {
    while (before !== 0 && get(index, before, field.chain) !== row) before = get(index, before, field.chain);
    if (before === 0) throw new Error(`row ${row} is not in use`);
    set(index, before, field.chain, following);
  }
  removeTags(index.tags, get(index, row, field.tags));
  const start = row << rowBits;
  chunkOf(index.rows, start).fill(0, placeOf(start), placeOf(start) + (1 << rowBits));
  set(index, row, field.chain, index.freeRow);
  index.freeRow = row;
  index.count -= 1;
}

/** Whether a row between 1 and rowsEnd is in use: it has a head, which every object has. */
export function isRow(index: Index, row: number): boolean {
  return get(index, row, field.headAndFlags) !== 0;
}

/** Whether a row is still in use with its head at this place; places are never used twice. */
export function isHeadAt(index: Index, row: number, segment: number, offset: number): boolean {
  if (!isRow(index, row)) return false;
  return get(index, row, field.headSegment) === segment && get(index, row, field.headOffset) === offset;
}

export function rowFacts(index: Index, row: number): RowFacts {
  return {
    volume: get(index, row, field.volume),
    offset: get(index, row, field.offset),
    lengthBytes: lengthOf(index, row),
    headSegment: get(index, row, field.headSegment),
    headOffset: get(index, row, field.headOffset),
    headBytes: headBytesOf(index, row),
    feedSeq: feedSeqOf(index, row),
  };
}

function feedSeqOf(index: Index, row: number): number {
  // The sign is bit 15: −1 stands for the log of another origin.
  return ((get(index, row, field.high) << 16) >> 16) * 2 ** 32 + get(index, row, field.feedSeqLow);
}

/** Writes all but key, lists, tags, frequency and flags. */
export function setRowFacts(index: Index, row: number, facts: RowFacts): void {
  const feedSeqHigh = Math.floor(facts.feedSeq / 2 ** 32) & 0xff_ff;
  set(index, row, field.volume, facts.volume);
  set(index, row, field.offset, facts.offset);
  set(index, row, field.lengthLow, facts.lengthBytes % 2 ** 32);
  set(index, row, field.high, (Math.floor(facts.lengthBytes / 2 ** 32) << 16) | feedSeqHigh);
  set(index, row, field.headSegment, facts.headSegment);
  set(index, row, field.headOffset, facts.headOffset);
  const rest = get(index, row, field.headAndFlags) & ~headBytesMax;
  set(index, row, field.headAndFlags, rest | facts.headBytes);
  set(index, row, field.feedSeqLow, facts.feedSeq >>> 0);
}

export function lengthOf(index: Index, row: number): number {
  return (get(index, row, field.high) >>> 16) * 2 ** 32 + get(index, row, field.lengthLow);
}

export function headBytesOf(index: Index, row: number): number {
  return get(index, row, field.headAndFlags) & headBytesMax;
}

/** @param hashes those from `start` to before `end` */
export function setTags(
  index: Index,
  row: number,
  hashes: ArrayLike<number>,
  start = 0,
  end: number = hashes.length,
): void {
  removeTags(index.tags, get(index, row, field.tags));
  set(index, row, field.tags, addTags(index.tags, hashes, start, end));
}

/** How often the object was used since it arrived or was last judged, up to frequencyMax. */
export function frequencyOf(index: Index, row: number): number {
  return (get(index, row, field.headAndFlags) >>> 24) & frequencyMax;
}

export function setFrequency(index: Index, row: number, frequency: number): void {
  const rest = get(index, row, field.headAndFlags) & ~(frequencyMax << 24);
  set(index, row, field.headAndFlags, rest | (frequency << 24));
}

export function hasFlag(index: Index, row: number, bit: number): boolean {
  return ((get(index, row, field.headAndFlags) >>> 26) & bit) !== 0;
}

export function setFlag(index: Index, row: number, bit: number, isSet: boolean): void {
  const word = get(index, row, field.headAndFlags);
  set(index, row, field.headAndFlags, isSet ? word | (bit << 26) : word & ~(bit << 26));
}

/** Memory that the index takes outside the heap; pages that were never written are not counted. */
export function indexBytes(index: Index): number {
  const buckets = 2 ** index.level + index.split;
  return (index.rowsEnd << rowBits) * 4 + buckets * 4 + index.tags.end * 4;
}

function isKeyOf(index: Index, row: number, key: Key): boolean {
  const chunk = chunkOf(index.rows, row << rowBits);
  const at = placeOf(row << rowBits);
  return chunk[at] === key[0] && chunk[at + 1] === key[1] && chunk[at + 2] === key[2] && chunk[at + 3] === key[3];
}

/** Litwin's linear hashing (VLDB 1980): buckets before `split` already use one more bit. The key is a hash itself. */
function bucketOf(index: Index, hash: number): number {
  const bucket = (hash & (2 ** index.level - 1)) >>> 0;
  return bucket < index.split ? (hash & (2 ** (index.level + 1) - 1)) >>> 0 : bucket;
}

/** Splits one bucket for each row beyond one per bucket, so that chains stay short without a pause. */
function splitBucket(index: Index): void {
  const size = 2 ** index.level;
  if (index.count <= size + index.split) return;
  const old = index.split;
  growWords(index.buckets, size + old + 1);
  let row = wordAt(index.buckets, old);
  let [stays, moves] = [0, 0];
  while (row !== 0) {
    const following = get(index, row, field.chain);
    const isMoved = (get(index, row, field.key) & size) !== 0;
    set(index, row, field.chain, isMoved ? moves : stays);
    if (isMoved) moves = row;
    else stays = row;
    row = following;
  }
  setWord(index.buckets, old, stays);
  setWord(index.buckets, old + size, moves);
  index.split += 1;
  if (index.split === size) {
    index.level += 1;
    index.split = 0;
  }
}
