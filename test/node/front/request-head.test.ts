/**
 * The front's reader of request heads: a table of what it takes and what it leaves, and a comparison with Node's parser
 * as the listener runs it. What the front calls whole, Node must read as the same request with the same end.
 */
import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import { test, type TestContext } from "node:test";
import { type Random, seededRandom } from "#base/random.ts";
import {
  fieldIn,
  fieldsIn,
  headBytesMax,
  type HeadOutcome,
  isConditional,
  newRequestHead,
  readRequestHead,
} from "../../../node/front/request-head.ts";
import { type Listener, listen } from "../../../node/http/listener.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { openLine, readAnswers } from "../http/raw.ts";

interface Seen {
  outcome: HeadOutcome;
  isPlain: boolean;
  isHead: boolean;
  isConditional: boolean;
  target: string;
  lengthBytes: number;
  fields: Record<string, string>;
}

function see(text: string): Seen {
  const bytes = Buffer.from(text, "latin1");
  const head = newRequestHead();
  const outcome = readRequestHead(bytes, 0, bytes.length, head);
  return {
    outcome,
    isPlain: head.isPlain,
    isHead: head.isHead,
    isConditional: isConditional(head),
    target: bytes.toString("latin1", head.targetStart, head.targetEnd),
    lengthBytes: head.lengthBytes,
    fields: outcome === "whole" ? fieldsIn(bytes, head) : {},
  };
}

/** A request with these lines after its Host field. */
const withLines = (...lines: string[]): string => ["GET /a HTTP/1.1", "Host: x", ...lines, "", ""].join("\r\n");

const browserHead = [
  "GET /pictures/a%20b.jpg?w=300&f=auto HTTP/1.1",
  "Host: img.cdn.test",
  "Connection: keep-alive",
  'sec-ch-ua: "Not A(Brand";v="8"',
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
  "Accept: image/avif,image/webp,*/*;q=0.8",
  "Sec-Fetch-Site: cross-site",
  "Referer: https://example.test/",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: de-DE,de;q=0.9",
  "Cookie: a=b; c=d",
  'If-None-Match: "abc"',
  "",
  "",
].join("\r\n");

test("a browser's head is whole and plain, and its parts are found where they are", () => {
  assert.deepEqual(see(browserHead), {
    outcome: "whole",
    isPlain: true,
    isHead: false,
    isConditional: true,
    target: "/pictures/a%20b.jpg?w=300&f=auto",
    lengthBytes: browserHead.length,
    fields: {
      host: "img.cdn.test",
      accept: "image/avif,image/webp,*/*;q=0.8",
      "accept-encoding": "gzip, deflate, br, zstd",
      "accept-language": "de-DE,de;q=0.9",
      "user-agent": "Mozilla/5.0 (X11; Linux x86_64)",
      "if-none-match": '"abc"',
    },
  } satisfies Seen);
});

const whole: [name: string, text: string, about: Partial<Seen>][] = [
  [
    "the shortest",
    "GET / HTTP/1.1\r\nHost:x\r\n\r\n",
    { isPlain: true, isHead: false, target: "/", fields: { host: "x" } },
  ],
  ["HEAD", "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", { isPlain: true, isHead: true, target: "/a" }],
  ["names in any case", withLines("aCCePT: y", "RANGE: z"), { fields: { host: "x", accept: "y", range: "z" } }],
  ["white space around a value", withLines("Accept: \t y \t "), { isPlain: true, fields: { host: "x", accept: "y" } }],
  ["white space within a value", withLines("Accept: a \t b"), { fields: { host: "x", accept: "a \t b" } }],
  ["obs-text", withLines("Accept: \xff\x80"), { isPlain: true, fields: { host: "x", accept: "\xff\x80" } }],
  [
    "a colon in a value",
    withLines("If-Match: a:b:"),
    { isConditional: true, fields: { host: "x", "if-match": "a:b:" } },
  ],
  ["an unknown field that is empty", withLines("X:", "Y: ", "Z:\t"), { isPlain: true }],
  ["a noted field that is empty", withLines("Accept:"), { isPlain: false, fields: { host: "x", accept: "" } }],
  ["a noted field twice", withLines("Accept: a", "accept: b"), { isPlain: false, fields: { host: "x", accept: "a" } }],
  ["a noted field twice, first empty", withLines("Accept:", "accept: b"), { isPlain: false }],
  ["an unknown field twice", withLines("X: 1", "X: 2"), { isPlain: true }],
  ["Host behind others", "GET / HTTP/1.1\r\nX: 1\r\nHost: y\r\n\r\n", { isPlain: true, fields: { host: "y" } }],
  ["Authorization", withLines("Authorization: Basic eA=="), { isPlain: false }],
  ["CDN-Loop", withLines("cdn-loop: a"), { isPlain: false }],
  ["Connection: keep-alive", withLines("Connection: Keep-Alive"), { isPlain: true }],
  ["Connection: close", withLines("Connection: CLOSE"), { isPlain: false }],
  ["both connections", withLines("Connection: keep-alive", "Connection: close"), { isPlain: false }],
  ["both connections, turned", withLines("Connection: close", "Connection: keep-alive"), { isPlain: false }],
  [
    "names that begin like ours",
    withLines("Hosts: a", "Accept-: b", "Content-Length-: 1", "Tea: 1"),
    { isPlain: true },
  ],
  ["names that end like ours", withLines("X-Host: a", "X-Transfer-Encoding: chunked", "Ate: 1"), { isPlain: true }],
  ["names of the same length as ours", withLines("Host2: a", "Gost: a", "uprrade: b", "ranfe: c"), { isPlain: true }],
  ["@ and ` that are letters without a bit", withLines("`ccept: 1"), { fields: { host: "x" } }],
  ["a query of odd characters", 'GET /?a[]="<>\\^`{|}~ HTTP/1.1\r\nHost: x\r\n\r\n', { target: '/?a[]="<>\\^`{|}~' }],
  ["two slashes", "GET //a//b HTTP/1.1\r\nHost: x\r\n\r\n", { target: "//a//b" }],
  ["dots", "GET /../a HTTP/1.1\r\nHost: x\r\n\r\n", { target: "/../a" }],
  ["a very long name", withLines(`${"n".repeat(4000)}: 1`), { isPlain: true }],
  ["64 fields", withLines(...Array.from({ length: 63 }, (_, index) => `X${index}: 1`)), { isPlain: true }],
  ["as long as may be", withLines(`X: ${"v".repeat(headBytesMax - withLines("X: ").length)}`), { isPlain: true }],
];

test("whole requests, and whether the front may answer them", () => {
  for (const [name, text, about] of whole) {
    const seen = see(text);
    assert.equal(seen.outcome, "whole", name);
    assert.equal(seen.lengthBytes, text.length, name);
    for (const [key, value] of Object.entries(about))
      assert.deepEqual(seen[key as keyof Seen], value, `${name}: ${key}`);
    // What comes behind it changes nothing.
    for (const further of ["G", "\r\n", "\0", "POST / HTTP/1.1\r\n", text]) {
      assert.deepEqual(see(text + further), seen, `${name}, and more`);
    }
  }
});

test("every prefix of a whole request is partial, and never whole", () => {
  for (const [name, text] of [...whole, ["a browser's", browserHead] as const]) {
    for (let length = 0; length < text.length; length += 1) {
      assert.equal(see(text.slice(0, length)).outcome, "partial", `${name}: ${JSON.stringify(text.slice(0, length))}`);
    }
  }
});

/** Includes what proxies and origins may read differently from Node's parser. */
const odd: [name: string, text: string][] = [
  ["another method", "POST / HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a method that begins like ours", "GETS / HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a method in lower case", "get / HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["an empty line first", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a space first", " GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["two spaces before the target", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a tab before the target", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["two spaces behind the target", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a tab behind the target", "GET /\tHTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a space behind the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n"],
  ["absolute-form", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["asterisk-form", "GET * HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["authority-form", "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["DEL in the target", "GET /a\x7fb HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a byte above ASCII in the target", "GET /\xe4 HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["CR in the target", "GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["HTTP/1.0", "GET / HTTP/1.0\r\nHost: x\r\n\r\n"],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n"],
  ["HTTP/2", "GET / HTTP/2.0\r\nHost: x\r\n\r\n"],
  ["HTTP/0.9", "GET /\r\n"],
  ["http in lower case", "GET / http/1.1\r\nHost: x\r\n\r\n"],
  ["a longer version", "GET / HTTP/1.10\r\nHost: x\r\n\r\n"],
  ["another protocol", "GET / RTSP/1.1\r\nHost: x\r\n\r\n"],
  ["bare LF behind the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n"],
  ["bare CR behind the request line", "GET / HTTP/1.1\rHost: x\r\n\r\n"],
  ["bare LF behind a field", "GET / HTTP/1.1\r\nHost: x\nX: 1\r\n\r\n"],
  ["bare CR behind a field", "GET / HTTP/1.1\r\nHost: x\rX: 1\r\n\r\n"],
  ["CR twice behind a field", "GET / HTTP/1.1\r\nHost: x\r\r\nX: 1\r\n\r\n"],
  ["bare LF as the empty line", "GET / HTTP/1.1\r\nHost: x\r\n\n"],
  ["bare CR as the empty line", "GET / HTTP/1.1\r\nHost: x\r\n\rX"],
  ["a folded line (RFC 9112 §5.2)", withLines("X: 1", " 2")],
  ["a folded line with a tab", withLines("X: 1", "\t2")],
  ["a folded empty line", withLines("X: 1", " ")],
  ["a folded first line", "GET / HTTP/1.1\r\n Host: x\r\n\r\n"],
  ["a line without a colon", withLines("X")],
  ["a line without a name", withLines(": x")],
  ["a space before the colon", withLines("Content-Length : 5")],
  ["a tab before the colon", withLines("Transfer-Encoding\t: chunked")],
  ["a space within a name", withLines("X Y: 1")],
  ["NUL in a name", withLines("Content-Length\0: 5")],
  ["a byte above ASCII in a name", withLines("Content-L\xe4ngth: 5")],
  ["a control byte that is a hyphen without a bit", withLines("Content\rLength: 5")],
  ["NUL in a value", withLines("X: a\0b")],
  ["a control byte in a value", withLines("X: a\x01b")],
  ["a vertical tab before a value", withLines("Host2:\x0b5")],
  ["DEL in a value", withLines("X: a\x7fb")],
  ["Content-Length", withLines("Content-Length: 0")],
  ["Content-Length in upper case", withLines("CONTENT-LENGTH: 5")],
  ["Content-Length twice", withLines("Content-Length: 5", "Content-Length: 6")],
  ["Content-Length that is empty", withLines("Content-Length:")],
  ["Transfer-Encoding", withLines("Transfer-Encoding: chunked")],
  ["Transfer-Encoding with white space", withLines("transfer-encoding:\tchunked")],
  ["Transfer-Encoding that is no coding", withLines("Transfer-Encoding: xchunked")],
  ["both lengths", withLines("Content-Length: 5", "Transfer-Encoding: chunked")],
  ["TE", withLines("TE: trailers")],
  ["Trailer", withLines("Trailer: X")],
  ["Expect", withLines("Expect: 100-continue")],
  ["Upgrade", withLines("Upgrade: h2c")],
  ["HTTP2-Settings", withLines("HTTP2-Settings: AAMAAABkAAQAAP__")],
  ["Connection that names a field", withLines("Connection: X")],
  ["Connection with several words", withLines("Connection: keep-alive, close")],
  ["Connection that is empty", withLines("Connection:")],
  ["no Host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n"],
  ["no field", "GET / HTTP/1.1\r\n\r\n"],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"],
  ["an empty Host with white space", "GET / HTTP/1.1\r\nHost: \t \r\n\r\n"],
  ["Host twice", withLines("Host: y")],
  ["the same Host twice", withLines("Host: x")],
  ["Host twice in different case", withLines("hOST: y")],
  ["Host twice, the first empty", "GET / HTTP/1.1\r\nHost:\r\nHost: y\r\n\r\n"],
  ["a name that is longer than may be", withLines(`${"n".repeat(headBytesMax)}: 1`)],
  ["a name without an end", `GET / HTTP/1.1\r\nHost: x\r\n${"n".repeat(headBytesMax)}`],
  ["a target without an end", `GET /${"a".repeat(headBytesMax)}`],
  ["one byte more than may be", withLines(`X: ${"v".repeat(headBytesMax + 1 - withLines("X: ").length)}`)],
  ["65 fields", withLines(...Array.from({ length: 64 }, (_, index) => `X${index}: 1`))],
  ["a TLS client hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["a proxy's line", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"],
];

test("everything else is odd from some byte on, whatever follows", () => {
  for (const [name, text] of odd) {
    assert.equal(see(text).outcome, "odd", name);
    assert.equal(see(`${text}${browserHead}`).outcome, "odd", `${name}, and more`);
    let isOdd = false;
    for (let length = 0; length <= text.length; length += 1) {
      const { outcome } = see(text.slice(0, length));
      assert.ok(outcome === "odd" || (outcome === "partial" && !isOdd), `${name}: ${length} bytes are ${outcome}`);
      isOdd = outcome === "odd";
    }
  }
});

test("a head can begin at any offset, and a reused record keeps nothing of the previous request", () => {
  const head = newRequestHead();
  const bytes = Buffer.from(`${browserHead}${withLines("Range: bytes=0-1")}${withLines()}`);
  assert.equal(readRequestHead(bytes, 0, bytes.length, head), "whole");
  let at = head.lengthBytes;
  assert.equal(readRequestHead(bytes, at, bytes.length, head), "whole");
  assert.deepEqual(fieldsIn(bytes, head), { host: "x", range: "bytes=0-1" });
  assert.equal(bytes.toString("latin1", head.targetStart, head.targetEnd), "/a");
  assert.equal(isConditional(head), true);
  at += head.lengthBytes;
  assert.equal(readRequestHead(bytes, at, bytes.length, head), "whole");
  assert.equal(at + head.lengthBytes, bytes.length);
  assert.equal(fieldIn(bytes, head, "range"), undefined);
  assert.equal(isConditional(head), false);
  // Bytes behind the end are not looked at.
  assert.equal(readRequestHead(bytes, at, bytes.length - 1, head), "partial");
});

// What follows compares with Node's parser.

interface NodesRequest {
  method: string;
  target: string;
  rawHeaders: string[];
}

const tellsAll: RequestListener = ({ method, url, rawHeaders }, response) => {
  const body = Buffer.from(JSON.stringify({ method, target: url, rawHeaders }), "latin1");
  response.writeHead(200, { "Content-Length": String(body.length), "X-Asked": method === "HEAD" ? encoded(body) : "" });
  response.end(body);
};

/** The response to HEAD has no body, so it reports in a field. */
function encoded(body: Buffer): string {
  return body.toString("base64");
}

async function startTelling(t: TestContext): Promise<Listener> {
  const listener = await listen("127.0.0.1", 0, tellsAll);
  t.after(() => listener.close(0));
  return listener;
}

const lastHead = "GET /the-end HTTP/1.1\r\nHost: end\r\nConnection: close\r\n\r\n";

/** The requests that Node's server finds in the bytes, up to the end. */
async function readByNode(listener: Listener, text: string, count: number): Promise<(NodesRequest | number)[]> {
  const line = await openLine(listener);
  line.send(Buffer.from(text, "latin1"));
  const isHead = text.startsWith("HEAD");
  const answered = await line.rest();
  // A response to HEAD is followed by others: they are cut at their status lines.
  const parts = answered.split(/(?=HTTP\/1\.1 \d{3} )/);
  assert.ok(parts.length <= count + 1, answered);
  return parts.map((part, index) => {
    const [answer] = readAnswers(part, { isHead: isHead && index === 0 });
    assert.ok(answer !== undefined);
    if (answer.status !== 200) return answer.status;
    const told = answer.fields.get("x-asked")?.[0] ?? "";
    const body = told === "" ? answer.body : Buffer.from(told, "base64");
    return JSON.parse(body.toString("latin1")) as NodesRequest;
  });
}

/** Node must see in `text` the one request that the front sees, and then the last one. */
async function assertAlike(listener: Listener, text: string, where: string): Promise<void> {
  const seen = see(text);
  const isLast = /^connection:[ \t]*close/im.test(text.slice(0, seen.lengthBytes));
  const requests = await readByNode(listener, text.slice(0, seen.lengthBytes) + (isLast ? "" : lastHead), 2);
  assert.equal(requests.length, isLast ? 1 : 2, where);
  const [first, last] = requests;
  assert.ok(typeof first === "object", `${where}: Node answers ${JSON.stringify(first)}`);
  assert.equal(first.method, seen.isHead ? "HEAD" : "GET", where);
  assert.equal(first.target, seen.target, where);
  const values: Record<string, string[]> = {};
  for (let index = 0; index < first.rawHeaders.length; index += 2) {
    const name = (first.rawHeaders[index] ?? "").toLowerCase();
    values[name] = [...(values[name] ?? []), first.rawHeaders[index + 1] ?? ""];
  }
  const notedNames = Object.keys(allNoted.fields);
  const expected = notedNames.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name][0]]]));
  assert.deepEqual(seen.fields, Object.fromEntries(expected), where);
  if (seen.isPlain) {
    for (const name of notedNames) assert.ok((values[name]?.length ?? 1) === 1, `${where}: ${name} twice is plain`);
  }
  for (const name of ["content-length", "transfer-encoding", "expect", "upgrade"]) {
    assert.equal(values[name], undefined, `${where}: ${name}`);
  }
  if (!isLast) assert.deepEqual(typeof last === "object" ? last.target : last, "/the-end", where);
}

const everyNotedField = [
  "Accept: a",
  "Accept-Encoding: b",
  "Accept-Language: c",
  "User-Agent: d",
  "Range: bytes=0-1",
  'If-Range: "e"',
  'If-None-Match: "f"',
  "If-Modified-Since: Mon, 01 Jun 2026 00:00:00 GMT",
  'If-Match: "g"',
  "If-Unmodified-Since: Mon, 01 Jun 2026 00:00:00 GMT",
];
const allNoted = see(withLines(...everyNotedField));

test("Node reads each whole request of the table in the same way", async (t) => {
  const listener = await startTelling(t);
  for (const [name, text] of whole) await assertAlike(listener, text, name);
  await assertAlike(listener, browserHead, "a browser's");
});

/** Bytes that parsers disagree about more often than others. */
const telling = "\r\n\0\t :;,/#?%@-_\x0b\x0c\x1f\x7f\x80\x85\xa0\xffAZaz09";

/** One of the ways in which a head may be damaged. */
function mutated(text: string, random: Random): string {
  const pick = (length: number): number => Math.floor(random() * length);
  const at = pick(text.length + 1);
  const byte = random() < 0.7 ? telling.charAt(pick(telling.length)) : String.fromCharCode(pick(256));
  switch (pick(7)) {
    case 0:
      return text.slice(0, at) + byte + text.slice(at);
    case 1:
      return text.slice(0, at) + byte + text.slice(at + 1);
    case 2:
      return text.slice(0, at) + text.slice(at + 1);
    case 3: {
      // A line twice, or one of another request.
      const lines = text.split("\r\n");
      const from = random() < 0.5 ? lines : others;
      lines.splice(1 + pick(Math.max(1, lines.length - 2)), 0, from[pick(from.length)] ?? "");
      return lines.join("\r\n");
    }
    case 4: {
      const lines = text.split("\r\n");
      lines.splice(pick(lines.length), 1);
      return lines.join("\r\n");
    }
    case 5:
      return text.slice(0, at) + text.charAt(at).toUpperCase() + text.slice(at + 1);
    default:
      return text.slice(0, at) + String.fromCharCode((text.charCodeAt(at) || 0) ^ (1 << pick(8))) + text.slice(at + 1);
  }
}

const others = [
  ...everyNotedField,
  "Host: y",
  "Content-Length: 3",
  "Transfer-Encoding: chunked",
  "Connection: close",
  "Connection: keep-alive",
  "Expect: 100-continue",
  "Upgrade: websocket",
  "X: 1",
  " folded",
  "",
];

test("Node reads each damaged request that is whole as the same request with the same end", async (t) => {
  const seed = seedOr(12);
  const random = seededRandom(seed);
  const listener = await startTelling(t);
  const heads = [browserHead, withLines(...everyNotedField), ...whole.slice(0, 14).map(([, text]) => text)];
  const counts: Record<HeadOutcome, number> = { whole: 0, partial: 0, odd: 0 };
  const batch: Promise<void>[] = [];
  for (let round = 0; round < rounds(6000, 60_000); round += 1) {
    let text = heads[Math.floor(random() * heads.length)] ?? "";
    for (let count = Math.floor(random() * 3); count >= 0; count -= 1) text = mutated(text, random);
    const { outcome } = see(text);
    counts[outcome] += 1;
    if (outcome !== "whole") continue;
    batch.push(assertAlike(listener, text, `SEED=${seed} round ${round} ${JSON.stringify(text)}`));
    if (batch.length === 50) await Promise.all(batch.splice(0));
  }
  await Promise.all(batch);
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.whole > 1000 && counts.odd > 1000, "the damage is neither too small nor too large");
});

test("with any byte in any place of a small request, Node reads what stays whole in the same way", async (t) => {
  const listener = await startTelling(t);
  const text = "GET /a HTTP/1.1\r\nHost: x\r\nRange: y\r\n\r\n";
  const batch: Promise<void>[] = [];
  for (let at = 0; at < text.length; at += 1) {
    for (let byte = 0; byte < 256; byte += rounds(3, 1)) {
      const changed = text.slice(0, at) + String.fromCharCode((byte + at) % 256) + text.slice(at + 1);
      if (see(changed).outcome !== "whole") continue;
      batch.push(assertAlike(listener, changed, JSON.stringify(changed)));
      if (batch.length === 50) await Promise.all(batch.splice(0));
    }
  }
  await Promise.all(batch);
});
