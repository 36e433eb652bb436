/**
 * Where bodies are stored, in which order their volumes are reclaimed, and which objects each volume holds. Pure: it
 * plans, and others read and write.
 *
 *   small:  [segment 7][file 9][segment 12, open]        a volume is a segment of many bodies, or the file of one
 *   main:   [segment 3][segment 5][segment 8, open]      the first is the oldest
 *
 * Invariants
 * - A byte of a volume is assigned once: offsets only grow, and volume numbers are never reused.
 * - The rows of a volume form a list (previous, next), so a volume is judged without looking at other objects.
 * - A body of 16 KiB or more begins at a multiple of 4,096, so that sendfile() takes whole pages.
 */
import {
  copiedBytesMax,
  createGhost,
  frequencyAfter,
  type Ghost,
  isWanted,
  rememberDropped,
  staysWhole,
  type Stream,
  streamOfNewcomer,
  streamToJudge,
} from "./eviction.ts";
import { field, frequencyOf, get, type Index, lengthOf, set, setFrequency } from "./index-table.ts";
import type { Key } from "./key.ts";

export const blockBytes = 4096;
/** Bodies of at least this size begin on a page; smaller ones would waste too much of it. */
const alignedFromBytes = 16 * 1024;
/** Enough segments that one of them, which stays in reserve, is a small part of the tier. */
const segmentsMin = 128;
const segmentBytesLeast = 16 * 1024;
const segmentBytesUsual = 64 * 1024 * 1024;
/** A tier of more than 256 GiB gets larger segments, up to 1 GiB, so that their number stays small. */
const segmentsUsual = 4096;
const segmentBytesMost = 1024 ** 3;
/** A body larger than this part of a segment gets a file of its own. */
const segmentPart = 8;
/** Rows that one reclaim reads before it takes a volume although it is wanted: about 10 ms of CPU time. */
const judgedRowsMax = 2 ** 17;
/** Volumes that it looks at: the limit when most have few rows, or are being written. */
const judgedVolumesMax = 1024;

export type VolumeKind = "segment" | "file";

export interface Volume {
  readonly number: number;
  readonly kind: VolumeKind;
  stream: Stream;
  /** Bytes assigned so far. On disk they take whole blocks. */
  bytes: number;
  /** Of these, the bytes of bodies that can be found. */
  liveBytes: number;
  /** First row of its list; 0: none. */
  firstRow: number;
  /** Bodies that are still being written to it. */
  writers: number;
}

export interface Layout {
  readonly index: Index;
  readonly segmentBytes: number;
  readonly volumes: Map<number, Volume>;
  /** By number, the oldest first. */
  readonly queues: Readonly<Record<Stream, Map<number, Volume>>>;
  /** On disk, in whole blocks. */
  readonly bytes: Record<Stream, number>;
  /** The segments that take more bodies. */
  readonly open: Record<Stream, Volume | undefined>;
  readonly ghost: Ghost;
  nextNumber: number;
  /** Volumes that were opened or moved since this was last written to the journal. */
  readonly moved: Set<Volume>;
  /** Volumes that may hold nothing any more. */
  readonly emptied: Set<Volume>;
}

export interface Reclaim {
  readonly volume: Volume;
  /** Rows whose bodies are copied to main before the volume is removed. */
  readonly keep: readonly number[];
}

export function segmentBytesFor(bytesMax: number): number {
  const usual = Math.max(segmentBytesUsual, bytesMax / segmentsUsual);
  const bytes = Math.min(usual, bytesMax / segmentsMin, segmentBytesMost);
  return Math.max(segmentBytesLeast, Math.floor(bytes / blockBytes) * blockBytes);
}

export function createLayout(index: Index, bytesMax: number): Layout {
  return {
    index,
    segmentBytes: segmentBytesFor(bytesMax),
    volumes: new Map(),
    queues: { small: new Map(), main: new Map() },
    bytes: { small: 0, main: 0 },
    open: { small: undefined, main: undefined },
    // A variant of a picture takes about 16 KiB.
    ghost: createGhost(bytesMax / (16 * 1024)),
    nextNumber: 1,
    moved: new Set(),
    emptied: new Set(),
  };
}

export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

export function bytesOfBodies(layout: Layout): number {
  return layout.bytes.small + layout.bytes.main;
}

export function isForFile(layout: Layout, lengthBytes: number): boolean {
  return lengthBytes > layout.segmentBytes / segmentPart;
}

export function streamFor(layout: Layout, key: Key): Stream {
  return streamOfNewcomer(layout.ghost, key[1] ?? 0, key[2] ?? 0, layout.index.count);
}

/** Adds a volume at the end of its queue. @param number of one that was found at the start; absent: a new one */
export function openVolume(layout: Layout, kind: VolumeKind, stream: Stream, number = layout.nextNumber): Volume {
  layout.nextNumber = Math.max(layout.nextNumber, number + 1);
  const volume: Volume = { number, kind, stream, bytes: 0, liveBytes: 0, firstRow: 0, writers: 0 };
  layout.volumes.set(number, volume);
  layout.queues[stream].set(number, volume);
  layout.moved.add(volume);
  return volume;
}

export function moveToEnd(layout: Layout, volume: Volume, stream: Stream): void {
  layout.queues[volume.stream].delete(volume.number);
  layout.bytes[volume.stream] -= blocksOf(volume.bytes);
  if (layout.open[volume.stream] === volume) layout.open[volume.stream] = undefined;
  volume.stream = stream;
  layout.queues[stream].set(volume.number, volume);
  layout.bytes[stream] += blocksOf(volume.bytes);
  layout.moved.add(volume);
}

/** Adds to the bytes that are assigned. @param bytes negative: takes back room that was not used */
export function extend(layout: Layout, volume: Volume, bytes: number): void {
  layout.bytes[volume.stream] += blocksOf(volume.bytes + bytes) - blocksOf(volume.bytes);
  volume.bytes += bytes;
}

/** Assigns a place for a body: in the stream's open segment, or in a file of its own. */
export function assign(layout: Layout, stream: Stream, lengthBytes: number): { volume: Volume; offset: number } {
  if (isForFile(layout, lengthBytes)) {
    const volume = openVolume(layout, "file", stream);
    extend(layout, volume, lengthBytes);
    return { volume, offset: 0 };
  }
  let volume = layout.open[stream];
  let offset = volume === undefined ? 0 : offsetIn(volume, lengthBytes);
  if (volume === undefined || offset + lengthBytes > layout.segmentBytes) {
    volume = openVolume(layout, "segment", stream);
    layout.open[stream] = volume;
    offset = 0;
  }
  extend(layout, volume, offset + lengthBytes - volume.bytes);
  return { volume, offset };
}

function offsetIn(volume: Volume, lengthBytes: number): number {
  return lengthBytes >= alignedFromBytes ? blocksOf(volume.bytes) : volume.bytes;
}

/** Ends a segment: the next body begins a new one. After a failed write, the contents of its last bytes are unknown. */
export function seal(layout: Layout, volume: Volume): void {
  if (layout.open[volume.stream] === volume) layout.open[volume.stream] = undefined;
}

/** Puts a row that has a volume at the front of the volume's list. */
export function linkRow(layout: Layout, row: number): void {
  const { index } = layout;
  const volume = layout.volumes.get(get(index, row, field.volume));
  if (volume === undefined) return;
  set(index, row, field.previous, 0);
  set(index, row, field.next, volume.firstRow);
  if (volume.firstRow !== 0) set(index, volume.firstRow, field.previous, row);
  volume.firstRow = row;
  volume.liveBytes += lengthOf(index, row);
}

export function unlinkRow(layout: Layout, row: number): void {
  const { index } = layout;
  const volume = layout.volumes.get(get(index, row, field.volume));
  if (volume === undefined) return;
  const previous = get(index, row, field.previous);
  const next = get(index, row, field.next);
  if (previous === 0) volume.firstRow = next;
  else set(index, previous, field.next, next);
  if (next !== 0) set(index, next, field.previous, previous);
  volume.liveBytes -= lengthOf(index, row);
  if (volume.firstRow === 0) layout.emptied.add(volume);
}

/** Forgets a volume, whose rows must have been removed. */
export function forgetVolume(layout: Layout, volume: Volume): void {
  layout.volumes.delete(volume.number);
  layout.queues[volume.stream].delete(volume.number);
  layout.bytes[volume.stream] -= blocksOf(volume.bytes);
  layout.moved.delete(volume);
  layout.emptied.delete(volume);
  if (layout.open[volume.stream] === volume) layout.open[volume.stream] = undefined;
}

/** Whether nothing in the volume can be found, now or later: it can be removed at once. */
export function isEmpty(layout: Layout, volume: Volume): boolean {
  return volume.firstRow === 0 && volume.writers === 0 && layout.open[volume.stream] !== volume;
}

export function rowsOf(layout: Layout, volume: Volume): number[] {
  const rows: number[] = [];
  for (let row = volume.firstRow; row !== 0; row = get(layout.index, row, field.next)) rows.push(row);
  return rows;
}

/** The next volume to remove, and which of its objects stay in the cache. Undefined: all volumes are being written. */
export function chooseReclaim(layout: Layout): Reclaim | undefined {
  let last: Volume | undefined;
  for (let judged = 0, judgedRows = 0; judged < judgedVolumesMax && judgedRows < judgedRowsMax; judged += 1) {
    const stream = streamToJudge(layout.bytes);
    const volume = oldestOf(layout, stream) ?? oldestOf(layout, stream === "small" ? "main" : "small");
    if (volume === undefined) return undefined;
    const { rows, wanted, wantedBytes } = judge(layout, volume);
    judgedRows += rows;
    if (volume.writers > 0) {
      moveToEnd(layout, volume, volume.stream);
    } else if (staysWhole(wantedBytes, volume.bytes)) {
      last = volume;
      for (const row of rowsOf(layout, volume)) takeUse(layout, volume, row);
      moveToEnd(layout, volume, "main");
    } else {
      return { volume, keep: wanted };
    }
  }
  // All judged volumes are wanted. The last of them is removed, except for its most used half.
  return last === undefined ? undefined : { volume: last, keep: mostUsed(layout, last) };
}

function oldestOf(layout: Layout, stream: Stream): Volume | undefined {
  for (const volume of layout.queues[stream].values()) return volume;
  return undefined;
}

function judge(layout: Layout, volume: Volume): { rows: number; wanted: number[]; wantedBytes: number } {
  const wanted: number[] = [];
  let [rows, wantedBytes] = [0, 0];
  for (let row = volume.firstRow; row !== 0; row = get(layout.index, row, field.next)) {
    rows += 1;
    if (!isWanted(volume.stream, frequencyOf(layout.index, row))) continue;
    wanted.push(row);
    wantedBytes += lengthOf(layout.index, row);
  }
  return { rows, wanted, wantedBytes };
}

function mostUsed(layout: Layout, volume: Volume): number[] {
  const { index } = layout;
  const kept: number[] = [];
  let left = copiedBytesMax(volume.bytes);
  const rows = rowsOf(layout, volume).filter((row) => frequencyOf(index, row) > 0);
  for (const row of rows.toSorted((a, b) => frequencyOf(index, b) - frequencyOf(index, a))) {
    if (lengthOf(index, row) > left) continue;
    left -= lengthOf(index, row);
    kept.push(row);
  }
  return kept;
}

/** An object that stays loses one use, so it has to be used again to stay once more. */
export function takeUse(layout: Layout, volume: Volume, row: number): void {
  const { index } = layout;
  const frequency = frequencyOf(index, row);
  if (frequency === 0) return;
  setFrequency(index, row, frequencyAfter(volume.stream, frequency));
}

/** What the ghost has to know about an object that is removed with its volume. */
export function noteDropped(layout: Layout, volume: Volume, row: number): void {
  if (volume.stream !== "small") return;
  rememberDropped(layout.ghost, get(layout.index, row, field.key1), get(layout.index, row, field.key2));
}
