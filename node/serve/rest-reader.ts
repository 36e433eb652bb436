/**
 * A reader of a fill that fetches the rest for itself once it has fallen behind: the bytes that it needs are no longer
 * in memory, and not on disk.
 */
import type { BodyReader } from "#base/body.ts";
import { FellBehind, type Fill, type FillSource } from "../cache/fill.ts";

interface Reading {
  readonly reader: BodyReader;
  readonly restOf: (offset: number) => Promise<FillSource | undefined>;
  readonly end: number | null;
  position: number;
  /** Its own fetch, once it has fallen behind. */
  own: FillSource | undefined;
  /** Bytes of its own fetch that nobody has taken yet. */
  left: Buffer | undefined;
  isClosed: boolean;
}

/** @param restOf the same body from an offset on; undefined: it can't be had */
export function readFill(
  fill: Fill,
  { start, end }: { start: number; end: number | null },
  restOf: (offset: number) => Promise<FillSource | undefined>,
): BodyReader {
  const reader = fill.open(start, end);
  const reading: Reading = { reader, restOf, end, position: start, own: undefined, left: undefined, isClosed: false };
  return {
    ready: () => (reading.own === undefined ? reader.ready() : true),
    next: (bytesMax) =>
      reading.own === undefined ? fromFill(reading, bytesMax) : fromOwn(reading, reading.own, bytesMax),
    close() {
      reading.isClosed = true;
      reader.close();
      reading.own?.stop();
    },
  };
}

function fromFill(reading: Reading, bytesMax: number): Buffer | null | Promise<Buffer | null> {
  const next = reading.reader.next(bytesMax);
  if (!(next instanceof Promise)) return taken(reading, next);
  return next.then(
    (bytes) => taken(reading, bytes),
    (error: unknown) => orOwn(reading, error, bytesMax),
  );
}

async function orOwn(reading: Reading, error: unknown, bytesMax: number): Promise<Buffer | null> {
  if (!(error instanceof FellBehind)) throw error;
  const own = await reading.restOf(reading.position);
  if (own === undefined) throw error;
  reading.own = own;
  reading.reader.close();
  if (reading.isClosed) own.stop();
  return await fromOwn(reading, own, bytesMax);
}

async function fromOwn(reading: Reading, own: FillSource, bytesMax: number): Promise<Buffer | null> {
  const wanted = Math.min(bytesMax, (reading.end ?? Infinity) - reading.position);
  if (wanted <= 0) return null;
  const bytes = reading.left ?? (await own.next());
  if (bytes === null) return null;
  reading.left = bytes.length > wanted ? bytes.subarray(wanted) : undefined;
  return taken(reading, bytes.subarray(0, wanted));
}

function taken(reading: Reading, bytes: Buffer | null): Buffer | null {
  reading.position += bytes?.length ?? 0;
  return bytes;
}
