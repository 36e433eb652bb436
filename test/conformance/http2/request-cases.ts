/** RFC 9113 §8: requests. */
import { type Case, open1, one, resets, ok, protocol } from "./case.ts";
import { data, flag, get, headers, post } from "./frames.ts";

/** A stream error of type PROTOCOL_ERROR (§8.1.1). */
const malformed = (claim: string, list: readonly string[]): Case => one(claim, [headers(1, list)], resets(protocol));
const without = (name: string): string[] => {
  const list = get();
  return list.toSpliced(list.indexOf(name), 2);
};
const withValue = (name: string, value: string): string[] => {
  const list = get();
  return list.with(list.indexOf(name) + 1, value);
};

export const requestCases: readonly Case[] = [
  one(
    "8.1 a second HEADERS frame without END_STREAM is malformed",
    [open1, headers(1, ["a", "b"], 0)],
    resets(protocol),
  ),
  one("8.1 trailers are accepted", [headers(1, post("/echo"), 0), data(1, "body"), headers(1, ["a", "b"])], ok),
  one("8.1 trailers with a pseudo-header field are malformed", [open1, headers(1, [":path", "/"])], resets(protocol)),
  one(
    "8.2.2 trailers with Transfer-Encoding are malformed",
    [open1, headers(1, ["transfer-encoding", "chunked"])],
    resets(protocol),
  ),
  one(
    "8.1.1 a body that is longer than content-length is malformed",
    [headers(1, post("/held", "content-length", "1"), 0), data(1, "four", flag.endStream)],
    resets(protocol),
  ),
  one(
    "8.1.1 a body that is shorter than content-length is malformed",
    [headers(1, post("/held", "content-length", "9"), 0), data(1, "four", flag.endStream)],
    resets(protocol),
  ),
  one(
    "8.1.1 a body in several frames that is longer than content-length is malformed",
    [headers(1, post("/held", "content-length", "5"), 0), data(1, "four"), data(1, "four", flag.endStream)],
    resets(protocol),
  ),
  one(
    "8.1.1 a request without the body that it announces is malformed",
    [headers(1, post("/held", "content-length", "1"))],
    resets(protocol),
  ),
  malformed("8.2.1 a field name in upper case is malformed", get("/hit", "X-TEST", "ok")),
  malformed("8.2.1 a field name with a space is malformed", get("/hit", "x y", "ok")),
  malformed("8.2.1 an empty field name is malformed", get("/hit", "", "ok")),
  malformed("8.2.1 a field name with a control character is malformed", get("/hit", "x\x01", "ok")),
  malformed("8.2.1 a field name beyond ASCII is malformed", get("/hit", "x\xe4", "ok")),
  malformed("8.2.1 a field value with a NUL is malformed", get("/hit", "x", "a\0b")),
  malformed("8.2.1 a field value with a line feed is malformed", get("/hit", "x", "a\nb")),
  malformed("8.2.1 a field value with a carriage return is malformed", get("/hit", "x", "a\rb")),
  malformed("8.2.1 a field value with a space in front is malformed", get("/hit", "x", " a")),
  malformed("8.2.1 a field value with a tab behind is malformed", get("/hit", "x", "a\t")),
  malformed("8.2.2 Connection is malformed", get("/hit", "connection", "keep-alive")),
  malformed("8.2.2 Keep-Alive is malformed", get("/hit", "keep-alive", "timeout=5")),
  malformed("8.2.2 Proxy-Connection is malformed", get("/hit", "proxy-connection", "keep-alive")),
  malformed("8.2.2 Transfer-Encoding is malformed", get("/hit", "transfer-encoding", "chunked")),
  malformed("8.2.2 Upgrade is malformed", get("/hit", "upgrade", "websocket")),
  malformed("8.2.2 TE other than trailers is malformed", get("/hit", "te", "trailers, deflate")),
  one("8.2.2 TE may be trailers", [headers(1, get("/hit", "te", "trailers"))], ok),
  one("8.2.3 cookies may be split", [headers(1, get("/hit", "cookie", "a=b", "cookie", "c=d"))], ok),
  malformed("8.3 an unknown pseudo-header field is malformed", [":test", "ok", ...get()]),
  malformed("8.3 a pseudo-header field of responses is malformed", [":status", "200", ...get()]),
  malformed("8.3 a pseudo-header field behind others is malformed", ["x", "y", ...get()]),
  malformed("8.3.1 a request without :method is malformed", without(":method")),
  malformed("8.3.1 a request without :scheme is malformed", without(":scheme")),
  malformed("8.3.1 a request without :path is malformed", without(":path")),
  malformed("8.3.1 a request with an empty :path is malformed", withValue(":path", "")),
  malformed("8.3.1 a request whose :path has no slash is malformed", withValue(":path", "hit")),
  malformed("8.3.1 a request with two :method is malformed", [":method", "GET", ...get()]),
  malformed("8.3.1 a request with two :scheme is malformed", [":scheme", "http", ...get()]),
  malformed("8.3.1 a request with two :path is malformed", [":path", "/hit", ...get()]),
  malformed("8.3.1 a request with two :authority is malformed", [":authority", "x", ...get()]),
  malformed("8.3.1 an empty :authority is malformed", withValue(":authority", "")),
  malformed("8.3.1 user information in :authority is malformed", withValue(":authority", "me@x")),
  malformed("8.3.1 a space in :path is malformed", withValue(":path", "/hit HTTP/1.1")),
  malformed("8.3.1 a line end in :path is malformed", withValue(":path", "/hit\r\nx: y")),
  malformed("8.3.1 a method that is no token is malformed", withValue(":method", "GET /")),
  malformed("8.3.1 another Host than :authority is malformed", get("/hit", "host", "y")),
  one("8.3.1 Host may repeat :authority", [headers(1, get("/hit", "host", "x"))], ok),
  one("8.3.1 Host may stand for :authority", [headers(1, [...without(":authority"), "host", "x"])], ok),
  malformed("8.5 CONNECT with :path is malformed", withValue(":method", "CONNECT")),
  malformed("8.5 CONNECT without :authority is malformed", [":method", "CONNECT"]),
  one("8.5 CONNECT gets a status", [headers(1, [":method", "CONNECT", ":authority", "x:443"])], { response: 1 }),
  one(
    "8.6 an Upgrade from HTTP/1.1 does not exist: HTTP2-Settings is a field like others",
    [headers(1, get("/other", "http2-settings", "AAAA"))],
    ok,
  ),
];
