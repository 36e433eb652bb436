/**
 * The same requests, in the same groups and pieces, to two edges that are alike: one is asked through the front, the
 * other without. Their responses must be equal, and what they asked their origins and told their metrics.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test, type TestContext } from "node:test";
import { type Random, seededRandom } from "#base/random.ts";
import type { Listener } from "../../../node/http/listener.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { photograph } from "../../support/pictures.ts";
import { type Answer, openLine, readAnswers } from "../../node/http/raw.ts";
import { hostName, otherHostName, type RunningEdge, startEdge } from "./running-edge.ts";
import type { Said, ScriptedOrigin } from "./scripted-origin.ts";

const imagesHostName = "img.cdn.test";
const lastModified = "Mon, 01 Jun 2026 00:00:00 GMT";

/** What the origin says for a target, fetched once before the comparison begins. */
const stored: Record<string, Said> = {
  "/a": {
    fields: [
      ["Cache-Control", "max-age=60, stale-if-error=60"],
      ["ETag", '"1"'],
      ["Last-Modified", lastModified],
      ["Content-Type", "text/plain"],
    ],
    body: "0123456789",
  },
  "/weak": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["ETag", 'W/"w"'],
    ],
    body: "weak",
  },
  "/bare": { fields: [["Cache-Control", "max-age=100000"]], body: "bare", date: null },
  "/short": {
    fields: [
      ["Cache-Control", "max-age=2"],
      ["ETag", '"s"'],
    ],
    body: "short",
  },
  "/large": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["ETag", '"l"'],
    ],
    body: Buffer.alloc(300_000, "large "),
  },
  "/middling": { fields: [["Cache-Control", "max-age=100000"]], body: Buffer.alloc(9000, "middling ") },
  "/chunked": { fields: [["Cache-Control", "max-age=100000"]], body: "chunked", framing: "chunked" },
  "/empty": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["ETag", '"e"'],
    ],
    body: "",
  },
  "/none": { status: 204, fields: [["Cache-Control", "max-age=100000"]] },
  "/gone": { status: 410, fields: [["Cache-Control", "max-age=100000"]], body: "gone" },
  "/moved": {
    status: 301,
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Location", "/a"],
    ],
    body: "",
  },
  "/missing": { status: 404, fields: [["Cache-Control", "max-age=100000"]], body: "missing" },
  "/many": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Link", "</a>; rel=preload"],
      ["Link", "</b>; rel=preload"],
      ["X-Latin", "\xe4\xf6"],
      ["Surrogate-Key", "one two"],
      ["Expires", "Thu, 01 Jan 2099 00:00:00 GMT"],
      ["Age", "7"],
    ],
    body: "many",
  },
  "/vary": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Vary", "Accept-Encoding"],
    ],
    body: "vary",
  },
  "/language": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Vary", "Accept-Language, User-Agent"],
    ],
    body: "hi",
  },
  "/origin": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Vary", "Origin, Cookie"],
    ],
    body: "any",
  },
  "/a?q=1&r=%20": { fields: [["Cache-Control", "max-age=100000"]], body: "a query" },
};

/** What is asked for at each time. */
const unstored: Record<string, Said> = {
  "/private": { fields: [["Cache-Control", "private"]], body: "private" },
  "/no-store": { fields: [["Cache-Control", "no-store"]], body: "no-store" },
  "/cookie": {
    fields: [
      ["Cache-Control", "max-age=9"],
      ["Set-Cookie", "a=b"],
    ],
    body: "cookie",
  },
  "/star": {
    fields: [
      ["Cache-Control", "max-age=9"],
      ["Vary", "*"],
    ],
    body: "star",
  },
  "/failing": { status: 500, fields: [["Cache-Control", "no-store"]], body: "failing" },
};

const firstsMax = 400;

function tellOrigin(origin: ScriptedOrigin, picture: Buffer): void {
  for (const [target, said] of Object.entries({ ...stored, ...unstored })) origin.say(target, said);
  for (let index = 0; index < firstsMax; index += 1) {
    const fields = [
      ["Cache-Control", "max-age=100000"],
      ["ETag", `"f${index}"`],
    ] as const;
    origin.say(`/first/${index}`, { fields, body: `first ${index}` });
  }
  const etag = `"${createHash("sha256").update(picture).digest("hex")}"`;
  for (const name of ["p.jpg", "q.jpg"]) {
    origin.say(`/api/v1/images/${name}`, ({ fields }) =>
      fields["if-none-match"]?.includes(etag) === true
        ? { status: 304, fields: [["ETag", etag]] }
        : { fields: [["ETag", etag]], body: picture },
    );
  }
}

const lines = {
  any: [
    "Accept-Encoding: gzip, br",
    "Accept-Encoding: identity",
    "Accept-Language: de",
    "accept-language: en;q=0.5, de",
    "User-Agent: x/1",
    "User-Agent:",
    "Cookie: a=b",
    "Origin: https://example.test",
    "Cache-Control: no-cache",
    "Cache-Control: only-if-cached",
    "Pragma: no-cache",
    "Connection: keep-alive",
    "CDN-Loop: other",
    "X-Forwarded-For: 192.0.2.1",
    "X-Y: \xb5",
    "Accept: image/avif,image/webp,*/*",
    "Accept: image/webp",
    "accept: text/html\t",
    "Accept: */*, image/avif;q=0",
  ],
  conditions: [
    'If-None-Match: "1"',
    'If-None-Match: W/"1", "x"',
    "If-None-Match: *",
    'if-none-match: W/"w"',
    'If-None-Match: "s"',
    "If-None-Match: junk",
    `If-Modified-Since: ${lastModified}`,
    "If-Modified-Since: Sun, 31 May 2026 00:00:00 GMT",
    "If-Modified-Since: junk",
    'If-Match: "1"',
    'If-Match: "2"',
    "If-Match: *",
    "If-Unmodified-Since: Sun, 31 May 2026 00:00:00 GMT",
    `If-Unmodified-Since: ${lastModified}`,
    "Range: bytes=0-3",
    "Range: bytes=4-",
    "Range: bytes=-3",
    "Range: bytes=2-1",
    "Range: bytes=999999-",
    "Range: bytes=0-0,2-3",
    "Range: lines=1-2",
    "Range:",
    'If-Range: "1"',
    'If-Range: "2"',
    `If-Range: ${lastModified}`,
  ],
};

const odd = {
  targets: ["//", "/%zz", "/a%2fb", "/../a", "/a/./b", "/%00", "/\\", "/a?%", "/?", `/${"l".repeat(3000)}`, "/a|b^c"],
  hosts: [
    "unknown.test",
    "192.0.2.1",
    "[::1]",
    "localhost:80",
    "a b",
    "-",
    "x".repeat(300),
    "img.cdn.test:",
    "\xe4.test",
  ],
  parameters: ["w=0", "w=a", "x=1", "w=20&w=30", "q=101", "f=bmp", "w=20&h", "%zz", "fit=cover&w=20&h=20"],
};

interface Request {
  isHead: boolean;
  text: string;
}

function randomRequest(random: Random): Request {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const some = (list: readonly string[], chance: number): string[] =>
    list.filter(() => random() < chance / list.length);
  const isHead = random() < 0.15;
  const fields = some(lines.any, 1.2);
  let host = random() < 0.9 ? hostName : otherHostName;
  let target: string;
  const kind = random();
  if (kind < 0.5) {
    target = pick(Object.keys(stored));
    if (host === hostName) fields.push(...some(lines.conditions, 0.9));
  } else if (kind < 0.6) {
    target = pick(Object.keys(unstored));
  } else if (kind < 0.7) {
    target = `/first/${Math.floor(random() * firstsMax)}`;
  } else if (kind < 0.9) {
    host = random() < 0.8 ? imagesHostName : pick(["IMG.cdn.TEST", "img.cdn.test.", "img.cdn.test:80", "127.0.0.1"]);
    const parameters =
      random() < 0.8 ? pick(["w=20", "w=30&f=webp", "w=20&f=auto", "", "w=20&h=10"]) : pick(odd.parameters);
    target = `/${pick(["p.jpg", "p.jpg", "q.jpg", "none.jpg"])}${parameters === "" ? "" : "?"}${parameters}`;
    fields.push(...some(lines.conditions, 0.5));
  } else if (kind < 0.95) {
    target = pick(odd.targets);
    host = pick([hostName, imagesHostName]);
  } else {
    target = pick(["/a", "/p.jpg?w=20"]);
    host = pick(odd.hosts);
  }
  if (random() < 0.03) fields.push("Authorization: Basic eDp5");
  fields.splice(Math.floor(random() * (fields.length + 1)), 0, `${random() < 0.8 ? "Host" : "hOST"}: ${host}`);
  return { isHead, text: [`${isHead ? "HEAD" : "GET"} ${target} HTTP/1.1`, ...fields, "", ""].join("\r\n") };
}

/** Ends a group: the front does not answer requests that close their connection. */
const last: Request = { isHead: false, text: "GET / HTTP/1.1\r\nHost: unknown.test\r\nConnection: close\r\n\r\n" };

/** Pieces of the bytes, cut at random. */
function randomPieces(bytes: Buffer, random: Random): Buffer[] {
  const count = random() < 0.5 ? 0 : Math.floor(random() * 5);
  const cuts = Array.from({ length: count }, () => Math.floor(random() * bytes.length)).toSorted((a, b) => a - b);
  return [0, ...cuts].map((start, index) => bytes.subarray(start, cuts[index] ?? bytes.length));
}

async function ask(listener: Listener, pieces: readonly Buffer[], group: readonly Request[]): Promise<Answer[]> {
  const line = await openLine(listener);
  line.socket.setNoDelay(true);
  for (const [index, piece] of pieces.entries()) {
    if (index > 0) await new Promise((resolve) => setImmediate(resolve));
    line.send(piece);
  }
  return readAnswers(await line.rest(), { isHead: group.map(({ isHead }) => isHead) });
}

/** A response without what may differ: its moment, how long it took, and the number of its request. */
function comparable({ status, reason, fields, body }: Answer): unknown {
  const isProblem = fields.get("content-type")?.[0]?.startsWith("application/problem+json") === true;
  const told = [...fields].flatMap(([name, values]) => {
    if (name === "date") return [[name]];
    if (name === "server-timing") return [[name, ...values.map((value) => value.replaceAll(/dur=[\d.]+/g, "dur"))]];
    if (name === "content-length" && isProblem) return [[name]];
    return [[name, ...values]];
  });
  const text = body.toString("latin1");
  return { status, reason, told, body: isProblem ? text.replace(/"requestId":"[^"]*"/, "") : text };
}

async function openBoth(t: TestContext): Promise<[RunningEdge, RunningEdge]> {
  const picture = await photograph(1, { width: 64, height: 48 });
  // A second question to a slow origin would be a matter of the machine's load.
  const settings = { host: { hedging: false }, otherHost: { hedging: false }, decoders: 1 };
  const edges = [await startEdge(t, settings), await startEdge(t, settings)] as const;
  for (const edge of edges) {
    tellOrigin(edge.origin, picture);
    for (const host of [hostName, otherHostName]) {
      for (const target of Object.keys(stored)) await edge.ask(target, { host });
    }
    for (const parameters of ["?w=20", "?w=20&f=auto"]) await edge.ask(`/p.jpg${parameters}`, { host: imagesHostName });
    await edge.flushed();
  }
  return [...edges];
}

test("responses are the same with and without the front", async (t) => {
  const seed = seedOr(2026);
  const random = seededRandom(seed);
  const [fronted, alone] = await openBoth(t);
  const askedBefore = alone.byFront();
  const wanted = rounds(2000, 100_000);
  const words = new Map<string, number>();
  for (let asked = 0; asked < wanted;) {
    const count = random() < 0.4 ? 1 : 1 + Math.floor(random() * 8);
    const group = [...Array.from({ length: count }, () => randomRequest(random)), last];
    asked += count;
    const text = group.map((one) => one.text).join("");
    const pieces = randomPieces(Buffer.from(text, "latin1"), random);
    const where = `SEED=${seed}, request ${asked}: ${JSON.stringify(text)}`;
    const [one, other] = await Promise.all([
      ask(fronted.listeners().fronted, pieces, group),
      ask(alone.listeners().alone, pieces, group),
    ]);
    assert.deepEqual(one.map(comparable), other.map(comparable), where);
    assert.equal(one.length, group.length, where);
    await Promise.all([fronted.flushed(), alone.flushed()]);
    const [mine, theirs] = [fronted, alone].map(({ served }) =>
      served
        .slice(-group.length)
        .map(({ host, kind, outcome, status, bodyBytes }) => [host, kind, outcome, status, bodyBytes]),
    );
    assert.deepEqual(mine, theirs, where);
    for (const { outcome } of fronted.served.slice(-group.length)) words.set(outcome, (words.get(outcome) ?? 0) + 1);
    if (random() < 0.1) for (const edge of [fronted, alone]) edge.skip(1);
  }
  t.diagnostic(JSON.stringify({ ...Object.fromEntries(words), byFront: fronted.byFront() }));
  assert.ok(fronted.byFront() > wanted / 3, "the front answers most of the hits");
  assert.equal(alone.byFront(), askedBefore, "who is alone has no front");
  for (const word of ["hit", "miss", "error"]) assert.ok((words.get(word) ?? 0) > wanted / 100, word);
  for (const target of [...Object.keys({ ...stored, ...unstored }), "/api/v1/images/p.jpg"]) {
    const [mine, theirs] = [fronted, alone].map(({ origin }) => origin.asked(target).map(({ method }) => method));
    assert.deepEqual(mine, theirs, `questions to the origin for ${target}`);
  }
});
