/**
 * Where the bytes of a response come from, from the sender's point of view.
 *
 *   bytes    in memory, whole
 *   ranges   can be read from any offset, by any number of readers: a running fill, a file
 *   stream   passes through; can be read once
 */
import type { Readable } from "node:stream";

export type Body =
  | {
      readonly kind: "bytes";
      readonly bytes: Buffer;
      /** As for ranges, if the same bytes are on disk. */
      readonly pin?: () => Pin;
    }
  /** `open` starts a reader at `start`; it ends before `end`, or with the body where that is null. */
  | {
      readonly kind: "ranges";
      readonly open: (start: number, end: number | null) => BodyReader;
      /**
       * The bytes of that range, if there are at most `bytesMax` and they are available at once. They are valid until
       * the next read of any body: whoever keeps them must copy them.
       */
      readonly borrow?: (start: number, end: number | null, bytesMax: number) => Uint8Array | undefined;
      /** Where the body is in a file, if all of it is known to be as it was written. */
      readonly pin?: () => Pin;
    }
  | { readonly kind: "stream"; readonly stream: Readable };

/** "soon": it is being written, or verified; a later call may have it. Undefined: it is in no file. */
export type Pin = PinnedFile | "soon" | undefined;

/** A part of an open file, which stays as it is until release(). */
export interface PinnedFile {
  readonly descriptor: number;
  readonly offset: number;
  /** The file was removed: it takes space on disk only because it is pinned. */
  readonly isRemoved: () => boolean;
  readonly release: () => void;
}

/** A body that can be read more than once, from any offset. */
export type StoredBody = Exclude<Body, { kind: "stream" }>;

/**
 * One reader of one body. A caller waits for ready(), makes room for a chunk, and takes it with next(). So it holds no
 * memory while the body's source is slow.
 */
export interface BodyReader {
  /**
   * True: next() has a result at once, or nearly so. Otherwise, a promise that resolves when it has, or when the reader
   * is closed; it never rejects.
   */
  ready: () => true | Promise<void>;
  /**
   * The next bytes, at most `bytesMax` of them; null at the end.
   * @throws the failure that ended the body early
   */
  next: (bytesMax: number) => Buffer | null | Promise<Buffer | null>;
  /** Gives up the rest; may be called twice. */
  close: () => void;
}

/** Reads a stream that passes through. Closing the reader destroys the stream. */
export function streamReader(stream: Readable): BodyReader {
  let isEnded = stream.readableEnded;
  // A stream that was destroyed before has already emitted its error, and will not emit it again.
  let failure: Error | undefined;
  if (stream.destroyed && !isEnded) failure = stream.errored ?? new Error("the body ended early");
  let waiting: (() => void) | undefined;
  const wake = (): void => {
    waiting?.();
    waiting = undefined;
  };
  stream.on("readable", wake);
  stream.on("end", () => {
    isEnded = true;
    wake();
  });
  // Without a listener, the error of a stream that is destroyed unread would end the process.
  stream.on("error", (error: Error) => {
    failure = error;
    wake();
  });
  stream.on("close", () => {
    if (!isEnded) failure ??= new Error("the body ended early");
    wake();
  });
  return {
    ready() {
      if (stream.readableLength > 0 || isEnded || failure !== undefined) return true;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = resolve;
      stream.read(0); // asks the source for more
      return promise;
    },
    next(bytesMax) {
      if (failure !== undefined) throw failure;
      if (stream.readableLength === 0) return isEnded ? null : Buffer.alloc(0);
      return stream.read(Math.min(stream.readableLength, bytesMax)) as Buffer;
    },
    close() {
      stream.destroy();
    },
  };
}

/** Gives up a body before anything was read from it. */
export function dropUnread(body: Body): void {
  if (body.kind !== "stream") return;
  body.stream.on("error", () => undefined);
  body.stream.destroy();
}

const pieceBytesMax = 65_536;

/** A stored body, piece by piece. */
export async function* chunksOf(body: StoredBody): AsyncGenerator<Buffer> {
  if (body.kind === "bytes") {
    yield body.bytes;
    return;
  }
  const reader = body.open(0, null);
  try {
    for (;;) {
      await reader.ready();
      const piece = await reader.next(pieceBytesMax);
      if (piece === null) return;
      yield piece;
    }
  } finally {
    reader.close();
  }
}
