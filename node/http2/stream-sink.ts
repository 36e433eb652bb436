/**
 * A sink for the response of one HTTP/2 stream of node:http2. The head waits for the first bytes of the body, so that
 * both leave in one write.
 *
 * Bytes count as sent when the system has them. Until then, they wait for the client's flow-control windows.
 */
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Sink } from "../deliver/sink.ts";
import { beginResponse } from "./begin-response.ts";
import { cut } from "./cut.ts";
import { responseFields } from "./response-fields.ts";

/** @param date the value of Date for a response without one */
export function streamSink(stream: ServerHttp2Stream, date: () => string): Sink {
  let list: string[] | null = null;
  let untaken = 0;
  let isEnded = false;
  let whenClosed: PromiseWithResolvers<void> | undefined;
  let whenTaken: PromiseWithResolvers<void> | undefined;

  const isGone = (): boolean => stream.destroyed || (stream.closed && stream.rstCode !== constants.NGHTTP2_NO_ERROR);
  const isOver = (): boolean => isGone() || (isEnded && untaken === 0);
  const settle = (): void => {
    if (untaken > 0 && !isGone()) return;
    whenTaken?.resolve();
    whenTaken = undefined;
    if (!isOver()) return;
    whenClosed?.resolve();
    whenClosed = undefined;
  };
  const taken = (): void => {
    untaken -= 1;
    settle();
  };
  const respond = (hasBody: boolean): void => {
    const fields = list;
    list = null;
    if (fields !== null && !isGone()) beginResponse(stream, fields, !hasBody);
  };
  const write = (chunk: Buffer): boolean => {
    respond(true);
    if (isGone()) return false;
    untaken += 1;
    return stream.write(chunk, taken);
  };
  const end = (): void => {
    isEnded = true;
    if (list !== null) respond(false);
    else if (!isGone()) stream.end();
    settle();
  };
  stream.once("close", settle);

  return {
    head(status, fields, block = null) {
      list = responseFields(status, fields, block, date);
    },
    flush() {
      respond(true);
    },
    allowSilence: () => undefined, // what is stored is never silent
    write,
    end(chunk) {
      if (chunk !== undefined && chunk.length > 0) write(chunk);
      end();
    },
    endBorrowed(chunk) {
      const copy = Buffer.from(chunk);
      if (copy.length > 0) write(copy);
      end();
      return copy;
    },
    pendingBytes: () => (isGone() ? 0 : stream.writableLength),
    taken() {
      if (untaken === 0 || isGone()) return Promise.resolve();
      whenTaken ??= Promise.withResolvers();
      return whenTaken.promise;
    },
    drained: () => (isGone() || !stream.writableNeedDrain ? Promise.resolve() : drainOf(stream)),
    isClosed: isOver,
    closed() {
      if (isOver()) return Promise.resolve();
      whenClosed ??= Promise.withResolvers();
      return whenClosed.promise;
    },
    isComplete: () => isEnded && untaken === 0 && stream.rstCode === constants.NGHTTP2_NO_ERROR && !stream.aborted,
    cut() {
      if (!isOver()) cut(stream);
    },
  };
}

function drainOf(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}
