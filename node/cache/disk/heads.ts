/**
 * Heads on disk: appended to head segments, found by the index, copied together when most of a segment is dead.
 *
 *   heads/4   [head][dead][head][head][dead]…      a new head of an object is appended; the index then points to it
 */
import { decodeHead, headLengthAt, type StoredHead } from "./head-record.ts";
import { forgetFile, type OpenFile, pinFile, releaseFile } from "./descriptors.ts";
import {
  field,
  findRow,
  frequencyOf,
  get,
  headBytesOf,
  isHeadAt,
  rowFacts,
  setFrequency,
  setRowFacts,
} from "./index-table.ts";
import { flush } from "./journal.ts";
import { addObject } from "./journal-format.ts";
import { readKey } from "./key.ts";
import { blocksOf } from "./layout.ts";
import { DiskPaused, tryOn } from "./patience.ts";
import { dropRow } from "./rows.ts";
import { type DiskState, type HeadSegment, pathOfHeads } from "./state.ts";
import { removeFile } from "./volumes.ts";

export interface HeadPlace {
  readonly segment: number;
  readonly offset: number;
}

/** Heads without a body take at most this part of the tier; beyond that, unused ones are removed. */
const bodilessPart = 8;
/** A segment is compacted when this part of all heads is dead. */
const deadPart = 0.5;

/** Appends encoded heads. Their places are taken even if the write fails. @throws DiskPaused or the system's error */
export async function appendHeads(state: DiskState, heads: readonly Buffer[]): Promise<HeadPlace[]> {
  const places: HeadPlace[] = [];
  for (let from = 0; from < heads.length;) {
    const { segment, file } = openSegment(state);
    const offset = segment.bytes;
    let to = from;
    let bytes = 0;
    do {
      places.push({ segment: segment.number, offset: offset + bytes });
      bytes += heads[to]?.length ?? 0;
      to += 1;
    } while (to < heads.length && offset + bytes < state.headSegmentBytes);
    addBytes(state, segment, bytes);
    const part = heads.slice(from, to);
    // Another writer may seal the segment meanwhile.
    file.users += 1;
    try {
      await file.opened;
      await tryOn(state.writes, () => state.files.write(file.descriptor, offset, part));
    } catch (error) {
      sealHeads(state, segment);
      throw error;
    } finally {
      releaseFile(state.descriptors, file);
    }
    from = to;
  }
  return places;
}

function openSegment(state: DiskState): { segment: HeadSegment; file: OpenFile } {
  const present = state.openHeads;
  if (present !== undefined) {
    if (present.segment.bytes < state.headSegmentBytes) return present;
    sealHeads(state, present.segment);
  }
  const segment = { number: state.nextHeadSegment, bytes: 0, liveBytes: 0 };
  const file = pinFile(state.descriptors, state.writes, pathOfHeads(state, segment.number), "write");
  if (file === undefined) throw new DiskPaused("all descriptors of the tier are in use");
  state.nextHeadSegment += 1;
  state.headSegments.set(segment.number, segment);
  state.openHeads = { segment, file };
  return state.openHeads;
}

function sealHeads(state: DiskState, segment: HeadSegment): void {
  if (state.openHeads?.segment !== segment) return;
  const { file } = state.openHeads;
  state.openHeads = undefined;
  releaseFile(state.descriptors, file);
}

function addBytes(state: DiskState, segment: HeadSegment, bytes: number): void {
  state.headBytes += blocksOf(segment.bytes + bytes) - blocksOf(segment.bytes);
  segment.bytes += bytes;
}

/** The head of a row: at once if it was decoded recently or is in the page cache. Rejects as files do. */
export function headOf(state: DiskState, row: number): StoredHead | undefined | Promise<StoredHead | undefined> {
  const segment = get(state.index, row, field.headSegment);
  const offset = get(state.index, row, field.headOffset);
  const place = placeOf(segment, offset);
  const known = state.heads.get(place);
  if (known !== undefined) return known;
  const file = pinFile(state.descriptors, state.reads, pathOfHeads(state, segment), "read");
  if (file === undefined) throw new DiskPaused("all descriptors of the tier are in use");
  const lengthBytes = headBytesOf(state.index, row);
  if (file.descriptor !== -1) {
    const bytes = state.files.readNow(file.descriptor, offset, lengthBytes);
    if (bytes !== undefined) {
      releaseFile(state.descriptors, file);
      return remember(state, place, bytes);
    }
  }
  return readHead(state, file, offset, lengthBytes).then((bytes) => remember(state, place, bytes));
}

async function readHead(state: DiskState, file: OpenFile, offset: number, lengthBytes: number): Promise<Buffer> {
  try {
    await file.opened;
    return await tryOn(state.reads, () => state.files.read(file.descriptor, offset, lengthBytes));
  } finally {
    releaseFile(state.descriptors, file);
  }
}

function remember(state: DiskState, place: number, bytes: Buffer): StoredHead | undefined {
  state.counts.headBytesRead += bytes.length;
  const head = decodeHead(bytes);
  if (head !== undefined) state.heads.set(place, head);
  return head;
}

/** Offsets stay below 2^25: a segment ends with the head that passes its 8 MiB, and a head has less than 16 MiB. */
function placeOf(segment: number, offset: number): number {
  return segment * 2 ** 25 + offset;
}

export function isCompactionDue(state: DiskState): boolean {
  if (state.bodilessBytes > state.space.limitBytes / bodilessPart) return true;
  let live = 0;
  for (const segment of state.headSegments.values()) live += segment.liveBytes;
  return state.headBytes - live > Math.max(2 * state.headSegmentBytes, deadPart * state.headBytes);
}

/**
 * Copies the live heads of the segment with the most dead bytes, then removes it. Returns whether there was one.
 * @throws DiskPaused or the system's error; nothing is lost then
 */
export async function compactHeads(state: DiskState): Promise<boolean> {
  const isTooMuch = state.bodilessBytes > state.space.limitBytes / bodilessPart;
  const segment = isTooMuch ? oldest(state) : deadest(state);
  if (segment === undefined) return false;
  const bytes = await readSegment(state, segment);
  const live: { row: number; offset: number; head: Buffer }[] = [];
  for (let offset = 0, length = 0; (length = headLengthAt(bytes, offset)) > 0; offset += length) {
    const head = bytes.subarray(offset, offset + length);
    const key = decodeHead(head)?.key;
    if (key === undefined) continue;
    const row = findRow(state.index, readKey(key, state.scratch));
    if (row === 0 || !isHeadAt(state.index, row, segment.number, offset)) continue;
    if (isTooMuch && get(state.index, row, field.volume) === 0 && !takeBodilessUse(state, row)) continue;
    live.push({ row, offset, head });
  }
  const places = await appendHeads(
    state,
    live.map(({ head }) => head),
  );
  for (const [at, { row, offset }] of live.entries()) {
    const place = places[at];
    if (place === undefined || !isHeadAt(state.index, row, segment.number, offset)) continue;
    moveHead(state, row, place);
  }
  // After a crash, the index must not point to a segment that is gone.
  await flush(state.journal);
  await removeSegment(state, segment);
  return true;
}

/** Whether a record stays; it is removed if it was not used since it was last judged. */
function takeBodilessUse(state: DiskState, row: number): boolean {
  const frequency = frequencyOf(state.index, row);
  if (frequency === 0) {
    dropRow(state, row);
    state.counts.evictions += 1;
    return false;
  }
  setFrequency(state.index, row, frequency - 1);
  return true;
}

/** Points a row to a copy of its head. */
function moveHead(state: DiskState, row: number, place: HeadPlace): void {
  const facts = rowFacts(state.index, row);
  countHead(state, facts.headSegment, -facts.headBytes);
  setRowFacts(state.index, row, { ...facts, headSegment: place.segment, headOffset: place.offset });
  countHead(state, place.segment, facts.headBytes);
  addObject(state.journal.pending, state.index, row);
}

function countHead(state: DiskState, segment: number, bytes: number): void {
  const found = state.headSegments.get(segment);
  if (found !== undefined) found.liveBytes += bytes;
}

function oldest(state: DiskState): HeadSegment | undefined {
  for (const segment of state.headSegments.values()) if (segment !== state.openHeads?.segment) return segment;
  return undefined;
}

function deadest(state: DiskState): HeadSegment | undefined {
  let found: HeadSegment | undefined;
  for (const segment of state.headSegments.values()) {
    if (segment === state.openHeads?.segment) continue;
    if (found === undefined || segment.bytes - segment.liveBytes > found.bytes - found.liveBytes) found = segment;
  }
  // A segment without dead bytes would only be copied.
  return found !== undefined && found.bytes - found.liveBytes > found.bytes / 8 ? found : undefined;
}

async function readSegment(state: DiskState, segment: HeadSegment): Promise<Buffer> {
  const path = pathOfHeads(state, segment.number);
  const file = pinFile(state.descriptors, state.reads, path, "read");
  if (file === undefined) throw new DiskPaused("all descriptors of the tier are in use");
  return await readHead(state, file, 0, segment.bytes);
}

async function removeSegment(state: DiskState, segment: HeadSegment): Promise<void> {
  const path = pathOfHeads(state, segment.number);
  state.headSegments.delete(segment.number);
  state.headBytes -= blocksOf(segment.bytes);
  const closed = forgetFile(state.descriptors, path, blocksOf(segment.bytes));
  await removeFile(state, path, blocksOf(segment.bytes), closed);
}
