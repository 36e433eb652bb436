/** A sink for a response of Node's HTTP/1.1 server. Only this file writes to the response. */
import type { ServerResponse } from "node:http";
import { headerPairsOf } from "../cache/object.ts";
import type { Sink } from "../deliver/sink.ts";

/** Names and values in turn, read once per block: an object in memory is sent many times. */
const pairsOfBlock = new WeakMap<Buffer, readonly string[]>();

function flatPairsOf(block: Buffer): readonly string[] {
  let pairs = pairsOfBlock.get(block);
  if (pairs === undefined) {
    pairs = headerPairsOf(block).flat();
    pairsOfBlock.set(block, pairs);
  }
  return pairs;
}

export function http1Sink(response: ServerResponse): Sink {
  let closed: Promise<void> | undefined;
  const isClosed = (): boolean => response.closed || response.destroyed;
  /** Writes that the system has not taken whole, and who waits for them. */
  let untaken = 0;
  let whenTaken: PromiseWithResolvers<void> | undefined;
  const chunkTaken = (): void => {
    untaken -= 1;
    if (untaken > 0) return;
    whenTaken?.resolve();
    whenTaken = undefined;
  };
  return {
    head(status, fields, block = null) {
      response.writeHead(status, block === null ? (fields as string[]) : [...flatPairsOf(block), ...fields]);
    },
    flush() {
      response.flushHeaders();
    },
    allowSilence(timeMs) {
      response.socket?.setTimeout(timeMs);
    },
    write(chunk) {
      untaken += 1;
      return response.write(chunk, chunkTaken);
    },
    end(chunk) {
      response.end(chunk);
    },
    endBorrowed(chunk) {
      const copy = Buffer.from(chunk);
      response.end(copy);
      return copy;
    },
    pendingBytes: () => response.writableLength, // with its socket's
    taken() {
      if (untaken === 0 || isClosed()) return Promise.resolve();
      if (whenTaken === undefined) {
        whenTaken = Promise.withResolvers();
        response.once("close", whenTaken.resolve);
      }
      return whenTaken.promise;
    },
    drained: () =>
      new Promise((resolve) => {
        if (isClosed() || !response.writableNeedDrain) {
          resolve();
          return;
        }
        const done = (): void => {
          response.off("drain", done).off("close", done);
          resolve();
        };
        response.on("drain", done).on("close", done);
      }),
    isClosed,
    closed() {
      closed ??= new Promise((resolve) => {
        if (isClosed()) resolve();
        else response.once("close", resolve);
      });
      return closed;
    },
    isComplete: () => response.writableFinished,
    cut() {
      if (!response.writableFinished) response.destroy();
    },
  };
}
