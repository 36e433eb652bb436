/** The source of a fill: the body of a response, read from its connection. */
import type { Readable } from "node:stream";
import { NearcastError } from "#base/errors.ts";
import type { FillSource } from "../cache/fill.ts";
import type { Turns } from "../deliver/turns.ts";
import { dropStream } from "../fetch/body.ts";

/**
 * @param timeoutMs the silence at which whoever fetched this body cuts it; for the words of the error
 * @param turns shared by all fills: many fast origins leave the event loop to other requests
 */
export function sourceOf(body: Buffer | Readable, timeoutMs: number, turns: Turns): FillSource {
  if (Buffer.isBuffer(body)) return bufferSource(body);
  const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  return {
    async next() {
      const turn = turns.take();
      if (turn !== true) await turn;
      try {
        const next = await iterator.next();
        return next.done === true ? null : next.value;
      } catch (error) {
        throw failureOf(error, timeoutMs);
      }
    },
    stop() {
      dropStream(body);
    },
  };
}

/** The same body without its first `bytes`. */
export function skipping(source: FillSource, bytes: number): FillSource {
  let left = bytes;
  return {
    async next() {
      for (;;) {
        const chunk = await source.next();
        if (chunk === null || left === 0) return chunk;
        const skipped = Math.min(left, chunk.length);
        left -= skipped;
        if (skipped < chunk.length) return chunk.subarray(skipped);
      }
    },
    stop: source.stop,
  };
}

function bufferSource(body: Buffer): FillSource {
  let isTaken = body.length === 0;
  return {
    next() {
      if (isTaken) return Promise.resolve(null);
      isTaken = true;
      return Promise.resolve(body);
    },
    stop: () => undefined,
  };
}

function failureOf(error: unknown, timeoutMs: number): NearcastError {
  if ((error as { code?: string }).code === "UND_ERR_BODY_TIMEOUT")
    return new NearcastError("ORIGIN_TIMEOUT", `no byte of the body within ${timeoutMs} ms`, { cause: error });
  return new NearcastError("ORIGIN_BAD_ANSWER", "the origin closed the connection in the middle of a body", {
    cause: error,
  });
}
