/** Breaks a stream off, so that the client sees that the response is incomplete (RFC 9113 §8.1). */
import { constants, type ServerHttp2Stream } from "node:http2";
import { withoutStack } from "#base/errors.ts";

const cutStreams = new WeakSet<ServerHttp2Stream>();

/** Sends RST_STREAM with INTERNAL_ERROR. */
export function cut(stream: ServerHttp2Stream): void {
  if (stream.destroyed) return;
  cutStreams.add(stream);
  // close() would end the response first, as if it were complete, if its head was sent.
  if (stream.headersSent) stream.destroy(withoutStack(() => new Error("the response was cut")));
  else stream.close(constants.NGHTTP2_INTERNAL_ERROR);
}

/** Whether a closed stream was reset by its client, or because of what its client sent. */
export function wasReset(stream: ServerHttp2Stream): boolean {
  return (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) && !cutStreams.has(stream);
}
