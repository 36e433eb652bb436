/**
 * The index on disk, as words of 32 bits in the machine's order.
 *
 *   snapshot-7   frames: volumes, objects               the whole index when generation 7 began
 *   journal-7    frames: changes since then, in order
 *
 *   frame: check of the next three · number of words · CRC-32 of them · place in the file (0, 1, 2 …) · entries
 *
 *   entry      words
 *   object     1 | tags << 8 · key 4 · volume · offset · length · high · head segment · offset · head and flags ·
 *              feedSeq · hashes of the tags                                  (words as in index-table.ts)
 *   removed    2 · key 4
 *   volume     3 | kind << 8 | stream << 16 · number                          opened, or moved to the end of its queue
 *   gone       4 · number                                                     with all objects in it
 *   frequency  5 | frequency << 8 · key 4
 *
 * All entries describe a state, not a change, so replaying one twice does no harm: a snapshot may be written while the
 * index changes, as long as the journal of its generation began before it.
 */
import { crc32 } from "node:zlib";
import { field, frequencyMax, get, headBytesMax, type Index } from "./index-table.ts";
import { tagAt, tagCount } from "./tag-pool.ts";
import type { Volume } from "./layout.ts";

export const entry = { object: 1, removed: 2, volume: 3, gone: 4, frequency: 5 } as const;
export const objectWords = 13;

const magic = 0x31_4a_43_4e; // "NCJ1"
const frameHeadWords = 4;
/** 256 KiB: damage in a snapshot loses no more. An object with 1,000 tags takes 1,013 words. */
const frameWordsMax = 65_536;
const wordBytes = 4;

/** Entries on their way to a file. */
export interface Entries {
  words: Uint32Array;
  end: number;
}

export function createEntries(): Entries {
  return { words: new Uint32Array(1024), end: 0 };
}

/** Makes room for `count` words and returns where they begin. */
function extend(entries: Entries, count: number): number {
  const start = entries.end;
  if (start + count > entries.words.length) {
    const larger = new Uint32Array(Math.max(2 * entries.words.length, start + count));
    larger.set(entries.words);
    entries.words = larger;
  }
  entries.end = start + count;
  return start;
}

export function addObject(entries: Entries, index: Index, row: number): void {
  const tags = get(index, row, field.tags);
  const count = tagCount(index.tags, tags);
  const at = extend(entries, objectWords + count);
  const { words } = entries;
  words[at] = entry.object | (count << 8);
  for (let word = 0; word < 4; word += 1) words[at + 1 + word] = get(index, row, word as 0 | 1 | 2);
  words[at + 5] = get(index, row, field.volume);
  words[at + 6] = get(index, row, field.offset);
  words[at + 7] = get(index, row, field.lengthLow);
  words[at + 8] = get(index, row, field.high);
  words[at + 9] = get(index, row, field.headSegment);
  words[at + 10] = get(index, row, field.headOffset);
  words[at + 11] = get(index, row, field.headAndFlags) & (headBytesMax | (frequencyMax << 24));
  words[at + 12] = get(index, row, field.feedSeqLow);
  for (let tag = 0; tag < count; tag += 1) words[at + objectWords + tag] = tagAt(index.tags, tags, tag);
}

export function addRemoved(entries: Entries, index: Index, row: number): void {
  addWithKey(entries, entry.removed, index, row);
}

export function addFrequency(entries: Entries, index: Index, row: number, frequency: number): void {
  addWithKey(entries, entry.frequency | (frequency << 8), index, row);
}

function addWithKey(entries: Entries, first: number, index: Index, row: number): void {
  const at = extend(entries, 5);
  entries.words[at] = first;
  for (let word = 0; word < 4; word += 1) entries.words[at + 1 + word] = get(index, row, word as 0 | 1 | 2);
}

export function addVolume(entries: Entries, { number, kind, stream }: Volume): void {
  const at = extend(entries, 2);
  entries.words[at] = entry.volume | ((kind === "file" ? 1 : 0) << 8) | ((stream === "main" ? 1 : 0) << 16);
  entries.words[at + 1] = number;
}

export function addGone(entries: Entries, number: number): void {
  const at = extend(entries, 2);
  entries.words[at] = entry.gone;
  entries.words[at + 1] = number;
}

/** Number of words of the entry that begins here; 0: there is none. */
export function entryWords(words: Uint32Array, at: number): number {
  const first = words[at] ?? 0;
  switch (first & 0xff) {
    case entry.object:
      return objectWords + (first >>> 8);
    case entry.removed:
    case entry.frequency:
      return 5;
    case entry.volume:
    case entry.gone:
      return 2;
    default:
      return 0;
  }
}

/** The entries as frames; whole entries in each. @param ordinal place of the first frame in its file */
export function framesOf(entries: Entries, ordinal: number): { buffers: Buffer[]; frames: number } {
  const buffers: Buffer[] = [];
  let frames = 0;
  for (let from = 0; from < entries.end; frames += 1) {
    let to = from;
    while (to < entries.end) {
      const next = to + entryWords(entries.words, to);
      if (next - from > frameWordsMax) break;
      to = next;
    }
    const frame = new Uint32Array(frameHeadWords + to - from);
    frame.set(entries.words.subarray(from, to), frameHeadWords);
    const sum = crc32(bytesOf(frame.subarray(frameHeadWords)));
    frame.set([checkOf(to - from, sum, ordinal + frames), to - from, sum, ordinal + frames]);
    buffers.push(bytesOf(frame));
    from = to;
  }
  return { buffers, frames };
}

export type Frame =
  | { readonly state: "whole"; readonly words: Uint32Array; readonly end: number }
  /** The head is valid, but the entries are not. */
  | { readonly state: "damaged"; readonly end: number }
  /** The bytes end before the frame does, as a kill leaves it. */
  | { readonly state: "incomplete" }
  | { readonly state: "none" };

/** The frame that begins at a byte of a file's part. */
export function frameAt(bytes: Buffer, at: number, ordinal: number): Frame {
  const headEnd = at + frameHeadWords * wordBytes;
  if (headEnd > bytes.length) return { state: "incomplete" };
  const [check, count = 0, sum = 0] = wordsOf(bytes, at, headEnd);
  if (check !== checkOf(count, sum, ordinal) || count > frameWordsMax) return { state: "none" };
  const end = headEnd + count * wordBytes;
  if (end > bytes.length) return { state: "incomplete" };
  if (crc32(bytes.subarray(headEnd, end)) !== sum) return { state: "damaged", end };
  return { state: "whole", words: wordsOf(bytes, headEnd, end), end };
}

/** Changes with any bit of the head: otherwise, a wrong length would look like a frame that was cut short. */
function checkOf(count: number, sum: number, ordinal: number): number {
  return (magic ^ Math.imul(count, 0x9e_37_79_b1) ^ Math.imul(ordinal, 0x85_eb_ca_6b) ^ sum) >>> 0;
}

function bytesOf(words: Uint32Array): Buffer {
  return Buffer.from(words.buffer, words.byteOffset, words.byteLength);
}

/** A view, or a copy if the words don't begin at a multiple of four. */
function wordsOf(bytes: Buffer, from: number, to: number): Uint32Array {
  const start = bytes.byteOffset + from;
  if (start % wordBytes === 0) return new Uint32Array(bytes.buffer, start, (to - from) / wordBytes);
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset + from, bytes.byteOffset + to) as ArrayBuffer);
}
