/**
 * Smuggling over HTTP/2: what would change its meaning as HTTP/1.1. The case is on stream 1; streams 3 and up are the
 * sentinels'.
 */
import { block, data, flag, frame, headers, type } from "../http2/frames.ts";
import {
  chunk,
  hidden,
  hiddenTarget,
  type SmugglingCase,
  smugglingCases,
  type SmugglingRow,
  targetA,
} from "./smuggling-case.ts";

const host = "assets.cdn.test";

/** A request's fields. @param more names and values in turn */
export function list(path: string, ...more: readonly string[]): string[] {
  return [":method", "GET", ":scheme", "https", ":authority", host, ":path", path, ...more];
}
const withValue = (name: string, value: string): string[] => {
  const fields = list(targetA);
  return fields.with(fields.indexOf(name) + 1, value);
};
const without = (name: string): string[] => {
  const fields = list(targetA);
  return fields.toSpliced(fields.indexOf(name), 2);
};
const method = (name: string, ...more: readonly string[]): string[] => list(targetA, ...more).with(1, name);
const text = (...frames: readonly Buffer[]): string => Buffer.concat(frames).toString("latin1");
/** A whole request without a body. */
const whole = (fields: readonly string[]): string => text(headers(1, fields));
/** A request with a body. */
const withBody = (fields: readonly string[], ...parts: readonly string[]): string =>
  text(
    headers(1, fields, 0),
    ...parts.map((part, index) =>
      data(1, Buffer.from(part, "latin1"), index === parts.length - 1 ? flag.endStream : 0),
    ),
  );

const N = hidden.length;
const length = (value: string | number): [string, string] => ["content-length", String(value)];
const smuggled = ` HTTP/1.1\r\nhost: ${host}\r\n\r\n${hidden}`;

const lengths: readonly SmugglingRow[] = [
  ["a body without a length", withBody(method("POST"), hidden)],
  ["a body of GET without a length", withBody(list(targetA), hidden)],
  ["a length of 0, and a body", withBody(method("POST", ...length(0)), hidden)],
  ["a length of 0, and a body of GET", withBody(list(targetA, ...length(0)), hidden)],
  ["a body that is too long", withBody(method("POST", ...length(4)), hidden)],
  ["a body that is too long, in parts", withBody(method("POST", ...length(4)), hidden.slice(0, 4), hidden.slice(4))],
  ["a body that is too short", withBody(method("POST", ...length(N + 1)), hidden)],
  ["a body of GET that is too short", withBody(list(targetA, ...length(N + 1)), hidden)],
  ["a length, and no body", whole(list(targetA, ...length(N)))],
  ["a length, and an empty body", withBody(list(targetA, ...length(N)), "")],
  ["two lengths", withBody(method("POST", ...length(N), ...length(0)), hidden)],
  ["two equal lengths", withBody(method("POST", ...length(N), ...length(N)), hidden)],
  ["a list of lengths", withBody(method("POST", ...length(`${N}, ${N}`)), hidden)],
  ["a length with a plus sign", withBody(method("POST", ...length(`+${N}`)), hidden)],
  ["a hexadecimal length", withBody(method("POST", ...length(`0x${N.toString(16)}`)), hidden)],
  ["an empty length", withBody(method("POST", ...length("")), hidden)],
  ["a length of 2⁶⁴ and more", withBody(method("POST", ...length(String(2n ** 64n + BigInt(N)))), hidden)],
  ["a body in the form of chunks", withBody(method("POST"), chunk(hidden), "0\r\n\r\n")],
  ["a body that ends a chunked one", withBody(method("POST"), "0\r\n\r\n", hidden)],
  ["a body of HEAD", withBody(method("HEAD", ...length(N)), hidden)],
  ["a body behind Expect", withBody(list(targetA, "expect", "100-continue", ...length(N)), hidden)],
  [
    "a body that is padded",
    text(
      headers(1, method("POST", ...length(N)), 0),
      frame(
        type.data,
        flag.endStream | flag.padded,
        1,
        Buffer.concat([Buffer.from([9]), Buffer.from(hidden), Buffer.alloc(9)]),
      ),
    ),
  ],
  ["a trailer with a length", text(headers(1, method("POST"), 0), data(1, hidden), headers(1, length(0)))],
  [
    "a trailer with a coding",
    text(headers(1, method("POST"), 0), data(1, hidden), headers(1, ["transfer-encoding", "chunked"])),
  ],
  [
    "a trailer with a line end",
    text(headers(1, method("POST"), 0), data(1, "x"), headers(1, ["x", `y\r\n\r\n${hidden}`])),
  ],
  ["a trailer with :path", text(headers(1, method("POST"), 0), data(1, "x"), headers(1, [":path", hiddenTarget]))],
].map(([name, bytes]) => [`over HTTP/2: ${name as string}`, "9113 §8.1.1", bytes as string]);

/** Fields about a connection (RFC 9113 §8.2.2). */
const connectionFields: readonly SmugglingRow[] = [
  ["transfer-encoding", "chunked"],
  ["transfer-encoding", "identity"],
  ["Transfer-Encoding", "chunked"],
  ["transfer-encoding ", "chunked"],
  [" transfer-encoding", "chunked"],
  ["transfer-encoding:", "chunked"],
  ["x: y\r\ntransfer-encoding", "chunked"],
  ["te", "chunked"],
  ["te", "trailers, chunked"],
  ["te", ""],
  ["connection", "transfer-encoding"],
  ["connection", "close"],
  ["connection", "content-length"],
  ["keep-alive", "timeout=1"],
  ["proxy-connection", "keep-alive"],
  ["upgrade", "h2c"],
  ["http2-settings", "AAAA"],
  ["trailer", "content-length"],
].map(([name, value]) => [
  `over HTTP/2: ${JSON.stringify(name)}: ${JSON.stringify(value)}`,
  "9113 §8.2.2",
  withBody(method("POST", name ?? "", value ?? ""), `0\r\n\r\n${hidden}`),
]);

/** Bytes that would end a line of HTTP/1.1, or begin another field (RFC 9113 §8.2.1). */
const bytesOfFields: readonly SmugglingRow[] = [
  ["CR LF in a value", ["x", `y\r\n\r\n${hidden}`]],
  ["LF in a value", ["x", `y\n\n${hidden}`]],
  ["CR in a value", ["x", `y\r\r${hidden}`]],
  ["NUL in a value", ["x", `y\0${hidden}`]],
  ["a field in a value", ["x", "y\r\ntransfer-encoding: chunked"]],
  ["a space before a value", ["x", " y"]],
  ["CR LF in a name", [`x: y\r\n\r\n${hidden}x`, "y"]],
  ["LF in a name", ["x\ny", "z"]],
  ["NUL in a name", ["x\0y", "z"]],
  ["a colon in a name", ["host: other.cdn.test", "z"]],
  ["a colon at the end of a name", ["content-length:", "0"]],
  ["a space in a name", ["x y", "z"]],
  ["a space at the end of a name", ["content-length ", "0"]],
  ["a tab at the end of a name", ["content-length\t", "0"]],
  ["an empty name", ["", "z"]],
  ["a name in upper case", ["Content-Length", "5"]],
  ["a name beyond ASCII", ["x\xe4", "z"]],
  ["a name with DEL", ["x\x7f", "z"]],
  ["a cookie with CR LF", ["cookie", `a=b\r\n\r\n${hidden}`]],
  ["cookies that begin a line together", ["cookie", "a=b\r", "cookie", `\n${hidden}`]],
  ["a range with LF", ["range", `bytes=0-1\n\n${hidden}`]],
  ["an Accept with CR LF", ["accept", `*/*\r\n\r\n${hidden}`]],
].map(([name, more]) => [`over HTTP/2: ${name as string}`, "9113 §8.2.1", whole(list(targetA, ...(more as string[])))]);

/** Pseudo-header fields (RFC 9113 §8.3). */
const pseudo: readonly SmugglingRow[] = [
  ["a space in :path", withValue(":path", `${targetA} HTTP/1.1`)],
  ["a request in :path", withValue(":path", targetA + smuggled)],
  ["LF in :path", withValue(":path", `${targetA}\n\n${hidden}`)],
  ["a tab in :path", withValue(":path", `${targetA}\tHTTP/1.1`)],
  ["NUL in :path", withValue(":path", `${targetA}\0`)],
  ["the absolute form in :path", withValue(":path", `http://other.cdn.test${targetA}`)],
  [":path without a slash", withValue(":path", targetA.slice(1))],
  [":path is *", withValue(":path", "*")],
  ["an empty :path", withValue(":path", "")],
  ["two slashes in :path", withValue(":path", `//other.cdn.test${targetA}`)],
  ["a fragment in :path", withValue(":path", `${targetA}#${hiddenTarget}`)],
  ["bytes beyond ASCII in :path", withValue(":path", `${targetA}?\xc4\x8a`)],
  ["an encoded line end in :path", withValue(":path", `${targetA}?%0d%0aGET%20${hiddenTarget}`)],
  ["no :path", without(":path")],
  ["two :path", list(targetA).toSpliced(0, 0, ":path", hiddenTarget)],
  ["a late :path", [...without(":path"), "x", "y", ":path", targetA]],
  ["a request in :method", withValue(":method", `GET ${targetA}${smuggled}GET`)],
  ["a space in :method", withValue(":method", "GET ")],
  ["an empty :method", withValue(":method", "")],
  ["two :method", [":method", "POST", ...list(targetA)]],
  ["no :method", without(":method")],
  [":method in lower case", withValue(":method", "get")],
  ["CONNECT", [":method", "CONNECT", ":authority", `${host}:443`]],
  ["CONNECT with :path", withValue(":method", "CONNECT")],
  ["CONNECT with :protocol", [...withValue(":method", "CONNECT"), ":protocol", "websocket"]],
  ["PRI", withValue(":method", "PRI")],
  ["no :scheme", without(":scheme")],
  ["an empty :scheme", withValue(":scheme", "")],
  ["a request in :scheme", withValue(":scheme", `http://${host}${hiddenTarget}${smuggled}`)],
  ["two :scheme", [":scheme", "http", ...list(targetA)]],
  ["a request in :authority", withValue(":authority", `${host}\r\n\r\n${hidden}`)],
  ["a field in :authority", withValue(":authority", `${host}\r\nhost: other.cdn.test`)],
  ["a user in :authority", withValue(":authority", `x@${host}`)],
  ["a path in :authority", withValue(":authority", `${host}/x`)],
  ["an empty :authority", withValue(":authority", "")],
  ["a space in :authority", withValue(":authority", `${host} x`)],
  ["two :authority", [":authority", "other.cdn.test", ...list(targetA)]],
  ["another host", list(targetA, "host", "other.cdn.test")],
  ["the same host", list(targetA, "host", host)],
  ["two hosts", [...without(":authority"), "host", host, "host", "other.cdn.test"]],
  ["a host with a line end", [...without(":authority"), "host", `${host}\r\n\r\n${hidden}`]],
  ["an unknown pseudo-header field", [":x", "y", ...list(targetA)]],
  [":status", [":status", "200", ...list(targetA)]],
].map(([name, fields]) => [`over HTTP/2: ${name as string}`, "9113 §8.3", whole(fields as string[])]);

/** Frames. */
const frames: readonly SmugglingRow[] = [
  [
    "a request of HTTP/1.1 in a field section of two frames",
    text(
      frame(type.headers, flag.endStream, 1, block(...list(targetA)).subarray(0, 20)),
      frame(type.continuation, flag.endHeaders, 1, block(...list(targetA)).subarray(20)),
    ),
  ],
  ["DATA behind the end", text(headers(1, list(targetA)), data(1, hidden, flag.endStream))],
  ["HEADERS behind the end", text(headers(1, list(targetA)), headers(1, list(hiddenTarget)))],
  ["a second HEADERS without an end", text(headers(1, method("POST"), 0), headers(1, list(hiddenTarget), 0))],
  ["HTTP/1.1 behind the preface", hidden],
].map(([name, bytes]) => [`over HTTP/2: ${name as string}`, "9113 §5.1", bytes as string]);

export const smugglingOverHttp2: readonly SmugglingCase[] = smugglingCases([
  ...lengths,
  ...connectionFields,
  ...bytesOfFields,
  ...pseudo,
  ...frames,
]);
