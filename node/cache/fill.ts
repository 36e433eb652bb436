/**
 * A fill: one body on its way from its source into the cache, and to everyone who waits for it.
 *
 *   source ──▶ window (the newest bytes, in memory) ──▶ place on disk, for a body that is not small
 *                 │                                        │
 *                 └──▶ readers near the front              └──▶ readers that fell behind
 *
 * Any number of readers join at any time, at any offset, and read at their own pace.
 *
 * Invariants
 * - Memory holds the window, never the body, unless `keepBytesMax` allows the whole of it.
 * - With a place, the source runs as fast as the disk takes the bytes. Without one, it runs as fast as the fastest
 *   reader: a reader that falls out of the window fails with FellBehind and fetches the rest for itself.
 * - A fill without readers stops, unless it is nearly done or somebody wants the result (`keep`).
 * - A source that fails is asked once more for the rest, when it can give a part of the same bytes (`resume`).
 */
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
  readonly read: (start: number, end: number) => Buffer | Promise<Buffer>;
  /** Keeps the bytes readable until the result is called. */
  readonly hold: () => () => void;
  readonly abort: () => void;
}

/** The reader needs bytes that are no longer in memory, and no disk has them. */
export class FellBehind extends Error {}

/** Nobody waited for the body any more. */
class Abandoned extends Error {}

export type FillEnd<Place extends FillPlace> =
  /** All bytes are here. `bytes`: the whole body, if it was kept in memory. `place`: where the last of them are written. */
  | { readonly end: "whole"; readonly lengthBytes: number; readonly bytes: Buffer | null; readonly place: Place | null }
  /** It grew past `bytesMax`; its readers have it whole, but it can't be stored. */
  | { readonly end: "too-large" }
  | { readonly end: "failed"; readonly error: Error };

export interface FillReader {
  readonly ready: () => true | Promise<void>;
  readonly next: (bytesMax: number) => Buffer | null | Promise<Buffer | null>;
  readonly close: () => void;
}

export interface Fill<Place extends FillPlace = FillPlace> {
  /** As announced; null: not known before the end. */
  readonly lengthBytes: number | null;
  readonly arrivedBytes: () => number;
  /** Why it failed; undefined: it runs, or is whole. */
  readonly failure: () => Error | undefined;
  /** A reader of the bytes from `start` to before `end` (null: to the end of the body). */
  readonly open: (start: number, end: number | null) => FillReader;
  /** Counts as a reader that never reads: the fill goes on for its own sake. Call the result to give that up. */
  readonly keep: () => () => void;
  /** Never rejects. */
  readonly ended: Promise<FillEnd<Place>>;
}

export interface FillOptions<Place extends FillPlace> {
  readonly source: FillSource;
  readonly lengthBytes: number | null;
  /** A larger body is not stored. */
  readonly bytesMax: number;
  /** A body of at most so many bytes stays in memory whole, for the memory tier. */
  readonly keepBytesMax: number;
  /** Called when the body turns out to be larger than that; null: the disk takes none. */
  readonly openPlace: () => Place | null;
  /** A fill that nobody waits for goes on when at most so many bytes are missing. */
  readonly abandonedBytesMax: number;
  /** The rest of the same body from `offset`; undefined: it can't be had. */
  readonly resume: (offset: number) => Promise<FillSource | undefined>;
}

/** In memory for readers at the front, where a disk has the rest, and where none has. */
const windowBytes = { withPlace: 256 * 1024, withoutPlace: 1024 * 1024 };
/** Bytes that wait for the disk; past that, the source waits. */
const writeBacklogBytesMax = 1024 * 1024;
/** How often a source that fails may be asked for the rest. */
const resumesMax = 2;

interface State<Place extends FillPlace> {
  readonly options: FillOptions<Place>;
  source: FillSource;
  place: Place | null;
  /** Consecutive chunks; the first begins at `windowStart`. */
  readonly chunks: Buffer[];
  windowStart: number;
  arrived: number;
  /** Bytes that can be read back from the place. */
  written: number;
  /** All bytes are in the window, and stay there. */
  isKept: boolean;
  isTooLarge: boolean;
  status: "running" | "whole" | "failed";
  failure: Error | undefined;
  resumes: number;
  readonly readers: Set<Reader>;
  keepers: number;
  /** Called when something changed: bytes came, the place took some, a reader moved or left, the end. */
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
 * Starts a fill that is kept: its caller opens a reader, or keeps it for another reason, and then calls `release`.
 */
export function startFill<Place extends FillPlace>(
  options: FillOptions<Place>,
): { fill: Fill<Place>; release: () => void } {
  const { lengthBytes, bytesMax, keepBytesMax } = options;
  const state: State<Place> = {
    options,
    source: options.source,
    place: null,
    chunks: [],
    windowStart: 0,
    arrived: 0,
    written: 0,
    isKept: lengthBytes === null || lengthBytes <= keepBytesMax,
    isTooLarge: lengthBytes !== null && lengthBytes > bytesMax,
    status: "running",
    failure: undefined,
    resumes: 0,
    readers: new Set(),
    keepers: 1,
    wakers: new Set(),
  };
  if (!state.isKept) openPlace(state);
  const fill: Fill<Place> = {
    lengthBytes,
    arrivedBytes: () => state.arrived,
    failure: () => state.failure,
    open: (start, end) => openReader(state, start, end),
    keep() {
      state.keepers += 1;
      return releaseOf(state);
    },
    ended: run(state),
  };
  return { fill, release: releaseOf(state) };
}

function releaseOf(state: State<FillPlace>): () => void {
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
    state.status = "whole";
    wake(state);
    if (state.isTooLarge) return { end: "too-large" };
    const bytes = state.isKept ? Buffer.concat(state.chunks, state.arrived) : null;
    return { end: "whole", lengthBytes: state.arrived, bytes, place: state.place };
  } catch (error) {
    state.status = "failed";
    state.failure = error as Error;
    state.source.stop();
    dropPlace(state);
    wake(state);
    return { end: "failed", error: error as Error };
  }
}

/** @throws the source's failure, when the rest can't be had; Abandoned */
async function nextChunk(state: State<FillPlace>): Promise<Buffer | null> {
  for (;;) {
    stopIfAbandoned(state);
    try {
      return await untilAbandoned(state, state.source.next());
    } catch (error) {
      if (error instanceof Abandoned || state.resumes >= resumesMax) throw error;
      state.source.stop();
      state.resumes += 1;
      const rest = await state.options.resume(state.arrived);
      if (rest === undefined) throw error;
      state.source = rest;
    }
  }
}

/** The source's next bytes, or Abandoned as soon as nobody wants them any more. */
async function untilAbandoned(state: State<FillPlace>, coming: Promise<Buffer | null>): Promise<Buffer | null> {
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
  if (state.readers.size > 0 || state.keepers > 0) return false;
  const { lengthBytes, abandonedBytesMax } = state.options;
  const isNearlyDone = lengthBytes !== null && lengthBytes - state.arrived <= abandonedBytesMax;
  return !isNearlyDone || state.isTooLarge;
}

function stopIfAbandoned(state: State<FillPlace>): void {
  if (isAbandoned(state)) throw new Abandoned("nobody waits for this body any more");
}

function accept(state: State<FillPlace>, chunk: Buffer): void {
  const { bytesMax, keepBytesMax } = state.options;
  state.chunks.push(chunk);
  state.arrived += chunk.length;
  if (state.place !== null) void writeTo(state, state.place, chunk);
  if (state.isKept && state.arrived > keepBytesMax) {
    state.isKept = false;
    openPlace(state);
  }
  if (state.arrived > bytesMax && !state.isTooLarge) {
    state.isTooLarge = true;
    dropPlace(state);
  }
  wake(state);
}

/** The body is no small one: what has come of it goes to disk, and then all that comes. */
function openPlace(state: State<FillPlace>): void {
  if (state.isTooLarge) return;
  state.place = state.options.openPlace();
  if (state.place === null) return;
  for (const { release } of state.readers) release.push(state.place.hold());
  for (const chunk of state.chunks) void writeTo(state, state.place, chunk);
}

async function writeTo(state: State<FillPlace>, place: FillPlace, chunk: Buffer): Promise<void> {
  const isWritten = await place.append(chunk);
  if (isWritten) state.written += chunk.length;
  // The disk is full or broken. Readers near the front go on from memory.
  else if (state.place === place) dropPlace(state);
  wake(state);
}

function dropPlace(state: State<FillPlace>): void {
  state.place?.abort();
  state.place = null;
}

/** Waits until the next chunk has a place to go, and lets go what memory need not hold any more. */
async function makeRoom(state: State<FillPlace>): Promise<void> {
  for (;;) {
    trim(state);
    if (hasRoom(state)) return;
    stopIfAbandoned(state);
    await change(state);
  }
}

function hasRoom(state: State<FillPlace>): boolean {
  if (state.place !== null) return state.arrived - state.written < writeBacklogBytesMax;
  if (state.isKept || state.readers.size === 0) return true;
  return state.arrived - fastest(state) < windowBytes.withoutPlace;
}

function fastest(state: State<FillPlace>): number {
  let most = 0;
  for (const { position } of state.readers) most = Math.max(most, position);
  return Math.min(most, state.arrived);
}

function trim(state: State<FillPlace>): void {
  if (state.isKept) return;
  const keptBytes = state.place === null ? windowBytes.withoutPlace : windowBytes.withPlace;
  for (let first = state.chunks[0]; first !== undefined; first = state.chunks[0]) {
    const end = state.windowStart + first.length;
    if (state.arrived - end < keptBytes) return;
    if (state.place !== null && end > state.written) return;
    state.chunks.shift();
    state.windowStart = end;
  }
}

function change(state: State<FillPlace>): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      state.wakers.delete(look);
      resolve();
    };
    state.wakers.add(look);
  });
}

function wake(state: State<FillPlace>): void {
  for (const waker of state.wakers) waker();
}

function openReader(state: State<FillPlace>, start: number, end: number | null): FillReader {
  const release = state.place === null ? [] : [state.place.hold()];
  const reader: Reader = { position: start, end, isClosed: false, release };
  state.readers.add(reader);
  return {
    ready: () => ready(state, reader),
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
  return reader.isClosed || isAtEnd || reader.position < state.arrived || state.status !== "running";
}

function ready(state: State<FillPlace>, reader: Reader): true | Promise<void> {
  if (isReady(state, reader)) return true;
  return new Promise((resolve) => {
    const look = (): void => {
      if (!isReady(state, reader)) return;
      state.wakers.delete(look);
      resolve();
    };
    state.wakers.add(look);
  });
}

function next(state: State<FillPlace>, reader: Reader, bytesMax: number): Buffer | null | Promise<Buffer | null> {
  const { position } = reader;
  const end = Math.min(reader.end ?? Infinity, state.arrived, position + bytesMax);
  if (end > position) {
    if (position >= state.windowStart) return take(state, reader, fromWindow(state, position, end));
    return fromPlace(state, reader, end);
  }
  if (reader.end !== null && position >= reader.end) return null;
  if (state.status === "whole") return null;
  throw state.failure ?? new Error("read before bytes were ready");
}

/** The bytes at `position` that one chunk has, without copying. */
function fromWindow(state: State<FillPlace>, position: number, end: number): Buffer {
  let start = state.windowStart;
  for (const chunk of state.chunks) {
    if (position < start + chunk.length) return chunk.subarray(position - start, Math.min(end - start, chunk.length));
    start += chunk.length;
  }
  throw new Error("a position in the window has no chunk");
}

async function fromPlace(state: State<FillPlace>, reader: Reader, end: number): Promise<Buffer> {
  if (state.place === null) throw new FellBehind("the bytes are no longer in memory, and no disk has them");
  return take(state, reader, await state.place.read(reader.position, Math.min(end, state.windowStart)));
}

function take(state: State<FillPlace>, reader: Reader, bytes: Buffer): Buffer {
  reader.position += bytes.length;
  // Without a place, the source waits for the fastest reader.
  if (state.place === null && state.status === "running") wake(state);
  return bytes;
}
