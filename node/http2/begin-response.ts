/** Begins the response of a stream of node:http2. */
import { constants, type ServerHttp2Stream } from "node:http2";

/**
 * Where the response ends with its fields, a request whose body is still under way ends with it (RFC 9113 §8.1).
 * node:http2 sees to that for all responses but those to HEAD: for these it ends the response's side of the stream
 * before there is a response.
 */
export function beginResponse(stream: ServerHttp2Stream, fields: string[], endStream: boolean): void {
  stream.respond(fields, { endStream });
  if (!endStream || stream.endAfterHeaders) return;
  // RST_STREAM leaves after the fields.
  setImmediate(() => {
    stream.close(constants.NGHTTP2_NO_ERROR);
  });
}
