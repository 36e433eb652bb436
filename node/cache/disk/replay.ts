/**
 * The start: reads the index back, compares it with the files that are there, and removes what is not in it.
 *
 *   snapshot-G (the newest) ─▶ journal-G, journal-G+1 … ─▶ rows ─▶ files without rows go, and rows without files
 *
 * A journal that was cut short by a kill is read to its last whole frame. A damaged one may have lost removals, so
 * everything is dropped: a purge must hold.
 */
import { join } from "node:path";
import type { Log } from "#base/log.ts";
import {
  addRow,
  expectRows,
  field,
  findRow,
  lengthOf,
  removeRow,
  rowStart,
  setFrequency,
  frequencyMax,
  get,
  isRow,
  setTags,
} from "./index-table.ts";
import { entry, entryWords, frameAt, objectWords } from "./journal-format.ts";
import { generationOf } from "./journal.ts";
import type { Key } from "./key.ts";
import { blocksOf, extend, forgetVolume, moveToEnd, openVolume, rowsOf, type VolumeKind } from "./layout.ts";
import type { Stream } from "./eviction.ts";
import { chunkOf, placeOf } from "./words.ts";
import { attach, detach, dropRowQuietly } from "./rows.ts";
import { type DiskState, pathOfHeads, pathOfVolume } from "./state.ts";

/** The index is read in portions of this size: at least one frame. */
const readBytes = 1024 * 1024;

/** Fills the index. @throws the system's error when a directory can't be read */
export async function replay(state: DiskState, log: Log): Promise<void> {
  const { files, journal, directory } = state;
  const names = await files.list(join(directory, "index"));
  const snapshots = generationsOf(names, "snapshot");
  const journals = generationsOf(names, "journal");
  journal.generation = Math.max(0, ...snapshots, ...journals);
  journal.isNameUnsynced = true;
  const newest = snapshots.at(-1);
  if (newest !== undefined) await readIndexFile(state, `snapshot-${newest}`, log);
  let isDamaged = false;
  for (const generation of journals) {
    if (newest !== undefined && generation < newest) continue;
    // The last process may have been killed before its sync.
    journal.unsynced.add(generation);
    if (!(await readIndexFile(state, `journal-${generation}`, log))) isDamaged = true;
  }
  if (isDamaged) dropAll(state);
  for (const name of names) if (generationOf(name) === undefined) await files.unlink(join(directory, "index", name));
  await compareHeads(state);
  await compareVolumes(state);
  state.layout.moved.clear();
}

function generationsOf(names: readonly string[], kind: "snapshot" | "journal"): number[] {
  return names
    .flatMap((name) => (name.startsWith(`${kind}-`) ? (generationOf(name) ?? []) : []))
    .toSorted((a, b) => a - b);
}

/** False: damaged. Damage in a snapshot loses objects, but brings none back. */
async function readIndexFile(state: DiskState, name: string, log: Log): Promise<boolean> {
  const { files } = state;
  const isSnapshot = name.startsWith("snapshot");
  const descriptor = await files.open(join(state.directory, "index", name), "read");
  try {
    const size = await files.sizeOf(descriptor);
    state.journal.otherBytes += blocksOf(size);
    if (isSnapshot) {
      state.journal.snapshotBytes = blocksOf(size);
      expectRows(state.index, size / (objectWords * Uint32Array.BYTES_PER_ELEMENT));
    }
    let ordinal = 0;
    // One buffer for all portions: the process would not return the memory of many.
    const buffer = Buffer.allocUnsafeSlow(Math.min(readBytes, size));
    for (let position = 0; position < size;) {
      const bytes = buffer.subarray(0, await files.readInto(descriptor, position, buffer));
      const isLast = position + bytes.length >= size;
      let at = 0;
      let frame = frameAt(bytes, at, ordinal);
      while (frame.state === "whole" || frame.state === "damaged") {
        if (frame.state === "whole") applyAll(state, frame.words);
        else if (isSnapshot) state.counts.corrupt += 1;
        else break;
        at = frame.end;
        ordinal += 1;
        frame = frameAt(bytes, at, ordinal);
      }
      if (frame.state === "incomplete" && !isLast && at > 0) {
        position += at;
        continue;
      }
      // A kill leaves a frame that ends too early; a power failure may leave zeros.
      if (frame.state === "incomplete" || bytes.subarray(at).every((byte) => byte === 0)) return true;
      if (isSnapshot) {
        state.counts.corrupt += 1;
        return true;
      }
      log.error(
        { file: name, consequence: "everything cached on disk is dropped" },
        "the journal of the disk cache is damaged",
      );
      return false;
    }
    return true;
  } finally {
    void files.close(descriptor);
  }
}

function applyAll(state: DiskState, words: Uint32Array): void {
  for (let at = 0; at < words.length;) {
    const length = entryWords(words, at);
    if (length === 0) return;
    apply(state, words, at, length);
    at += length;
  }
}

function apply(state: DiskState, words: Uint32Array, at: number, length: number): void {
  const first = words[at] ?? 0;
  switch (first & 0xff) {
    case entry.object:
      putObject(state, words, at, length);
      return;
    case entry.removed: {
      const row = findRow(state.index, keyAt(state, words, at));
      if (row !== 0) dropRowQuietly(state, row);
      return;
    }
    case entry.frequency: {
      const row = findRow(state.index, keyAt(state, words, at));
      if (row !== 0) setFrequency(state.index, row, (first >>> 8) & frequencyMax);
      return;
    }
    case entry.volume:
      putVolume(
        state,
        words[at + 1] ?? 0,
        (first >>> 8) & 1 ? "file" : "segment",
        (first >>> 16) & 1 ? "main" : "small",
      );
      return;
    case entry.gone: {
      const volume = state.layout.volumes.get(words[at + 1] ?? 0);
      if (volume === undefined) return;
      for (const row of rowsOf(state.layout, volume)) dropRowQuietly(state, row);
      forgetVolume(state.layout, volume);
      return;
    }
    default:
  }
}

function keyAt(state: DiskState, words: Uint32Array, at: number): Key {
  for (let word = 0; word < 4; word += 1) state.scratch[word] = words[at + 1 + word] ?? 0;
  return state.scratch;
}

function putVolume(state: DiskState, number: number, kind: VolumeKind, stream: Stream): void {
  const present = state.layout.volumes.get(number);
  if (present === undefined) openVolume(state.layout, kind, stream, number);
  else moveToEnd(state.layout, present, stream);
}

function putObject(state: DiskState, words: Uint32Array, at: number, length: number): void {
  const { index, layout } = state;
  const key = keyAt(state, words, at);
  const volume = words[at + 5] ?? 0;
  // Its volume was removed before this entry was written to a snapshot.
  const isGone = volume !== 0 && !layout.volumes.has(volume);
  const present = findRow(index, key);
  if (present !== 0) detach(state, present);
  if (isGone) {
    if (present !== 0) removeRow(index, present);
    return;
  }
  const row = present === 0 ? addRow(index, key) : present;
  if (row === 0) return;
  const headSegment = words[at + 9] ?? 0;
  const chunk = chunkOf(index.rows, rowStart(row));
  const start = placeOf(rowStart(row));
  // From the volume to the low word of feedSeq, in the order of the row.
  for (let word = 0; word < objectWords - 5; word += 1) chunk[start + field.volume + word] = words[at + 5 + word] ?? 0;
  // Without a view for each object: a million of them would make the heap grow.
  setTags(index, row, words, at + objectWords, at + length);
  if (!state.headSegments.has(headSegment))
    state.headSegments.set(headSegment, { number: headSegment, bytes: 0, liveBytes: 0 });
  attach(state, row);
}

function dropAll(state: DiskState): void {
  for (let row = 1; row < state.index.rowsEnd; row += 1) if (isRow(state.index, row)) dropRowQuietly(state, row);
}

/** Head segments get their size from their files. Files that no row needs are removed. */
async function compareHeads(state: DiskState): Promise<void> {
  const { files } = state;
  const names = new Set(await files.list(join(state.directory, "heads")));
  for (const name of names) {
    const number = numberOf(name);
    if (number !== undefined) state.nextHeadSegment = Math.max(state.nextHeadSegment, number + 1);
    const segment = number === undefined ? undefined : state.headSegments.get(number);
    if (segment === undefined || segment.liveBytes === 0) {
      await files.removeTree(join(state.directory, "heads", name));
      if (segment !== undefined) state.headSegments.delete(segment.number);
      continue;
    }
    segment.bytes = await sizeOf(state, pathOfHeads(state, segment.number));
    state.headBytes += blocksOf(segment.bytes);
  }
  const missing = new Set([...state.headSegments.keys()].filter((number) => !names.has(String(number))));
  if (missing.size > 0) {
    for (let row = 1; row < state.index.rowsEnd; row += 1) {
      if (isRow(state.index, row) && missing.has(get(state.index, row, field.headSegment))) dropRowQuietly(state, row);
    }
  }
  for (const number of missing) state.headSegments.delete(number);
}

/** The same for volumes. The file of one body is not opened: its row has the length, and checksums tell the rest. */
async function compareVolumes(state: DiskState): Promise<void> {
  const { files, layout } = state;
  for (const [kind, folder] of [
    ["segment", "segments"],
    ["file", "bodies"],
  ] as const) {
    const names = new Set(await files.list(join(state.directory, folder)));
    for (const name of names) {
      const number = numberOf(name);
      const volume = number === undefined ? undefined : layout.volumes.get(number);
      if (volume?.kind === kind && volume.firstRow !== 0) continue;
      await files.removeTree(join(state.directory, folder, name));
      if (number !== undefined) layout.nextNumber = Math.max(layout.nextNumber, number + 1);
    }
    for (const volume of Array.from(layout.volumes.values())) {
      if (volume.kind !== kind) continue;
      if (!names.has(String(volume.number)) || volume.firstRow === 0) {
        for (const row of rowsOf(layout, volume)) dropRowQuietly(state, row);
        forgetVolume(layout, volume);
        continue;
      }
      const bytes =
        kind === "segment" ? await sizeOf(state, pathOfVolume(state, volume)) : lengthOf(state.index, volume.firstRow);
      extend(layout, volume, bytes - volume.bytes);
    }
  }
}

function numberOf(name: string): number | undefined {
  return /^\d{1,10}$/.test(name) ? Number(name) : undefined;
}

async function sizeOf(state: DiskState, path: string): Promise<number> {
  const descriptor = await state.files.open(path, "read");
  try {
    return await state.files.sizeOf(descriptor);
  } finally {
    void state.files.close(descriptor);
  }
}
