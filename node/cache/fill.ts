/**
 * A fill: one body on its way from its source into the cache and to everyone who waits for it.
 *
 *   source ──▶ window (the newest bytes, in memory) ──▶ place on disk, for a body that is not small
 *                 │                                        │
 *                 └──▶ readers near the front              └──▶ readers that have fallen behind
 *
 * Any number of readers may join at any time and at any offset, and each reads at its own pace.
 *
 * Invariants
 * - Memory holds the window, never the whole body, unless `keepBytesMax` allows it.
 * - With a place, the source runs as fast as the disk takes the bytes. Without one, it runs as fast as the fastest
 *   reader. A reader that falls out of the window fails with FellBehind; its caller fetches the rest.
 * - A disk that refuses further bytes keeps those that it has: readers that are behind continue from there.
 * - A fill without readers stops, unless its result can be stored and it is either nearly done or kept (`keep`).
 * - If the source fails, the rest of the same body is requested (`resume`).
 * - A body of known length either has that length or has failed.
 */
import type { BodyReader } from "#base/body.ts";
import { NearcastError } from "#base/errors.ts";
import { addChunk, bytesAt, createWindow, dropBefore, type FillWindow, joinPieces } from "./fill-window.ts";

export interface FillSource {
  /** The next bytes; null at the end. Rejects when the source fails. */
  readonly next: () => Promise<Buffer | null>;
  /** Frees the source's connection; next() then rejects or ends. */
  readonly stop: () => void;
}

/** Where a body is written as it arrives. */
export interface FillPlace {
  /** Resolves to true when the bytes can be read back, to false when the disk refuses them. */
  readonly append: (chunk: Buffer) => Promise<boolean>;
  /** Bytes that were appended; fewer than requested if the disk has no more. */
  readonly read: (start: number, end: number) => Buffer | Promise<Buffer>;
  /** Keeps the bytes readable, after abort() too, until the result is called. */
  readonly hold: () => () => void;
  readonly abort: () => void;
}

/** The reader needs bytes that are no longer in memory, and no disk has them. */
export class FellBehind extends Error {}

/** Nobody waited for the body any more. */
class Abandoned extends Error {}

export type FillEnd<Place extends FillPlace> =
  /** All bytes are here. `bytes`: the whole body, if it was kept in memory. `place`: where all of them are written. */
  | { readonly end: "whole"; readonly lengthBytes: number; readonly bytes: Buffer | null; readonly place: Place | null }
  /** It grew past `bytesMax`; its readers have it whole, but it can't be stored. */
  | { readonly end: "too-large" }
  | { readonly end: "failed"; readonly error: Error };

export interface Fill<Place extends FillPlace = FillPlace> {
  /** The announced length; null: not known before the end. */
  readonly lengthBytes: number | null;
  readonly arrivedBytes: () => number;
  /** Why it failed; undefined: it is running, or whole. */
  readonly failure: () => Error | undefined;
  /** Resolves when this many bytes have arrived, or as many as can arrive without a reader. */
  readonly untilArrived: (bytes: number) => Promise<void>;
  /** A reader of the bytes from `start` to before `end` (null: to the end of the body). */
  readonly open: (start: number, end: number | null) => BodyReader;
  /** The fill continues without readers while its result can be stored. Call the result to end that. */
  readonly keep: () => () => void;
  /** Never rejects. */
  readonly ended: Promise<FillEnd<Place>>;
  /** Resolves when it has ended, and its last reader has left. */
  readonly isIdle: Promise<void>;
  /** Bytes in memory now. */
  readonly heldBytes: () => number;
  /** No more bytes arrive until its readers have taken some: they wait for slow readers, in memory alone. */
  readonly isHeldUp: () => boolean;
  /** For a fill that is held up or has ended: releases its memory. Readers that still need it fall behind. */
  readonly forget: () => void;
}

export interface FillOptions<Place extends FillPlace> {
  readonly source: FillSource;
  readonly lengthBytes: number | null;
  /** A larger body is not stored. */
  readonly bytesMax: number;
  /** A body up to this size stays in memory whole, for the memory tier. */
  readonly keepBytesMax: number;
  /** Called when the body turns out to be larger than that; null: the disk takes none. */
  readonly openPlace: () => Place | null;
  /** A fill that nobody waits for continues if no more than this is missing. */
  readonly abandonedBytesMax: number;
  /** Memory that this fill may use for a body that is not kept whole. */
  readonly windowBytesMax: number;
  /** The rest of the same body from `offset`; undefined: not available. `signal`: nobody wants it any more. */
  readonly resume: (offset: number, signal: AbortSignal) => Promise<FillSource | undefined>;
}

/** How many of the newest bytes stay in memory for readers at the front: with the rest on disk, and without a disk. */
const windowBytes = { withPlace: 256 * 1024, withoutPlace: 1024 * 1024 };
/** Without a place: how far the source runs ahead of the fastest reader. The rest of the window is for slower ones. */
const readAheadShare = 1 / 2;
/** Bytes that wait for the disk; beyond that, the source waits. */
const writeBacklogBytesMax = 1024 * 1024;
/** How often the rest may be requested from a source that fails. */
const resumesMax = 2;

interface State<Place extends FillPlace> {
  readonly options: FillOptions<Place>;
  source: FillSource;
  readonly window: FillWindow;
  /** Where the body is being written; null: nowhere, or no longer. */
  place: Place | null;
  /** Where readers find the first `written` bytes, even if the place accepts no more. */
  behind: Place | null;
  written: number;
  isWriting: boolean;
  /** All bytes are in the window, and stay there. */
  isKept: boolean;
  isTooLarge: boolean;
  status: "running" | "whole" | "failed";
  failure: Error | undefined;
  resumes: number;
  /** Where it was last resumed. A source that brings nothing from there is not asked again. */
  resumedAt: number;
  readonly readers: Set<Reader>;
  keepers: number;
  /** Whoever started it has not released it yet. */
  isStarting: boolean;
  /**
   * Called when something has changed: bytes arrived, the place took some, a reader moved or left, or the fill ended.
   */
  readonly wakers: Set<() => void>;
}

interface Reader {
  position: number;
  readonly end: number | null;
  isClosed: boolean;
  /** Of the places that it holds. */
  readonly release: (() => void)[];
}

/**
 * Starts a fill for future readers: the caller opens a reader, or keeps the fill for another reason, and then calls
 * `release`. Until then, the fill continues; without a place, up to the end of the window.
 */
export function startFill<Place extends FillPlace>(
  options: FillOptions<Place>,
): { fill: Fill<Place>; release: () => void } {
  const { lengthBytes, bytesMax, keepBytesMax } = options;
  const state: State<Place> = {
    options,
    source: options.source,
    window: createWindow(),
    place: null,
    behind: null,
    written: 0,
    isWriting: false,
    isKept: lengthBytes === null || lengthBytes <= keepBytesMax,
    isTooLarge: lengthBytes !== null && lengthBytes > bytesMax,
    status: "running",
    failure: undefined,
    resumes: 0,
    resumedAt: -1,
    readers: new Set(),
    keepers: 0,
    isStarting: true,
    wakers: new Set(),
  };
  if (!state.isKept) openPlace(state);
  const fill: Fill<Place> = {
    lengthBytes,
    arrivedBytes: () => state.window.end,
    failure: () => state.failure,
    untilArrived: (bytes) => until(state, () => state.window.end >= bytes || !isComing(state)),
    open: (start, end) => openReader(state, start, end),
    keep: () => keep(state),
    ended: run(state),
    isIdle: until(state, () => state.status !== "running" && state.readers.size === 0 && !state.isStarting),
    heldBytes: () => state.window.end - state.window.start,
    isHeldUp: () => isHeldUp(state),
    forget() {
      if (state.status !== "running" || isHeldUp(state)) dropBefore(state.window, state.window.end);
    },
  };
  const release = (): void => {
    state.isStarting = false;
    wake(state);
  };
  return { fill, release };
}

function keep(state: State<FillPlace>): () => void {
  state.keepers += 1;
  let isReleased = false;
  return () => {
    if (isReleased) return;
    isReleased = true;
    state.keepers -= 1;
    wake(state);
  };
}

async function run<Place extends FillPlace>(state: State<Place>): Promise<FillEnd<Place>> {
  try {
    for (let chunk = await nextChunk(state); chunk !== null; chunk = await nextChunk(state)) {
      accept(state, chunk);
      await makeRoom(state);
    }
  } catch (error) {
    state.status = "failed";
    state.failure = error as Error;
    state.source.stop();
    dropPlace(state);
    wake(state);
    return { end: "failed", error: error as Error };
  }
  const bytes = state.isKept ? joinPieces(state.window) : null;
  state.status = "whole";
  wake(state);
  await until(state, () => state.place === null || state.written === state.window.end);
  trim(state);
  if (state.isTooLarge) return { end: "too-large" };
  return { end: "whole", lengthBytes: state.window.end, bytes, place: state.place };
}

/** @throws the source's failure, if the rest is not available; Abandoned */
async function nextChunk(state: State<FillPlace>): Promise<Buffer | null> {
  for (;;) {
    stopIfAbandoned(state);
    try {
      const chunk = await orAbandoned(state, state.source.next());
      if (chunk === null) checkLength(state, state.window.end);
      return chunk;
    } catch (error) {
      if (error instanceof Abandoned || state.resumes >= resumesMax || state.window.end === state.resumedAt)
        throw error;
      state.resumedAt = state.window.end;
      state.source.stop();
      const rest = await resume(state);
      if (rest === undefined) throw error;
      state.source = rest;
    }
  }
}

/** @throws Abandoned, while the rest is on its way: it is given up */
async function resume(state: State<FillPlace>): Promise<FillSource | undefined> {
  stopIfAbandoned(state);
  state.resumes += 1;
  const ending = new AbortController();
  const coming = state.options.resume(state.window.end, ending.signal);
  try {
    return await orAbandoned(state, coming);
  } catch (error) {
    ending.abort(error);
    void coming.then(
      (rest) => rest?.stop(),
      () => undefined,
    );
    throw error;
  }
}

/** @param bytes that arrived @throws NearcastError ORIGIN_BAD_ANSWER if another length was announced */
function checkLength({ options: { lengthBytes } }: State<FillPlace>, bytes: number): void {
  if (lengthBytes === null || bytes === lengthBytes) return;
  throw new NearcastError("ORIGIN_BAD_ANSWER", `a body of ${lengthBytes} bytes ended after ${bytes}`);
}

/** The next result, or Abandoned as soon as nobody wants it any more. */
async function orAbandoned<Coming>(state: State<FillPlace>, coming: Promise<Coming>): Promise<Coming> {
  const { promise: abandoned, reject } = Promise.withResolvers<never>();
  const look = (): void => {
    if (isAbandoned(state)) reject(new Abandoned("nobody waits for this body any more"));
  };
  state.wakers.add(look);
  try {
    return await Promise.race([coming, abandoned]);
  } finally {
    state.wakers.delete(look);
    coming.catch(() => undefined); // abandoned: its end is of no interest
  }
}

function isAbandoned(state: State<FillPlace>): boolean {
  if (state.readers.size > 0 || state.isStarting) return false;
  const isStorable = !state.isTooLarge && (state.isKept || state.place !== null);
  const { lengthBytes, abandonedBytesMax } = state.options;
  const isNearlyDone = lengthBytes !== null && lengthBytes - state.window.end <= abandonedBytesMax;
  return !isStorable || (state.keepers === 0 && !isNearlyDone);
}

function stopIfAbandoned(state: State<FillPlace>): void {
  if (isAbandoned(state)) throw new Abandoned("nobody waits for this body any more");
}

function accept(state: State<FillPlace>, chunk: Buffer): void {
  const { lengthBytes, bytesMax, keepBytesMax } = state.options;
  const arrived = state.window.end + chunk.length;
  // Bytes beyond the announced length would be taken for the beginning of the next response.
  if (lengthBytes !== null && arrived > lengthBytes) checkLength(state, arrived);
  addChunk(state.window, chunk);
  if (arrived > bytesMax && !state.isTooLarge) {
    state.isTooLarge = true;
    dropPlace(state);
  }
  if (state.isKept && arrived > keepBytesMax) {
    state.isKept = false;
    openPlace(state);
  }
  if (state.place !== null && !state.isWriting) void writeAll(state, state.place);
  wake(state);
}

/** The body is not small: what has arrived goes to disk, and then everything that arrives. */
function openPlace(state: State<FillPlace>): void {
  if (state.isTooLarge) return;
  state.place = state.options.openPlace();
  state.behind = state.place;
  if (state.place !== null) for (const { release } of state.readers) release.push(state.place.hold());
}

/** One write at a time: whatever arrives meanwhile goes with the next. */
async function writeAll(state: State<FillPlace>, place: FillPlace): Promise<void> {
  state.isWriting = true;
  while (state.place === place && state.written < state.window.end) {
    const bytes = bytesAt(state.window, state.written, state.window.end);
    if (await place.append(bytes)) state.written += bytes.length;
    // The disk is full or broken. Readers near the front continue from memory, the others from what the disk has.
    else if (state.place === place) dropPlace(state);
    wake(state);
  }
  state.isWriting = false;
}

function dropPlace(state: State<FillPlace>): void {
  state.place?.abort();
  state.place = null;
}

/** Drops what no longer has to be in memory, and waits until there is room for the next chunk. */
function makeRoom(state: State<FillPlace>): Promise<void> {
  return until(state, () => {
    trim(state);
    return hasRoom(state) || isAbandoned(state);
  });
}

/** Whether more bytes arrive even if nobody reads. */
function isComing(state: State<FillPlace>): boolean {
  return state.status === "running" && (state.place !== null || hasRoom(state));
}

function hasRoom(state: State<FillPlace>): boolean {
  const { window, place, isKept } = state;
  if (place !== null) return window.end - state.written < windowOf(state, writeBacklogBytesMax);
  return isKept || window.end - fastest(state) < windowOf(state, windowBytes.withoutPlace) * readAheadShare;
}

function isHeldUp(state: State<FillPlace>): boolean {
  return state.status === "running" && state.place === null && !hasRoom(state);
}

/** A share of the memory, smaller while many fills are running. */
function windowOf({ options }: State<FillPlace>, bytesMax: number): number {
  return Math.min(bytesMax, options.windowBytesMax);
}

function fastest(state: State<FillPlace>): number {
  let most = 0;
  for (const { position } of state.readers) most = Math.max(most, position);
  return Math.min(most, state.window.end);
}

function trim(state: State<FillPlace>): void {
  if (state.isKept) return;
  const { window, place } = state;
  // A body that is whole and written needs no memory, however slowly it is read.
  if (place !== null && state.status === "whole") dropBefore(window, state.written);
  else if (place !== null)
    dropBefore(window, Math.min(state.written, window.end - windowOf(state, windowBytes.withPlace)));
  else dropBefore(window, Math.min(fastest(state), window.end - windowOf(state, windowBytes.withoutPlace)));
}

/** Resolves when the condition holds. It is checked now, and whenever something has changed. */
function until(state: State<FillPlace>, isSo: () => boolean): Promise<void> {
  if (isSo()) return Promise.resolve();
  return new Promise((resolve) => {
    const look = (): void => {
      if (!isSo()) return;
      state.wakers.delete(look);
      resolve();
    };
    state.wakers.add(look);
  });
}

function wake(state: State<FillPlace>): void {
  for (const waker of state.wakers) waker();
}

function openReader(state: State<FillPlace>, start: number, end: number | null): BodyReader {
  const release = state.behind === null ? [] : [state.behind.hold()];
  const reader: Reader = { position: start, end, isClosed: false, release };
  state.readers.add(reader);
  return {
    ready: () => (isReady(state, reader) ? true : until(state, () => isReady(state, reader))),
    next: (bytesMax) => next(state, reader, bytesMax),
    close() {
      if (reader.isClosed) return;
      reader.isClosed = true;
      state.readers.delete(reader);
      for (const free of reader.release) free();
      wake(state);
    },
  };
}

function isReady(state: State<FillPlace>, reader: Reader): boolean {
  const isAtEnd = reader.end !== null && reader.position >= reader.end;
  return reader.isClosed || isAtEnd || reader.position < state.window.end || state.status !== "running";
}

function next(state: State<FillPlace>, reader: Reader, bytesMax: number): Buffer | null | Promise<Buffer | null> {
  const { window } = state;
  const { position } = reader;
  const end = Math.min(reader.end ?? Infinity, window.end, position + bytesMax);
  if (end > position) {
    if (position >= window.start) return take(state, reader, bytesAt(window, position, end));
    return fromPlace(state, reader, Math.min(end, state.written));
  }
  if (reader.end !== null && position >= reader.end) return null;
  if (state.status === "whole") return null;
  throw state.failure ?? new Error("read before bytes were ready");
}

/** @throws FellBehind */
async function fromPlace(state: State<FillPlace>, reader: Reader, end: number): Promise<Buffer> {
  const { position } = reader;
  if (state.behind === null || position >= end)
    throw new FellBehind("the bytes are no longer in memory, and no disk has them");
  let bytes: Buffer;
  try {
    bytes = await state.behind.read(position, end);
  } catch (error) {
    throw new FellBehind("the bytes are no longer in memory, and the disk can't give them", { cause: error });
  }
  if (bytes.length === 0) throw new FellBehind("the bytes are no longer in memory, and the disk has lost them");
  return take(state, reader, bytes);
}

function take(state: State<FillPlace>, reader: Reader, bytes: Buffer): Buffer {
  reader.position += bytes.length;
  // Without a place, the source waits for the fastest reader.
  if (state.place === null && !state.isKept && state.status === "running") wake(state);
  return bytes;
}
