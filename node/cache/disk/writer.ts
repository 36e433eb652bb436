/**
 * Writes whole objects after their requests, many at a time: bodies, then heads, then the index.
 *
 *   store() ─▶ waiting ─▶ batch: room ─▶ bodies, one write per volume ─▶ heads, one write ─▶ rows ─▶ journal, one write
 *
 * An object is found in `waiting` until its row is in the index. A purge or removal takes it out of `waiting`, and the
 * batch looks there again before it writes the row.
 */
import { type CachedObject, memoryBytesOf } from "../object.ts";
import { appendHeads } from "./heads.ts";
import { checksumsOf, encodeHead } from "./head-record.ts";
import { field, get, type RowFacts } from "./index-table.ts";
import { flush } from "./journal.ts";
import { releaseFile } from "./descriptors.ts";
import { assign, blockBytes, isForFile, streamFor, type Volume } from "./layout.ts";
import type { Stream } from "./eviction.ts";
import { DiskPaused, isWorking } from "./patience.ts";
import { giveBack, makeRoom, tidy } from "./room.ts";
import { dropRow, putRow, rowOf } from "./rows.ts";
import { readKey } from "./key.ts";
import type { DiskState } from "./state.ts";
import { closeSealed, pinForWriting, writeBytes } from "./volumes.ts";

/**
 * Objects that wait to be written take at most this much memory. More are refused: they may still be in the memory
 * tier.
 */
const waitingBytesMax = 64 * 1024 * 1024;
const batchBytes = 4 * 1024 * 1024;
const batchObjects = 256;
/** For an object's head, its entry in the journal and its part of the next snapshot. */
const aboutBytes = 2048;

interface Placed {
  readonly object: CachedObject;
  readonly head: Buffer;
  volume: Volume | undefined;
  offset: number;
}

/** Accepts an object to be written. False: refused, and the object that it would have replaced is gone. */
export function store(state: DiskState, object: CachedObject): boolean {
  if (state.space.bytesMax === 0 || state.isClosed) return false;
  const bytes = memoryBytesOf(object);
  const isFitting =
    object.body.length + aboutBytes <= state.space.limitBytes / 4 && state.waitingBytes + bytes <= waitingBytesMax;
  if (!isFitting || state.isReadOnly || !isWorking(state.writes)) {
    state.counts.refused += 1;
    forget(state, object.key);
    return false;
  }
  stopWaiting(state, object.key);
  cancelComing(state, object.key);
  state.waiting.set(object.key, object);
  state.waitingBytes += bytes;
  state.writer ??= writeWaiting(state).finally(() => {
    state.writer = undefined;
    tidy(state);
  });
  return true;
}

/** Makes the object under a key unfindable, which the journal has as pending. Returns whether there was one. */
export function forget(state: DiskState, key: string): boolean {
  const wasWaiting = stopWaiting(state, key);
  const wasComing = cancelComing(state, key);
  const row = rowOf(state, key);
  if (row !== 0) dropRow(state, row);
  return wasWaiting || wasComing || row !== 0;
}

/** A later object under the same key must not be overwritten by one that began earlier. */
function cancelComing(state: DiskState, key: string): boolean {
  let wasComing = false;
  for (const one of state.coming) {
    if (one.key !== key) continue;
    one.isCancelled = true;
    wasComing = true;
  }
  return wasComing;
}

export function stopWaiting(state: DiskState, key: string): boolean {
  const object = state.waiting.get(key);
  if (object === undefined) return false;
  state.waiting.delete(key);
  state.waitingBytes -= memoryBytesOf(object);
  return true;
}

async function writeWaiting(state: DiskState): Promise<void> {
  // The callers of one turn of the event loop make one batch.
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  while (state.waiting.size > 0) {
    const batch = nextBatch(state);
    const bytes = batch.reduce(
      (sum, { body, headerBlock }) => sum + body.length + headerBlock.length + aboutBytes + blockBytes,
      0,
    );
    const isGranted = isWorking(state.writes) && (await makeRoom(state, bytes));
    if (!isGranted) {
      for (const object of batch) giveUp(state, object);
      continue;
    }
    try {
      await writeBatch(state, batch);
    } catch (error) {
      state.counts.writeFailures += batch.length;
      if (!(error instanceof DiskPaused))
        state.failures.warn("WRITE", { err: error }, "objects could not be written to the disk cache");
      for (const object of batch) giveUp(state, object);
    } finally {
      giveBack(state, bytes);
    }
  }
}

function nextBatch(state: DiskState): CachedObject[] {
  const batch: CachedObject[] = [];
  let bytes = 0;
  for (const object of state.waiting.values()) {
    if (batch.length >= batchObjects || (bytes > 0 && bytes + object.body.length > batchBytes)) break;
    batch.push(object);
    bytes += object.body.length;
  }
  return batch;
}

/** Drops an object that can't be written; the version that it was to replace must not be found instead. */
function giveUp(state: DiskState, object: CachedObject): void {
  if (state.waiting.get(object.key) === object) forget(state, object.key);
}

async function writeBatch(state: DiskState, batch: readonly CachedObject[]): Promise<void> {
  const placed = batch.flatMap((object): Placed[] => {
    const { key, facts, headerBlock, body } = object;
    const head = encodeHead({ key, facts, headerBlock, lengthBytes: body.length, blockChecksums: checksumsOf(body) });
    if (head !== undefined) return [{ object, head, volume: undefined, offset: 0 }];
    giveUp(state, object);
    return [];
  });
  try {
    await writeBodies(state, placed);
    const places = await appendHeads(
      state,
      placed.map(({ head }) => head),
    );
    for (const [at, one] of placed.entries()) {
      const place = places[at];
      // Purged, removed or replaced meanwhile; its bytes are dead.
      if (place === undefined || state.waiting.get(one.object.key) !== one.object) continue;
      const facts = rowFactsOf(one, place.segment, place.offset);
      if (one.volume !== undefined && !state.layout.volumes.has(one.volume.number)) giveUp(state, one.object);
      else if (putRow(state, one.object.key, facts, one.object.facts.tags)) stopWaiting(state, one.object.key);
      else giveUp(state, one.object);
    }
  } finally {
    for (const { volume } of placed) if (volume !== undefined) endWriting(state, volume);
  }
  await flush(state.journal);
}

function endWriting(state: DiskState, volume: Volume): void {
  volume.writers -= 1;
  if (volume.firstRow === 0) state.layout.emptied.add(volume);
}

function rowFactsOf({ object, head, volume, offset }: Placed, segment: number, headOffset: number): RowFacts {
  return {
    volume: volume?.number ?? 0,
    offset,
    lengthBytes: object.body.length,
    headSegment: segment,
    headOffset,
    headBytes: head.length,
    feedSeq: object.facts.feedSeq,
  };
}

/** Assigns places, and writes the bodies of each volume in one go. */
async function writeBodies(state: DiskState, placed: readonly Placed[]): Promise<void> {
  const byVolume = new Map<Volume, Placed[]>();
  for (const one of placed) {
    const { body } = one.object;
    if (body.length === 0) continue;
    const { volume, offset } = assign(state.layout, streamOf(state, one.object.key), body.length);
    volume.writers += 1;
    Object.assign(one, { volume, offset });
    const others = byVolume.get(volume);
    if (others === undefined) byVolume.set(volume, [one]);
    else others.push(one);
  }
  const pinned = [...byVolume].map(([volume, ones]) => ({ volume, ones, file: pinForWriting(state, volume) }));
  closeSealed(state);
  try {
    for (const { volume, ones, file } of pinned) {
      const first = ones[0]?.offset ?? 0;
      await writeBytes(state, volume, file, first, withPadding(ones));
    }
  } finally {
    for (const { file } of pinned) releaseFile(state.descriptors, file);
  }
}

/** An object that was in main stays there. */
export function streamOf(state: DiskState, key: string): Stream {
  const row = rowOf(state, key);
  const volume = row === 0 ? undefined : state.layout.volumes.get(get(state.index, row, field.volume));
  return volume?.stream ?? streamFor(state.layout, readKey(key, state.scratch));
}

/** The bodies with their padding: less than a block of zeros in front of one that begins on a page. */
function withPadding(ones: readonly Placed[]): Buffer[] {
  const buffers: Buffer[] = [];
  let end = ones[0]?.offset ?? 0;
  for (const { object, offset } of ones) {
    if (offset > end) buffers.push(Buffer.alloc(offset - end));
    buffers.push(object.body);
    end = offset + object.body.length;
  }
  return buffers;
}

/** Whether a body of this length is kept together with others. */
export function isPacked(state: DiskState, lengthBytes: number): boolean {
  return !isForFile(state.layout, lengthBytes);
}
