/**
 * A reader of a fill that fetches the rest for itself once it has fallen behind: the bytes that it needs are no longer
 * in memory, and not on disk.
 *
 *   fill ──fell behind──▶ the rest is requested ──▶ its chunks, one at a time ──▶ the body's end
 *                               └── not to be had        └── ends early: a failure, never a shorter body
 *
 * next() never waits for the reader's own fetch: ready() does, so that its caller holds no memory meanwhile.
 */
import type { BodyReader } from "#base/body.ts";
import type { Fill } from "../cache/fill.ts";
import { FellBehind } from "../cache/fill-reader.ts";
import type { FillSource } from "../cache/fill-state.ts";
import { NearcastError } from "#base/errors.ts";

type RestOf = (offset: number, signal: AbortSignal) => Promise<FillSource | undefined>;

interface Reading {
  readonly fill: Fill;
  readonly reader: BodyReader;
  readonly restOf: RestOf;
  readonly end: number | null;
  position: number;
  /** Aborted when the reader is closed: its fetch is dropped. */
  readonly closing: AbortController;
  /** Its own fetch, once it has fallen behind. */
  own: Own | undefined;
  /** Waits for bytes of the reader's own fetch. */
  wake: (() => void) | undefined;
}

interface Own {
  /** Undefined: it was requested, and has not arrived. */
  source: FillSource | undefined;
  /** Bytes that nobody has taken yet. */
  left: Buffer | undefined;
  isEnded: boolean;
  failure: Error | undefined;
  /** The rest, or its next bytes, are about to arrive. */
  isComing: boolean;
}

const nothingYet = Buffer.alloc(0);

/** @param restOf the same body from an offset on, while the reader is open; undefined: it is not available */
export function readFill(
  fill: Fill,
  { start, end }: { start: number; end: number | null },
  restOf: RestOf,
): BodyReader {
  const reader = fill.open(start, end);
  const reading: Reading = {
    fill,
    reader,
    restOf,
    end,
    position: start,
    closing: new AbortController(),
    own: undefined,
    wake: undefined,
  };
  return {
    ready: () => (reading.own === undefined ? reader.ready() : ownReady(reading, reading.own)),
    next: (bytesMax) =>
      reading.own === undefined ? fromFill(reading, bytesMax) : fromOwn(reading, reading.own, bytesMax),
    close() {
      reading.closing.abort(new Error("the reader was closed"));
      reader.close();
      reading.own?.source?.stop();
      reading.wake?.();
    },
  };
}

function fromFill(reading: Reading, bytesMax: number): Buffer | null | Promise<Buffer | null> {
  const next = reading.reader.next(bytesMax);
  if (!(next instanceof Promise)) return taken(reading, next);
  return next.then(
    (bytes) => taken(reading, bytes),
    (error: unknown) => {
      if (!(error instanceof FellBehind)) throw error;
      const own: Own = { source: undefined, left: undefined, isEnded: false, failure: undefined, isComing: true };
      reading.own = own;
      void begin(reading, own, error);
      return nothingYet;
    },
  );
}

/** Never rejects. */
async function begin(reading: Reading, own: Own, fellBehind: FellBehind): Promise<void> {
  try {
    own.source = await reading.restOf(reading.position, reading.closing.signal);
    reading.reader.close();
    if (own.source === undefined) own.failure = fellBehind;
    else if (reading.closing.signal.aborted) own.source.stop();
  } catch (error) {
    own.failure = error as Error;
  }
  own.isComing = false;
  reading.wake?.();
}

function ownReady(reading: Reading, own: Own): true | Promise<void> {
  return hasSomething(reading, own) ? true : untilSomething(reading, own);
}

function hasSomething(reading: Reading, own: Own): boolean {
  return (
    reading.closing.signal.aborted ||
    own.left !== undefined ||
    own.isEnded ||
    own.failure !== undefined ||
    bytesLeft(reading) <= 0
  );
}

async function untilSomething(reading: Reading, own: Own): Promise<void> {
  while (!hasSomething(reading, own)) {
    const { promise, resolve } = Promise.withResolvers<void>();
    reading.wake = resolve;
    if (!own.isComing) void pull(reading, own);
    await promise;
  }
}

/** The next chunk. Never rejects. */
async function pull(reading: Reading, own: Own): Promise<void> {
  own.isComing = true;
  try {
    const chunk = (await own.source?.next()) ?? null;
    if (chunk === null) judgeEnd(reading, own);
    else if (chunk.length > 0) own.left = chunk;
  } catch (error) {
    own.failure = error as Error;
  }
  own.isComing = false;
  reading.wake?.();
}

/** Whether the reader's own fetch reached the end of the body: as announced, or as far as the fill has it. */
function judgeEnd({ fill, end, position }: Reading, own: Own): void {
  own.isEnded = true;
  const length = Math.max(fill.lengthBytes ?? 0, fill.arrivedBytes());
  const expected = Math.min(end ?? Infinity, length);
  if (position >= expected) return;
  own.failure = new NearcastError("ORIGIN_BAD_ANSWER", `the rest of a body ended at ${position} of ${expected} bytes`);
}

function bytesLeft({ end, position }: Reading): number {
  return (end ?? Infinity) - position;
}

function fromOwn(reading: Reading, own: Own, bytesMax: number): Buffer | null {
  const wanted = Math.min(bytesMax, bytesLeft(reading));
  if (wanted <= 0) return null;
  const { left } = own;
  if (left === undefined) {
    if (own.failure !== undefined) throw own.failure;
    return own.isEnded ? null : nothingYet;
  }
  own.left = left.length > wanted ? left.subarray(wanted) : undefined;
  return taken(reading, left.subarray(0, wanted));
}

function taken(reading: Reading, bytes: Buffer | null): Buffer | null {
  reading.position += bytes?.length ?? 0;
  return bytes;
}
