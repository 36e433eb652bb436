/** The field list of an HTTP/2 request: what is malformed (RFC 9113 §8), and the same request in HTTP/1.1. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { newRequestHead, readRequestHead } from "../../../node/front/request-head.ts";
import { headOf, type Http2Request, plainOf, readRequest } from "../../../node/http2/request-fields.ts";

const pseudo = [":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/p?q"];

function read(list: readonly string[], hasBody = false): Http2Request {
  const request = readRequest(list, hasBody);
  assert.equal(request.outcome, "request", JSON.stringify(request));
  return request;
}

/** A request with one pseudo-header field changed, or removed. */
function withPseudo(name: string, ...value: string[]): string[] {
  const at = pseudo.indexOf(name);
  return value.length === 0 ? pseudo.toSpliced(at, 2) : pseudo.toSpliced(at, 2, name, ...value);
}

const malformed: readonly [what: string, list: readonly string[], hasBody?: boolean][] = [
  ["§8.2.1 upper case", [...pseudo, "X-A", "1"]],
  ["§8.2.1 an empty name", [...pseudo, "", "1"]],
  ["§8.2.1 a space in a name", [...pseudo, "a b", "1"]],
  ["§8.2.1 a colon in a name", [...pseudo, "a:b", "1"]],
  ["§8.2.1 a line end in a name", [...pseudo, "a\r\nb", "1"]],
  ["§8.2.1 a NUL in a value", [...pseudo, "a", "x\0y"]],
  ["§8.2.1 a line feed in a value", [...pseudo, "a", "x\ny"]],
  ["§8.2.1 a carriage return in a value", [...pseudo, "a", "x\ry"]],
  ["§8.2.1 a space in front of a value", [...pseudo, "a", " x"]],
  ["§8.2.1 a tab behind a value", [...pseudo, "a", "x\t"]],
  ["§8.2.2 Connection", [...pseudo, "connection", "keep-alive"]],
  ["§8.2.2 Keep-Alive", [...pseudo, "keep-alive", "1"]],
  ["§8.2.2 Proxy-Connection", [...pseudo, "proxy-connection", "close"]],
  ["§8.2.2 Transfer-Encoding", [...pseudo, "transfer-encoding", "chunked"], true],
  ["§8.2.2 Upgrade", [...pseudo, "upgrade", "h2c"]],
  ["§8.2.2 TE other than trailers", [...pseudo, "te", "gzip"]],
  ["§8.2.2 TE with more than trailers", [...pseudo, "te", "trailers, deflate"]],
  ["§8.3 an unknown pseudo-header field", [...pseudo, ":protocol", "x"]],
  ["§8.3 a pseudo-header field of responses", [...pseudo, ":status", "200"]],
  ["§8.3 a pseudo-header field behind others", [...pseudo.slice(0, 6), "a", "b", ":path", "/"]],
  ["§8.3 the same behind Host", [...pseudo.slice(0, 6), "host", "a.test", ":path", "/"]],
  ["§8.3 the same behind Cookie", [...pseudo.slice(0, 6), "cookie", "a", ":path", "/"]],
  ["§8.3 a pseudo-header field twice", [...pseudo, ":path", "/"]],
  ["§8.3.1 no method", withPseudo(":method")],
  ["§8.3.1 a method that is no token", withPseudo(":method", "GE T")],
  ["§8.3.1 no scheme", withPseudo(":scheme")],
  ["§8.3.1 no path", withPseudo(":path")],
  ["§8.3.1 an empty path", withPseudo(":path", "")],
  ["§8.3.1 a path without a slash", withPseudo(":path", "p")],
  ["§8.3.1 a space in a path", withPseudo(":path", "/a HTTP/1.1")],
  ["§8.3.1 a line end in a path", withPseudo(":path", "/a\r\nx:")],
  ["§8.3.1 an asterisk without OPTIONS", withPseudo(":path", "*")],
  ["§8.3.1 an empty authority", withPseudo(":authority", "")],
  ["§8.3.1 an authority with a user", withPseudo(":authority", "me@a.test")],
  ["§8.3.1 an authority with a space", withPseudo(":authority", "a b")],
  ["§8.3.1 another Host", [...pseudo, "host", "b.test"]],
  ["RFC 9112 §3.2 two Host fields", [...withPseudo(":authority"), "host", "a.test", "host", "a.test"]],
  ["§8.5 CONNECT with a path", withPseudo(":method", "CONNECT")],
  ["§8.5 CONNECT without an authority", [":method", "CONNECT"]],
  ["§8.1.1 a length without a body", [...pseudo, "content-length", "5"]],
  ["§8.1.1 two lengths", [...pseudo, "content-length", "5", "content-length", "6"], true],
  ["§8.1.1 a length that is no number", [...pseudo, "content-length", "+5"], true],
];

for (const [what, list, hasBody = false] of malformed) {
  test(`malformed: ${what}`, () => {
    const request = readRequest(list, hasBody);
    assert.equal(request.outcome, "malformed", JSON.stringify(request));
  });
}

test("CONNECT goes to the application, which has no tunnels", () => {
  const request = read([":method", "CONNECT", ":authority", "a.test:443"], true);
  assert.equal(headOf(request, false), "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
  assert.equal(plainOf(request), undefined);
});

test("a request is written as HTTP/1.1", () => {
  const list = [...pseudo, "accept", "*/*", "te", "trailers", "cookie", "a=b", "x-a", "1", "cookie", "c=d", "x-a", "2"];
  assert.equal(
    headOf(read(list), false),
    "GET /p?q HTTP/1.1\r\nHost: a.test\r\naccept: */*\r\nx-a: 1\r\nx-a: 2\r\ncookie: a=b; c=d\r\n\r\n",
  );
  assert.equal(
    headOf(read([...withPseudo(":authority"), "host", "b.test"]), true),
    "GET /p?q HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n",
  );
  assert.equal(headOf(read(withPseudo(":authority")), false), "GET /p?q HTTP/1.1\r\n\r\n");
  assert.equal(
    headOf(read([":method", "OPTIONS", ":scheme", "https", ":authority", "a.test", ":path", "*"]), false),
    "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
  );
});

test("the framing of a body is that of HTTP/1.1", () => {
  const post = withPseudo(":method", "POST");
  assert.match(headOf(read(post, true), false), /\r\nTransfer-Encoding: chunked\r\n/);
  assert.match(headOf(read([...post, "content-length", "7"], true), false), /\r\ncontent-length: 7\r\n\r\n$/);
  assert.doesNotMatch(headOf(read([...post, "content-length", "7"], true), false), /Transfer-Encoding/);
  assert.doesNotMatch(headOf(read([...post, "content-length", "0"]), false), /length|Transfer/);
});

test("a request may be a hit if it has no body, and no field that the application has rules for", () => {
  const isPlain = (list: readonly string[], hasBody = false): boolean => plainOf(read(list, hasBody)) !== undefined;
  assert.ok(isPlain(pseudo));
  assert.ok(isPlain(withPseudo(":method", "HEAD")));
  assert.ok(isPlain([...pseudo, "te", "trailers", "cookie", "a", "cookie", "b", "x-a", "1", "x-a", "2"]));
  assert.ok(!isPlain(withPseudo(":method", "POST")));
  assert.ok(!isPlain(pseudo, true));
  assert.ok(!isPlain(withPseudo(":authority")));
  assert.ok(!isPlain(withPseudo(":path", "/a#b")));
  assert.ok(!isPlain(withPseudo(":path", "/\xe4")));
  assert.ok(!isPlain([...pseudo, "authorization", "Basic eDp5"]));
  assert.ok(!isPlain([...pseudo, "cdn-loop", "x"]));
  assert.ok(!isPlain([...pseudo, "expect", "100-continue"]));
  assert.ok(!isPlain([...pseudo, "range", "bytes=0-1", "range", "bytes=2-3"]));
  assert.ok(!isPlain([...pseudo, "accept", ""]));
  assert.ok(!isPlain([...pseudo, "x-a", "\x01"]));
  const plain = plainOf(read([...pseudo, "accept", "image/webp", "range", "bytes=0-1", "x-a", "1"]));
  assert.deepEqual(plain, {
    method: "GET",
    target: "/p?q",
    host: "a.test",
    accept: "image/webp",
    isConditional: true,
    fields: { host: "a.test", accept: "image/webp", range: "bytes=0-1" },
  });
  assert.equal(plainOf(read([...pseudo, "user-agent", "x"]))?.isConditional, false);
});

/** Names and values of a head, by a reader that knows nothing but lines. */
function linesOf(head: string): { first: string; fields: string[] } {
  const [first = "", ...lines] = head.split("\r\n");
  assert.deepEqual(lines.splice(-2), ["", ""], "the head ends once, with an empty line");
  return { first, fields: lines.map((line) => line.replace(": ", "\n")) };
}

test("whatever the list, what is written is one head with the same fields", () => {
  const random = seededRandom(11);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const parts = [
    "a",
    "B",
    " ",
    "\t",
    "\r",
    "\n",
    "\r\n\r\n",
    "\0",
    ":",
    "\xe4",
    "/",
    "GET / HTTP/1.1",
    "x: y",
    "#",
    "@",
  ];
  const text = (): string => Array.from({ length: Math.floor(random() * 4) }, () => pick(parts)).join("");
  let taken = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const list = [":method", pick(["GET", "HEAD", "POST", `G${text()}`])];
    list.push(":scheme", "https", ":path", `/${text()}`);
    if (random() < 0.8) list.push(":authority", random() < 0.5 ? "a.test" : `a${text()}`);
    for (let count = Math.floor(random() * 4); count > 0; count -= 1) {
      list.push(pick(["x", "accept", "range", "cookie", `x${text()}`]), random() < 0.5 ? "v" : `v${text()}`);
    }
    const request = readRequest(list, random() < 0.3);
    if (request.outcome !== "request") continue;
    taken += 1;
    const head = headOf(request, false);
    const { first, fields } = linesOf(head);
    assert.equal(first, `${request.method} ${request.target} HTTP/1.1`);
    const expected = request.host === undefined ? [] : [`Host\n${request.host}`];
    for (let index = 0; index < request.fields.length; index += 2) {
      expected.push(`${request.fields[index]}\n${request.fields[index + 1]}`);
    }
    if (request.cookie !== undefined) expected.push(`cookie\n${request.cookie}`);
    if (request.body === "chunked") expected.push("Transfer-Encoding\nchunked");
    assert.deepEqual(fields, expected);
    // A plain request is one that the front would read in the same way.
    const plain = plainOf(request);
    if (plain === undefined) continue;
    const bytes = Buffer.from(head, "latin1");
    const read1 = newRequestHead();
    assert.equal(readRequestHead(bytes, 0, bytes.length, read1), "whole", JSON.stringify(list));
    assert.equal(read1.isPlain, true, JSON.stringify(list));
    assert.equal(read1.lengthBytes, bytes.length);
  }
  assert.ok(taken > 2000, `${taken} lists are requests`);
});
