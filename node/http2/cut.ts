/** Breaks a stream off, so that the client sees that the response is incomplete (RFC 9113 §8.1). */
import { constants, type ServerHttp2Stream } from "node:http2";
import { withoutStack } from "#base/errors.ts";

/** Sends RST_STREAM with INTERNAL_ERROR. */
export function cut(stream: ServerHttp2Stream): void {
  if (stream.destroyed) return;
  // close() would end the response first, as if it were complete, if its head was sent.
  if (stream.headersSent) stream.destroy(withoutStack(() => new Error("the response was cut")));
  else stream.close(constants.NGHTTP2_INTERNAL_ERROR);
}
