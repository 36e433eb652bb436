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
 *
 * fill-state.ts has the record of a fill and its limits, fill-reader.ts its readers.
 */
import type { BodyReader } from "#base/body.ts";
import { NearcastError } from "#base/errors.ts";
import { openReader } from "./fill-reader.ts";
import {
  type FillOptions,
  type FillPlace,
  type FillSource,
  hasRoom,
  isAbandoned,
  isComing,
  isHeldUp,
  type State,
  trim,
  until,
  wake,
} from "./fill-state.ts";
import { addChunk, bytesAt, createWindow, dropBefore, joinPieces } from "./fill-window.ts";

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

/** How often the rest may be requested from a source that fails. */
const resumesMax = 2;

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
