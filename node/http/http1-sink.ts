/** A sink for a response of Node's HTTP/1.1 server. Only this file writes to the response. */
import type { ServerResponse } from "node:http";
import type { Sink } from "../deliver/sink.ts";

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
    head(status, fields) {
      response.writeHead(status, fields as string[]);
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
