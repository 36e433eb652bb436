/** HTTP/1.1 responses read as HTTP/2 has them (RFC 9112), however their bytes are split. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { createResponseReader } from "../../../node/http2/response-reader.ts";

interface Seen {
  interim: [number, readonly string[]][];
  status: number;
  fields: readonly string[];
  body: string;
  trailers: readonly string[];
  ends: number;
  broken: string | undefined;
}

/** What is reported for these pieces. @param closes whether the connection closes behind them */
function seenOf(pieces: readonly Buffer[], { isHead = false, closes = false } = {}): Seen {
  const seen: Seen = { interim: [], status: 0, fields: [], body: "", trailers: [], ends: 0, broken: undefined };
  const reader = createResponseReader({
    interim: (status, fields) => seen.interim.push([status, fields]),
    head(status, fields) {
      assert.equal(seen.status, 0, "one head");
      seen.status = status;
      seen.fields = fields;
    },
    body(bytes) {
      assert.ok(seen.status > 0 && seen.ends === 0 && bytes.length > 0);
      seen.body += bytes.toString("latin1");
    },
    trailers(fields) {
      seen.trailers = fields;
    },
    end() {
      seen.ends += 1;
    },
  });
  reader.begin(isHead);
  for (const piece of pieces) {
    seen.broken = reader.read(piece);
    piece.fill("!"); // its owner may use it again
    if (seen.broken !== undefined) return seen;
  }
  if (closes) seen.broken = reader.close();
  return seen;
}

const singleBytes = (text: string): Buffer[] =>
  Array.from({ length: text.length }, (_, at) => Buffer.from(text.charAt(at), "latin1"));
const whole = (text: string): Buffer[] => [Buffer.from(text, "latin1")];

const responses: readonly [what: string, text: string, expected: Partial<Seen>, options?: object][] = [
  [
    "a length",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\nX-A: c\r\nConnection: close\r\n" +
      "Keep-Alive: timeout=5\r\n\r\nhello",
    { status: 200, fields: ["content-length", "5", "x-a", "b", "x-a", "c"], body: "hello", ends: 1 },
  ],
  ["no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", { fields: ["content-length", "0"], body: "", ends: 1 }],
  ["no reason", "HTTP/1.1 404\r\nContent-Length: 1\r\n\r\nx", { status: 404, body: "x", ends: 1 }],
  [
    "chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, dear all\r\n0\r\n\r\n",
    { fields: [], body: "hello, dear all", ends: 1 },
  ],
  [
    "chunks and trailers",
    "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n",
    { fields: ["trailer", "X-T"], body: "a", trailers: ["x-t", "1", "x-u", "2"], ends: 1 },
  ],
  ["no chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", { body: "", ends: 1 }],
  ["until the end", "HTTP/1.1 200 OK\r\n\r\nall of it", { body: "all of it", ends: 1 }, { closes: true }],
  ["an empty body until the end", "HTTP/1.1 200 OK\r\n\r\n", { body: "", ends: 1 }, { closes: true }],
  ["304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", { status: 304, body: "", ends: 1 }],
  ["204", "HTTP/1.1 204 No Content\r\n\r\n", { status: 204, body: "", ends: 1 }],
  [
    "HEAD",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    { fields: ["content-length", "9"], ends: 1 },
    { isHead: true },
  ],
  [
    "HEAD of chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    { fields: [], ends: 1 },
    { isHead: true },
  ],
  [
    "interim responses",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    {
      interim: [
        [100, []],
        [103, ["link", "</a>"]],
      ],
      status: 200,
      body: "x",
      ends: 1,
    },
  ],
  ["bytes beyond ASCII", "HTTP/1.1 200 \xe4\r\nX-A: \xe4\r\nContent-Length: 1\r\n\r\n\xff", { body: "\xff", ends: 1 }],
];

for (const [what, text, expected, options = {}] of responses) {
  test(`a response with ${what}, split at every byte`, () => {
    const seen = seenOf(whole(text), options);
    assert.equal(seen.broken, undefined);
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(seen[name as keyof Seen], value, name);
    for (let at = 0; at <= text.length; at += 1) {
      const split = [text.slice(0, at), text.slice(at)].map((part) => Buffer.from(part, "latin1"));
      assert.deepEqual(seenOf(split, options), seen, `split at ${at}`);
    }
    const single = singleBytes(text);
    assert.deepEqual(seenOf(single, options), seen, "byte by byte");
  });
}

const broken: readonly [what: string, text: string][] = [
  ["another version", "HTTP/1.0 200 OK\r\n\r\n"],
  ["no status", "HTTP/1.1 OK\r\n\r\n"],
  ["a bare line feed", "HTTP/1.1 200 OK\n\n"],
  ["a field without a colon", "HTTP/1.1 200 OK\r\nX\r\n\r\n"],
  ["a space before a colon", "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n"],
  ["a folded field", "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n"],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
  ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
  ["a length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
  ["a change of the protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
  ["a size that is no number", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"],
  ["a chunk that is too long", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"],
  ["bytes behind its end", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"],
  ["bytes behind its last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"],
  ["a head that does not end", `HTTP/1.1 200 OK\r\n${"X: 1\r\n".repeat(50_000)}`],
  ["a line that does not end", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(300_000)}`],
  ["an interim response that never ends", `HTTP/1.1 103 E\r\n${"X: 1\r\n".repeat(50_000)}`],
];

for (const [what, text] of broken) {
  test(`no response: ${what}`, () => {
    const seen = seenOf(whole(text));
    assert.equal(typeof seen.broken, "string");
    if (text.length < 1000) {
      const single = singleBytes(text);
      assert.equal(seenOf(single).broken, seen.broken, "byte by byte");
    }
  });
}

const incomplete = [
  "",
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
];

test("a connection that closes within a response leaves it incomplete", () => {
  for (const text of incomplete) {
    const seen = seenOf(whole(text), { closes: true });
    assert.equal(seen.broken, "the response is incomplete", JSON.stringify(text));
    assert.equal(seen.ends, 0);
  }
});

test("one reader reads the responses of a connection one after another", () => {
  const ends: string[] = [];
  let body = "";
  const reader = createResponseReader({
    interim: () => assert.fail(),
    head: () => {
      body = "";
    },
    body: (bytes) => (body += bytes.toString()),
    trailers: () => assert.fail(),
    end: () => ends.push(body),
  });
  for (const [text, isHead] of [
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false],
    ["HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", false],
  ] as const) {
    reader.begin(isHead);
    assert.equal(reader.read(Buffer.from(text)), undefined);
  }
  assert.deepEqual(ends, ["a", "", "b"]);
});

test("a body in very many chunks is reported once, however its bytes are split", () => {
  const random = seededRandom(5);
  const size = 400_000;
  const pieces = [Buffer.from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")];
  for (let sent = 0; sent < size; sent += 1) pieces.push(Buffer.from("1\r\nx\r\n").subarray(0, 6));
  pieces.push(Buffer.from("0\r\n\r\n"));
  const bytes = Buffer.concat(pieces);
  const cuts: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const next = at + 1 + Math.floor(random() * 60_000);
    cuts.push(bytes.subarray(at, next));
    at = next;
  }
  let length = 0;
  let ends = 0;
  const reader = createResponseReader({
    interim: () => undefined,
    head: () => undefined,
    body: (part) => (length += part.length),
    trailers: () => undefined,
    end: () => (ends += 1),
  });
  reader.begin(false);
  for (const cut of cuts) assert.equal(reader.read(cut), undefined);
  assert.deepEqual([length, ends], [size, 1]);
});
