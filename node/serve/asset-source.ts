/** The source of a fill: the body of a response, read from its connection. */
import type { Readable } from "node:stream";
import type { BodyReader } from "#base/body.ts";
import { NearcastError } from "#base/errors.ts";
import type { FillSource } from "../cache/fill-state.ts";
import type { Turns } from "../deliver/turns.ts";
import { dropStream } from "../fetch/body.ts";

const pieceBytesMax = 65_536;

/**
 * @param timeoutMs the silence after which the fetcher cuts off the body; for the text of the error
 * @param turns shared by all fills, by the network that each is for: fast origins leave the event loop to others
 */
export function sourceOf(body: Buffer | Readable, timeoutMs: number, turns: Turns, share: string): FillSource {
  if (Buffer.isBuffer(body)) return bufferSource(body);
  const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  return {
    async next() {
      const turn = turns.take(share);
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

/**
 * The same body without its first `bytes`, to continue a body that was cut off there. A body with no more than those
 * fails, because its end would be taken for the end of the whole.
 */
export function skipping(source: FillSource, bytes: number): FillSource {
  let left = bytes;
  let isBeyond = false;
  return {
    async next() {
      for (;;) {
        const chunk = await source.next();
        if (chunk === null && !isBeyond)
          throw new NearcastError("ORIGIN_BAD_ANSWER", `the origin sent only the first ${bytes} bytes again`);
        if (chunk === null || left < chunk.length) {
          const rest = chunk?.subarray(left) ?? null;
          left = 0;
          isBeyond = true;
          return rest;
        }
        left -= chunk.length;
      }
    },
    stop: source.stop,
  };
}

export function bufferSource(body: Buffer): FillSource {
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

/** A stored body, from where its reader begins. */
export function readerSource(reader: BodyReader): FillSource {
  return {
    async next() {
      await reader.ready();
      return await reader.next(pieceBytesMax);
    },
    stop: reader.close,
  };
}

function failureOf(error: unknown, timeoutMs: number): NearcastError {
  if ((error as { code?: string }).code === "UND_ERR_BODY_TIMEOUT")
    return new NearcastError("ORIGIN_TIMEOUT", `no byte of the body within ${timeoutMs} ms`, { cause: error });
  return new NearcastError("ORIGIN_BAD_ANSWER", "the origin closed the connection in the middle of a body", {
    cause: error,
  });
}
