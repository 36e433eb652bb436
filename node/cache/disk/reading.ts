/**
 * Reads bodies, verified: a block of 256 KiB is compared with its checksum when this process first reads it. Verified
 * blocks are remembered, and later reads take only the bytes that are wanted.
 *
 * Bytes in the page cache are read at once, in the calling thread (read-now.ts); others through the thread pool.
 */
import { crc32 } from "node:zlib";
import type { PinnedFile } from "#base/body.ts";
import type { CachedObject } from "../object.ts";
import { hasSpare, type OpenFile, pinFile, releaseFile } from "./descriptors.ts";
import { bodyBlockBytes, type Head, type StoredHead } from "./head-record.ts";
import { headOf } from "./heads.ts";
import { field, flag, get, hasFlag, isHeadAt, isRow, lengthOf, setFlag } from "./index-table.ts";
import { DiskPaused, isWorking, tryOn } from "./patience.ts";
import { dropRow, rowOf, touch } from "./rows.ts";
import { type DiskState, pathOfVolume } from "./state.ts";

/** How much a read through the thread pool takes at once. */
const readBytesMax = 4 * bodyBlockBytes;

/** A stored object whose body was not read yet. */
export interface DiskObject extends Head {
  /** Keeps the body readable, whatever happens to the object, until close(). */
  open: () => DiskBody;
}

export interface DiskBody {
  /**
   * The bytes from `start` to before `end`, at once if possible. Rejects if they are damaged or can't be read; never
   * throws.
   */
  read: (start: number, end: number) => Buffer | Promise<Buffer>;
  /** The same without a copy, valid until the next read of any body. Undefined: use read(), which takes longer. */
  borrow: (start: number, end: number) => Uint8Array | undefined;
  /**
   * Where the body is, if a file can stay open for a while. Valid until close(). "soon": it waits to be written, or
   * for a read that verifies it.
   */
  place: () => Omit<PinnedFile, "release"> | "soon" | undefined;
  close: () => void;
}

const nothing = Buffer.alloc(0);

/** The bytes are not what was written. */
class DamagedBody extends Error {}

interface Place {
  readonly row: number;
  readonly volume: number;
  readonly offset: number;
  readonly head: StoredHead;
}

/** An object that waits to be written is read from memory. */
function objectInMemory(object: CachedObject): DiskObject {
  const { key, facts, headerBlock, body } = object;
  const part = (start: number, end: number): Buffer => body.subarray(start, end);
  const inMemory: DiskBody = { read: part, borrow: part, place: () => "soon", close: () => undefined };
  return { key, facts, headerBlock, lengthBytes: body.length, open: () => inMemory };
}

/** Undefined: not there, or not readable now. Counts as a use. */
export function find(state: DiskState, key: string): DiskObject | undefined | Promise<DiskObject | undefined> {
  const waiting = state.waiting.get(key);
  if (waiting !== undefined) return objectInMemory(waiting);
  if (state.isClosed) return undefined;
  const row = rowOf(state, key);
  if (row === 0 || !isWorking(state.reads)) return undefined;
  touch(state, row);
  const segment = get(state.index, row, field.headSegment);
  const offset = get(state.index, row, field.headOffset);
  // Removed or replaced while its head was read: then this row belongs to another object, or to none.
  const isSame = (): boolean => isHeadAt(state.index, row, segment, offset);
  try {
    const head = headOf(state, row);
    if (!(head instanceof Promise)) return objectOf(state, key, row, head);
    return head.then(
      (read) => (isSame() ? objectOf(state, key, row, read) : undefined),
      (error: unknown) => {
        noteReadFailure(state, key, isSame() ? row : 0, error);
        return undefined;
      },
    );
  } catch (error) {
    noteReadFailure(state, key, row, error);
    return undefined;
  }
}

function objectOf(state: DiskState, key: string, row: number, head: StoredHead | undefined): DiskObject | undefined {
  if (head === undefined || head.key !== key || head.lengthBytes !== lengthOf(state.index, row)) {
    noteDamage(state, key, row);
    return undefined;
  }
  const place = {
    row,
    volume: get(state.index, row, field.volume),
    offset: get(state.index, row, field.offset),
    head,
  };
  return { ...headPart(head), open: () => openBody(state, place) };
}

function headPart({ key, facts, headerBlock, lengthBytes }: StoredHead): Head {
  return { key, facts, headerBlock, lengthBytes };
}

function openBody(state: DiskState, place: Place): DiskBody {
  if (place.volume === 0) {
    return { read: () => nothing, borrow: () => nothing, place: () => undefined, close: () => undefined };
  }
  const volume = state.layout.volumes.get(place.volume);
  const path = volume === undefined ? undefined : pathOfVolume(state, volume);
  const file = path === undefined ? undefined : pinFile(state.descriptors, state.reads, path, "read");
  let isOpen = true;
  return {
    read: (start, end) => {
      if (file === undefined) return Promise.reject(new DiskPaused("the body is gone, or all descriptors are in use"));
      return readVerified(state, place, file, start, Math.min(end, place.head.lengthBytes));
    },
    borrow: (start, end) =>
      file === undefined ? undefined : borrowVerified(state, place, file, start, Math.min(end, place.head.lengthBytes)),
    place() {
      const descriptor = file?.descriptor ?? -1;
      if (descriptor === -1 || !hasSpare(state.descriptors)) return undefined;
      if (!isVerified(state, place, 0, place.head.lengthBytes)) return "soon";
      return { descriptor, offset: place.offset, isRemoved: () => file?.isForgotten === true };
    },
    close() {
      if (isOpen && file !== undefined) releaseFile(state.descriptors, file);
      isOpen = false;
    },
  };
}

/** Reads bytes that were verified before and are in the page cache. */
function borrowVerified(
  state: DiskState,
  place: Place,
  { descriptor }: OpenFile,
  start: number,
  end: number,
): Uint8Array | undefined {
  if (start >= end || descriptor === -1 || !isVerified(state, place, start, end)) return undefined;
  const bytes = state.files.viewNow(descriptor, place.offset + start, end - start);
  state.counts.bodyBytesRead += bytes?.length ?? 0;
  return bytes;
}

function readVerified(
  state: DiskState,
  place: Place,
  file: OpenFile,
  start: number,
  end: number,
): Buffer | Promise<Buffer> {
  if (start >= end) return nothing;
  const [from, to] = isVerified(state, place, start, end)
    ? [start, end]
    : wholeBlocks(start, end, place.head.lengthBytes);
  if (file.descriptor !== -1) {
    const bytes = state.files.readNow(file.descriptor, place.offset + from, to - from);
    if (bytes !== undefined) {
      try {
        return take(state, place, bytes, from, start, end);
      } catch (error) {
        return Promise.reject(error);
      }
    }
  }
  return readSlowly(state, place, file, from, to).then(
    (bytes) => take(state, place, bytes, from, start, end),
    (error: unknown) => {
      noteReadFailure(state, place.head.key, isRowOf(state, place) ? place.row : 0, error);
      throw error;
    },
  );
}

async function readSlowly(state: DiskState, place: Place, file: OpenFile, from: number, to: number): Promise<Buffer> {
  await file.opened;
  const parts: Buffer[] = [];
  for (let at = from; at < to; at += readBytesMax) {
    const length = Math.min(readBytesMax, to - at);
    parts.push(await tryOn(state.reads, () => state.files.read(file.descriptor, place.offset + at, length)));
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

/** Verifies what was read, if it was not verified before, and cuts out what is wanted. @throws DamagedBody */
function take(state: DiskState, place: Place, bytes: Buffer, from: number, start: number, end: number): Buffer {
  state.counts.bodyBytesRead += bytes.length;
  const isWhole = from % bodyBlockBytes === 0;
  if (!isVerified(state, place, start, end)) {
    const wanted = Math.min(place.head.lengthBytes, Math.ceil(end / bodyBlockBytes) * bodyBlockBytes) - from;
    if (!isWhole || bytes.length !== wanted || !verify(state, place, bytes, from)) {
      noteDamage(state, place.head.key, isRowOf(state, place) ? place.row : 0);
      throw new DamagedBody("a body on disk is damaged");
    }
  } else if (bytes.length < end - from) {
    noteDamage(state, place.head.key, isRowOf(state, place) ? place.row : 0);
    throw new DamagedBody("a body on disk was cut short");
  }
  return start === from && bytes.length === end - start ? bytes : bytes.subarray(start - from, end - from);
}

function wholeBlocks(start: number, end: number, lengthBytes: number): [from: number, to: number] {
  const from = Math.floor(start / bodyBlockBytes) * bodyBlockBytes;
  return [from, Math.min(lengthBytes, Math.ceil(end / bodyBlockBytes) * bodyBlockBytes)];
}

function verify(state: DiskState, place: Place, bytes: Buffer, from: number): boolean {
  const first = from / bodyBlockBytes;
  const blocks = Math.ceil(bytes.length / bodyBlockBytes);
  for (let block = 0; block < blocks; block += 1) {
    const part = bytes.subarray(block * bodyBlockBytes, (block + 1) * bodyBlockBytes);
    if (crc32(part) !== place.head.blockChecksums[first + block]) return false;
  }
  rememberVerified(state, place, first, blocks);
  return true;
}

function isVerified(state: DiskState, place: Place, start: number, end: number): boolean {
  if (isRowOf(state, place) && hasFlag(state.index, place.row, flag.verified)) return true;
  const bits = state.verified.get(nameOf(place));
  if (bits === undefined) return false;
  for (let block = Math.floor(start / bodyBlockBytes); block * bodyBlockBytes < end; block += 1) {
    if (((bits[block >>> 3] ?? 0) & (1 << (block & 7))) === 0) return false;
  }
  return true;
}

function rememberVerified(state: DiskState, place: Place, first: number, count: number): void {
  const total = place.head.blockChecksums.length;
  if (first === 0 && count === total) {
    if (isRowOf(state, place)) setFlag(state.index, place.row, flag.verified, true);
    return;
  }
  const name = nameOf(place);
  const bits = state.verified.get(name) ?? new Uint8Array(Math.ceil(total / 8));
  for (let block = first; block < first + count; block += 1)
    bits[block >>> 3] = (bits[block >>> 3] ?? 0) | (1 << (block & 7));
  state.verified.set(name, bits);
  let verified = 0;
  for (let block = 0; block < total; block += 1) verified += ((bits[block >>> 3] ?? 0) >>> (block & 7)) & 1;
  if (verified < total || !isRowOf(state, place)) return;
  setFlag(state.index, place.row, flag.verified, true);
  state.verified.delete(name);
}

function nameOf({ volume, offset }: Place): string {
  return `${volume} ${offset}`;
}

/** Whether the row still belongs to this object: places are never used twice. */
function isRowOf(state: DiskState, { row, volume, offset }: Place): boolean {
  if (!isRow(state.index, row)) return false;
  return get(state.index, row, field.volume) === volume && get(state.index, row, field.offset) === offset;
}

function noteDamage(state: DiskState, key: string, row: number): void {
  state.counts.corrupt += 1;
  state.failures.warn("DAMAGED", { key }, "a cached object is damaged on disk and was removed");
  if (row !== 0) dropRow(state, row);
}

/** An object whose file is gone, or whose bytes can't be read, is removed. One that was only late stays. */
function noteReadFailure(state: DiskState, key: string, row: number, error: unknown): void {
  state.counts.readFailures += 1;
  if (error instanceof DiskPaused) return;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EMFILE" || code === "ENFILE") return;
  if (code !== "ENOENT")
    state.failures.warn(
      "READ",
      { err: error, key },
      "a cached object could not be read from disk; it counts as a miss",
    );
  if (row !== 0) dropRow(state, row);
}

/** Head and body together. Never rejects. */
export function load(state: DiskState, key: string): CachedObject | undefined | Promise<CachedObject | undefined> {
  const waiting = state.waiting.get(key);
  if (waiting !== undefined) return waiting;
  const found = find(state, key);
  if (found instanceof Promise) return found.then((object) => (object === undefined ? undefined : loadBody(object)));
  return found === undefined ? undefined : loadBody(found);
}

function loadBody(object: DiskObject): CachedObject | undefined | Promise<CachedObject | undefined> {
  const { key, facts, headerBlock } = object;
  const body = object.open();
  const bytes = body.read(0, object.lengthBytes);
  if (bytes instanceof Promise) {
    return bytes
      .then(
        (read) => ({ key, facts, headerBlock, body: read }),
        () => undefined, // counted and logged where it was noticed
      )
      .finally(body.close);
  }
  body.close();
  return { key, facts, headerBlock, body: bytes };
}
