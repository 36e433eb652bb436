/**
 * Readers of a fill (fill.ts), each at its own offset and pace: from memory near the front, from the place on disk
 * behind it.
 */
import type { BodyReader } from "#base/body.ts";
import { type FillPlace, type Reader, type State, until, wake } from "./fill-state.ts";
import { bytesAt } from "./fill-window.ts";

/** The reader needs bytes that are no longer in memory, and no disk has them. */
export class FellBehind extends Error {}

export function openReader(state: State<FillPlace>, start: number, end: number | null): BodyReader {
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
