/**
 * Where node:http2 does something else than a case of RFC 9113 or RFC 7541 expects, and what it does. Each deviation is
 * tested, too, so that this list is true.
 */
import type { Expected } from "./case.ts";
import { code } from "./frames.ts";

export interface Deviation {
  readonly what: string;
  readonly expected: Expected;
}

/** RFC 9113 §5.4 permits this: an endpoint may treat a stream error as a connection error. */
const asConnectionError = (why: number): Deviation => ({
  what: "a connection error",
  expected: { goaway: [why] },
});
const otherCode: Deviation = {
  what: "INTERNAL_ERROR instead of PROTOCOL_ERROR",
  expected: { goaway: [code.internal] },
};
/** nghttp2 drops a field that is not valid, and goes on with the request. */
const dropped: Deviation = { what: "the field is dropped", expected: { response: 1 } };

export const deviations: ReadonlyMap<string, Deviation> = new Map([
  ["3.4 an invalid preface ends the connection", otherCode],
  ["3.4 a request of HTTP/1.1 ends the connection", otherCode],
  ["5.1 half-closed (remote): DATA is an error", asConnectionError(code.streamClosed)],
  ["5.1.2 streams beyond the limit are refused, and the others stay", asConnectionError(code.protocol)],
  [
    "5.3.1 HEADERS that depend on themselves are accepted: priorities are obsolete",
    asConnectionError(code.protocol), // as in RFC 7540 §5.3.1
  ],
  ["6.3 PRIORITY of another length is a stream error", asConnectionError(code.frameSize)],
  ["6.7 an answered PING is not answered", { what: "a connection error", expected: { goaway: [code.internal] } }],
  ["6.9 WINDOW_UPDATE of a stream by 0 is a stream error", asConnectionError(code.protocol)],
  ["6.9.1 a window of a stream above 2^31-1 is a stream error", asConnectionError(code.flowControl)],
  ["8.1.1 a body that is longer than content-length is malformed", asConnectionError(code.internal)],
  ["8.1.1 a body in several frames that is longer than content-length is malformed", asConnectionError(code.internal)],
  ["8.2.1 a field name with a space is malformed", dropped],
  ["8.2.1 an empty field name is malformed", dropped],
  ["8.2.1 a field name with a control character is malformed", dropped],
  ["8.2.1 a field name beyond ASCII is malformed", dropped],
  ["8.2.1 a field value with a NUL is malformed", dropped],
  ["8.2.1 a field value with a line feed is malformed", dropped],
  ["8.2.1 a field value with a carriage return is malformed", dropped],
  ["8.2.1 a field value with a space in front is malformed", dropped],
  ["8.2.1 a field value with a tab behind is malformed", dropped],
]);
