/**
 * Writes a body to its place in the cache while it arrives. Readers can read what is already written.
 *
 *   length known, small ─▶ its place in a segment        unknown ─▶ memory, up to 256 KiB ──longer──▶ file of its own
 *   length known, large ─▶ file of its own                              └─commit─▶ its place in a segment
 *
 *   open ──append──▶ open ──commit──▶ found by everyone          any failure, abort ──▶ dead: nothing is found
 */
import type { ObjectFacts } from "../object.ts";
import { type OpenFile, releaseFile } from "./descriptors.ts";
import { addToChecksums, type Checksums, createChecksums, encodeHead, finishChecksums } from "./head-record.ts";
import { appendHeads } from "./heads.ts";
import { assign, blockBytes, extend, openVolume, seal, type Volume } from "./layout.ts";
import { DiskPaused, isWorking, tryOn } from "./patience.ts";
import { giveBack, makeRoom, tidy, writeIndex } from "./room.ts";
import { dropRow, putRow, rowOf } from "./rows.ts";
import type { Coming, DiskState } from "./state.ts";
import { closeSealed, pinForWriting, writeBytes } from "./volumes.ts";
import { isPacked, stopWaiting, streamOf } from "./writer.ts";

export interface BodyWriter {
  /**
   * Resolves to true when the bytes can be read back. False: the disk refuses, or there is no room; the body is lost,
   * and the caller continues without a disk. Calls are carried out in order. A caller that does not wait fills memory.
   */
  append: (chunk: Buffer) => Promise<boolean>;
  /** Bytes that were appended, before and after commit() or abort(). Rejects if the disk can't read them. */
  read: (start: number, end: number) => Buffer | Promise<Buffer>;
  /** Makes the object findable, at once and after a restart. False: it was aborted, failed, purged or is incomplete. */
  commit: (facts: ObjectFacts, headerBlock: Buffer) => Promise<boolean>;
  abort: () => void;
  /** Keeps the bytes for a reader, until it calls the result. */
  hold: () => () => void;
}

/** Bodies that arrive at the same time. Each has a descriptor. */
const writersMax = 4096;
/** A body of unknown length stays in memory up to this size; most are small, and belong in a segment. */
const gatheredBytesMax = 256 * 1024;
/** For all of them together; beyond that, they go to files of their own at once. */
const gatheredSumMax = 32 * 1024 * 1024;
/** Separate files take room in steps, so that an aborted body evicts little. */
const stepBytes = 1024 * 1024;
const headRoomBytes = 4096;

interface Body {
  readonly state: DiskState;
  readonly key: string;
  readonly lengthBytes: number | null;
  /** "gathering": in memory. "failed": nothing more is accepted; what was written can still be read. */
  phase: "gathering" | "writing" | "committed" | "failed";
  gathered: Buffer[];
  volume: Volume | undefined;
  file: OpenFile | undefined;
  offset: number;
  /** Bytes that can be read back. */
  bytes: number;
  /** Room in the file that is already accounted for. */
  roomBytes: number;
  readonly checksums: Checksums;
  last: Promise<boolean>;
  holds: number;
  /** The volume counts it as a writer. */
  isWriting: boolean;
  isReleased: boolean;
}

/** @param lengthBytes null: unknown @returns undefined: no room, paused, or too many at a time */
export function openBodyWriter(state: DiskState, key: string, lengthBytes: number | null): BodyWriter | undefined {
  if (state.isClosed || state.isReadOnly || !isWorking(state.writes)) return undefined;
  if (state.bodyWriters >= writersMax || (lengthBytes ?? 0) > state.space.limitBytes / 4) return undefined;
  state.bodyWriters += 1;
  const body: Body = {
    state,
    key,
    lengthBytes,
    phase: lengthBytes === null && state.gatheredBytes < gatheredSumMax ? "gathering" : "writing",
    gathered: [],
    volume: undefined,
    file: undefined,
    offset: 0,
    bytes: 0,
    roomBytes: 0,
    checksums: createChecksums(),
    last: Promise.resolve(true),
    holds: 0,
    isWriting: false,
    isReleased: false,
  };
  return {
    append(chunk) {
      body.last = body.last.then(() => append(body, chunk));
      return body.last;
    },
    read: (start, end) => read(body, start, Math.min(end, body.bytes)),
    commit: (facts, headerBlock) => body.last.then(() => commit(body, facts, headerBlock)),
    abort() {
      void body.last.then(() => fail(body));
    },
    hold() {
      body.holds += 1;
      let isHeld = true;
      return () => {
        if (isHeld) body.holds -= 1;
        isHeld = false;
        releaseIfDone(body);
      };
    },
  };
}

async function append(body: Body, chunk: Buffer): Promise<boolean> {
  if (body.phase === "failed" || body.phase === "committed") return false;
  if (body.lengthBytes !== null && body.bytes + chunk.length > body.lengthBytes) return fail(body);
  try {
    if (body.phase === "gathering") {
      if (body.bytes + chunk.length <= gatheredBytesMax) {
        gather(body, chunk);
        return true;
      }
      await spill(body);
    }
    await writeChunk(body, chunk);
    return true;
  } catch (error) {
    noteFailure(body, error);
    return fail(body);
  }
}

function gather(body: Body, chunk: Buffer): void {
  body.gathered.push(chunk);
  body.bytes += chunk.length;
  body.state.gatheredBytes += chunk.length;
}

/** Moves the gathered bytes to a file of its own, which takes the rest too. */
async function spill(body: Body): Promise<void> {
  const { gathered } = body;
  body.phase = "writing";
  let at = 0;
  for (const chunk of gathered) {
    await writeAt(body, chunk, at);
    at += chunk.length;
  }
  dropGathered(body);
}

function dropGathered(body: Body): void {
  for (const { length } of body.gathered) body.state.gatheredBytes -= length;
  body.gathered = [];
}

async function writeChunk(body: Body, chunk: Buffer): Promise<void> {
  await writeAt(body, chunk, body.bytes);
  body.bytes += chunk.length;
}

async function writeAt(body: Body, chunk: Buffer, at: number): Promise<void> {
  const { state } = body;
  await takeRoom(body, at + chunk.length);
  if (body.volume === undefined || body.file === undefined) throw new DiskPaused("no place for the body");
  await writeBytes(state, body.volume, body.file, body.offset + at, [chunk]);
  addToChecksums(body.checksums, chunk);
}

/** Assigns a place, or more of it, so that the first `bytes` of the body have room. @throws DiskPaused */
async function takeRoom(body: Body, bytes: number): Promise<void> {
  const { state, lengthBytes } = body;
  if (body.volume !== undefined && bytes <= body.roomBytes) return;
  const isInSegment = lengthBytes !== null && isPacked(state, lengthBytes);
  const more = isInSegment ? lengthBytes : Math.max(stepBytes, bytes - body.roomBytes);
  const wanted = lengthBytes === null ? more : Math.min(more, lengthBytes - body.roomBytes);
  // An assignment in a segment may waste less than a block in front of the body.
  const granted = wanted + blockBytes + headRoomBytes;
  if (!(await makeRoom(state, granted))) throw new DiskPaused("no room for the body");
  try {
    if (body.volume === undefined) place(body, isInSegment);
    if (body.volume?.kind === "file") extend(state.layout, body.volume, wanted);
    body.roomBytes += wanted;
  } finally {
    giveBack(state, granted);
  }
}

function place(body: Body, isInSegment: boolean): void {
  const { state, key, lengthBytes } = body;
  if (isInSegment) {
    const { volume, offset } = assign(state.layout, streamOf(state, key), lengthBytes ?? 0);
    Object.assign(body, { volume, offset });
    closeSealed(state);
  } else {
    body.volume = openVolume(state.layout, "file", streamOf(state, key));
  }
  if (body.volume === undefined) return;
  body.volume.writers += 1;
  body.isWriting = true;
  body.file = pinForWriting(state, body.volume);
}

function read(body: Body, start: number, end: number): Buffer | Promise<Buffer> {
  if (start >= end) return Buffer.alloc(0);
  if (body.gathered.length > 0) return Buffer.concat(body.gathered).subarray(start, end);
  const { state, file, offset } = body;
  if (file === undefined || file.descriptor === -1) return Promise.reject(new DiskPaused("the body is gone"));
  const bytes = state.files.readNow(file.descriptor, offset + start, end - start);
  return bytes ?? tryOn(state.reads, () => state.files.read(file.descriptor, offset + start, end - start));
}

async function commit(body: Body, facts: ObjectFacts, headerBlock: Buffer): Promise<boolean> {
  const isComplete = body.lengthBytes === null || body.bytes === body.lengthBytes;
  if ((body.phase !== "gathering" && body.phase !== "writing") || !isComplete) return fail(body);
  const coming: Coming = { key: body.key, facts, isCancelled: false };
  body.state.coming.add(coming);
  try {
    return (await commitHead(body, coming, headerBlock)) || fail(body);
  } catch (error) {
    noteFailure(body, error);
    forgetOlder(body);
    return fail(body);
  } finally {
    body.state.coming.delete(coming);
  }
}

async function commitHead(body: Body, coming: Coming, headerBlock: Buffer): Promise<boolean> {
  const { state, key } = body;
  const { facts } = coming;
  if (body.phase === "gathering" && body.bytes > 0) await settle(body);
  const head = encodeHead({
    key,
    facts,
    headerBlock,
    lengthBytes: body.bytes,
    blockChecksums: finishChecksums(body.checksums),
  });
  if (head === undefined) return false;
  const [headPlace] = await appendHeads(state, [head]);
  // Purged meanwhile, or the volume was reclaimed before the body was whole.
  const isThere = body.volume === undefined || state.layout.volumes.get(body.volume.number) === body.volume;
  if (coming.isCancelled || headPlace === undefined || !isThere) return false;
  stopWaiting(state, key);
  const isPut = putRow(
    state,
    key,
    {
      volume: body.volume?.number ?? 0,
      offset: body.offset,
      lengthBytes: body.bytes,
      headSegment: headPlace.segment,
      headOffset: headPlace.offset,
      headBytes: head.length,
      feedSeq: facts.feedSeq,
    },
    facts.tags,
  );
  if (!isPut) return false;
  body.phase = "committed";
  giveBackRest(body);
  endWriting(body);
  releaseIfDone(body);
  await writeIndex(state);
  tidy(state);
  return true;
}

/** Writes a body that was gathered in memory to its place. @throws DiskPaused or the system's error */
async function settle(body: Body): Promise<void> {
  const { state, bytes } = body;
  const whole = Buffer.concat(body.gathered);
  if (!isPacked(state, bytes)) {
    await spill(body);
    return;
  }
  const granted = bytes + blockBytes + headRoomBytes;
  if (!(await makeRoom(state, granted))) throw new DiskPaused("no room for the body");
  try {
    const { volume, offset } = assign(state.layout, streamOf(state, body.key), bytes);
    Object.assign(body, { volume, offset, isWriting: true });
    volume.writers += 1;
    closeSealed(state);
    body.file = pinForWriting(state, volume);
    await writeBytes(state, volume, body.file, offset, [whole]);
  } finally {
    giveBack(state, granted);
  }
  addToChecksums(body.checksums, whole);
  body.phase = "writing";
  dropGathered(body);
}

/** A body of unknown length took room in steps, and has not used all of the last one. */
function giveBackRest({ state, volume, bytes, roomBytes }: Body): void {
  if (volume?.kind === "file" && bytes < roomBytes) extend(state.layout, volume, bytes - roomBytes);
}

/** The version that it was to replace must not be found instead. */
function forgetOlder({ state, key }: Body): void {
  const row = rowOf(state, key);
  if (row !== 0) dropRow(state, row);
}

function noteFailure({ state, key }: Body, error: unknown): void {
  state.counts.writeFailures += 1;
  if (error instanceof DiskPaused) return;
  state.failures.warn("WRITE", { err: error, key }, "a body could not be written to the disk cache");
}

/** Always false, for the callers' results. */
function fail(body: Body): false {
  if (body.phase === "failed" || body.phase === "committed") return false;
  body.phase = "failed";
  const { volume } = body;
  if (volume?.kind === "file") seal(body.state.layout, volume);
  endWriting(body);
  releaseIfDone(body);
  tidy(body.state);
  return false;
}

function endWriting(body: Body): void {
  if (!body.isWriting || body.volume === undefined) return;
  body.isWriting = false;
  body.volume.writers -= 1;
  if (body.volume.firstRow === 0) body.state.layout.emptied.add(body.volume);
}

/** Releases file and memory when nobody writes or reads any more. */
function releaseIfDone(body: Body): void {
  if ((body.phase !== "failed" && body.phase !== "committed") || body.holds > 0 || body.isReleased) return;
  body.isReleased = true;
  body.state.bodyWriters -= 1;
  dropGathered(body);
  if (body.file === undefined) return;
  releaseFile(body.state.descriptors, body.file);
  body.file = undefined;
}
