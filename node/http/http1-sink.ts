/** A sink for a response of Node's HTTP/1.1 server. Only this file writes to the response. */
import type { ServerResponse } from "node:http";
import type { Sink } from "../deliver/sink.ts";

export function http1Sink(response: ServerResponse): Sink {
  let closed: Promise<void> | undefined;
  const isClosed = (): boolean => response.closed || response.destroyed;
  return {
    head(status, fields) {
      response.writeHead(status, fields as string[]);
    },
    flush() {
      response.flushHeaders();
    },
    write: (chunk) => response.write(chunk),
    end(chunk) {
      response.end(chunk);
    },
    pendingBytes: () => response.writableLength, // with its socket's
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
