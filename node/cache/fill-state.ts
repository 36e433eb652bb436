/**
 * The record of a fill (fill.ts), and what follows from it: what memory must hold of the body, and whether more of it
 * may arrive. No I/O.
 */
import { dropBefore, type FillWindow } from "./fill-window.ts";

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

export interface FillOptions<Place extends FillPlace> {
  readonly source: FillSource;
  readonly lengthBytes: number | null;
  /** A larger body is not stored. */
  readonly bytesMax: number;
  /** A body up to this size stays in memory whole, for the memory tier. */
  readonly keepBytesMax: number;
  /** Called when the body turns out to be larger than that; null: the disk takes none. */
  readonly openPlace: () => Place | null;
  /** A fill that nobody waits for continues if no more than this is missing. May change. */
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

export interface State<Place extends FillPlace> {
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

/** One reader of a fill (fill-reader.ts). */
export interface Reader {
  position: number;
  readonly end: number | null;
  isClosed: boolean;
  /** Of the places that it holds. */
  readonly release: (() => void)[];
}

/** Nobody reads it, and its result is not wanted or can't be stored. */
export function isAbandoned(state: State<FillPlace>): boolean {
  if (state.readers.size > 0 || state.isStarting) return false;
  const isStorable = !state.isTooLarge && (state.isKept || state.place !== null);
  const { lengthBytes, abandonedBytesMax } = state.options;
  const isNearlyDone = lengthBytes !== null && lengthBytes - state.window.end <= abandonedBytesMax;
  return !isStorable || (state.keepers === 0 && !isNearlyDone);
}

/** Whether more bytes arrive even if nobody reads. */
export function isComing(state: State<FillPlace>): boolean {
  return state.status === "running" && (state.place !== null || hasRoom(state));
}

export function hasRoom(state: State<FillPlace>): boolean {
  const { window, place, isKept } = state;
  if (place !== null) return window.end - state.written < windowOf(state, writeBacklogBytesMax);
  return isKept || window.end - fastest(state) < windowOf(state, windowBytes.withoutPlace) * readAheadShare;
}

export function isHeldUp(state: State<FillPlace>): boolean {
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

/** Drops what memory no longer has to hold. */
export function trim(state: State<FillPlace>): void {
  if (state.isKept) return;
  const { window, place } = state;
  // A body that is whole and written needs no memory, however slowly it is read.
  if (place !== null && state.status === "whole") dropBefore(window, state.written);
  else if (place !== null)
    dropBefore(window, Math.min(state.written, window.end - windowOf(state, windowBytes.withPlace)));
  else dropBefore(window, Math.min(fastest(state), window.end - windowOf(state, windowBytes.withoutPlace)));
}

/** Resolves when the condition holds. It is checked now, and whenever something has changed. */
export function until(state: State<FillPlace>, isSo: () => boolean): Promise<void> {
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

export function wake(state: State<FillPlace>): void {
  for (const waker of state.wakers) waker();
}
