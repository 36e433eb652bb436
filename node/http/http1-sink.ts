/** A sink for a response of Node's HTTP/1.1 server. Only this file writes to the response. */
import type { ServerResponse } from "node:http";
import { headerPairsOf } from "../cache/object.ts";
import type { Sink } from "../deliver/sink.ts";

/** Alternating names and values, read once per block: an object in memory is sent many times. */
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
  const isClosed = (): boolean => response.closed || response.destroyed;
  /** Chunks that the system has not taken completely. */
  let untaken = 0;
  const waiters: Waiters = { taken: undefined, drained: undefined, closed: undefined };
  let isListening = false;
  // One listener per event, however often a long response waits: removing one of many would mean searching them.
  const listen = (): void => {
    if (isListening) return;
    isListening = true;
    response.on("drain", () => {
      wake(waiters, "drained");
    });
    response.once("close", () => {
      wake(waiters, "taken");
      wake(waiters, "drained");
      wake(waiters, "closed");
    });
  };
  const wait = (kind: keyof Waiters): Promise<void> => {
    listen();
    waiters[kind] ??= Promise.withResolvers();
    return waiters[kind].promise;
  };
  const chunkTaken = (): void => {
    untaken -= 1;
    if (untaken === 0) wake(waiters, "taken");
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
    taken: () => (untaken === 0 || isClosed() ? Promise.resolve() : wait("taken")),
    drained: () => (isClosed() || !response.writableNeedDrain ? Promise.resolve() : wait("drained")),
    isClosed,
    closed: () => (isClosed() ? Promise.resolve() : wait("closed")),
    isComplete: () => response.writableFinished,
    cut() {
      if (!response.writableFinished) response.destroy();
    },
  };
}

/** Promises of what a sink's callers wait for; undefined: nobody waits. */
type Waiters = Record<"taken" | "drained" | "closed", PromiseWithResolvers<void> | undefined>;

function wake(waiters: Waiters, kind: keyof Waiters): void {
  waiters[kind]?.resolve();
  waiters[kind] = undefined;
}
