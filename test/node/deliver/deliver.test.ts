import assert from "node:assert/strict";
import { once } from "node:events";
import { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";
import { headerBlockOf } from "../../../node/cache/object.ts";
import { listen } from "../../../node/http/listener.ts";
import { deliver, type Sent } from "../../../node/deliver/deliver.ts";
import type { Body } from "#base/body.ts";
import { http1Sink } from "../../../node/http/http1-sink.ts";
import { systemClock } from "#base/clock.ts";
import type { Delivery, Outcome } from "../../../node/deliver/outcome.ts";
import { openTransfers } from "../../support/transfers.ts";
import { readCacheStatus } from "../http/cache-status.ts";
import { type Answer, exchange, fieldOf, openLine, readAnswer, request } from "../http/raw.ts";

const text = Buffer.from("0123456789");
const bytes = (of: Buffer): Body => ({ kind: "bytes", bytes: of });
const modified = "Sat, 29 Oct 1994 19:43:31 GMT";
const hit: Outcome = { word: "hit", tier: "memory", ttlSeconds: 50 };

function delivery(parts: Partial<Delivery> = {}): Delivery {
  return {
    outcome: hit,
    status: 200,
    headerBlock: headerBlockOf([
      ["Content-Type", "text/plain"],
      ["Content-Language", "en"],
      ["ETag", '"a"'],
      ["Last-Modified", modified],
    ]),
    headers: [
      ["Cache-Control", "public, max-age=60"],
      ["Vary", "Accept"],
    ],
    body: bytes(text),
    lengthBytes: text.length,
    etag: '"a"',
    lastModified: modified,
    ageSeconds: 10,
    timings: {},
    ...parts,
  };
}

/** A passing answer: its body can be read once. */
function passing(stream: Readable, parts: Partial<Delivery> = {}): Delivery {
  return delivery({
    outcome: { word: "bypass", reason: "no-store", isCollapsed: false },
    body: { kind: "stream", stream },
    lengthBytes: null,
    ageSeconds: null,
    ...parts,
  });
}

/** A server that answers everything with what the test says. */
async function startServer(t: TestContext, next: () => Delivery, node = "fra1") {
  const sent: Promise<Sent>[] = [];
  const rules = openTransfers(systemClock);
  const context = { node, startedMs: 100, nowMs: 112.34, rules, share: () => "test" };
  const listener = await listen("127.0.0.1", 0, (asked, response) => {
    sent.push(Promise.resolve(deliver(asked, next(), http1Sink(response), context)));
  });
  t.after(() => listener.close(0));
  return { listener, sent, rules };
}

/** One request for one delivery. */
async function ask(
  t: TestContext,
  asked: { delivery?: Delivery; line?: string; fields?: readonly string[] } = {},
): Promise<{ answer: Answer; sent: unknown }> {
  const { listener, sent } = await startServer(t, () => asked.delivery ?? delivery());
  const answer = await request(listener, asked.line ?? "GET /", ["Host: x", ...(asked.fields ?? [])]);
  const { end, ...rest } = (await sent[0]) ?? { end: undefined };
  assert.equal(end, "complete");
  return { answer, sent: rest };
}

/** The fields of an answer, without those of its connection and its moment. */
function essence(answer: Answer): Record<string, string> {
  const passingNames = new Set(["date", "connection", "keep-alive"]);
  return Object.fromEntries(
    [...answer.fields].filter(([name]) => !passingNames.has(name)).map(([name, values]) => [name, values.join(" & ")]),
  );
}

const cacheFields = {
  age: "10",
  "cache-status": "fra1; hit; ttl=50; detail=memory",
  "server-timing": "cache;desc=hit, total;dur=12.3",
};
const contentFields = { "content-type": "text/plain", "content-language": "en" };
const validators = { etag: '"a"', "last-modified": modified };
const lifetime = { "cache-control": "public, max-age=60", vary: "Accept" };

test("a whole answer has the object's fields, those of its URL, and what this node adds", async (t) => {
  const { answer, sent } = await ask(t);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body, text);
  assert.deepEqual(essence(answer), {
    ...contentFields,
    ...validators,
    ...lifetime,
    ...cacheFields,
    "accept-ranges": "bytes",
    "content-length": "10",
  });
  assert.deepEqual(sent, { status: 200, bodyBytes: 10 });
  assert.ok(fieldOf(answer, "date") !== undefined);
});

test("HEAD has the fields of GET and no body, knows conditions and no ranges (RFC 9110 §9.3.2, §14.2)", async (t) => {
  const get = await ask(t);
  const head = await ask(t, { line: "HEAD /", fields: ["Range: bytes=0-1"] });
  assert.deepEqual(essence(head.answer), essence(get.answer));
  assert.equal(head.answer.body.length, 0);
  assert.deepEqual(head.sent, { status: 200, bodyBytes: 0 });
  const unchanged = await ask(t, { line: "HEAD /", fields: ['If-None-Match: "a"'] });
  assert.equal(unchanged.answer.status, 304);
  assert.deepEqual((await ask(t, { line: "HEAD /", fields: ['If-Match: "b"'] })).answer.status, 412);
});

test("a 304 repeats what a cache needs to know again, and nothing of the content (RFC 9110 §15.4.5)", async (t) => {
  const block = headerBlockOf([
    ["Content-Type", "text/plain"],
    ["content-location", "/a.txt"],
    ["ETag", '"a"'],
    ["EXPIRES", modified],
    ["Content-Encoding", "gzip"],
    ["X-Own", "1"],
    ["Date", modified],
  ]);
  const { answer, sent } = await ask(t, { delivery: delivery({ headerBlock: block }), fields: ['If-None-Match: "a"'] });
  assert.equal(answer.status, 304);
  assert.deepEqual(essence(answer), {
    ...lifetime,
    ...cacheFields,
    "content-location": "/a.txt",
    etag: '"a"',
    expires: modified,
  });
  assert.equal(fieldOf(answer, "date"), modified, "the origin's date is sent on, and no second one beside it");
  assert.deepEqual(sent, { status: 304, bodyBytes: 0 });
});

test("several fields of one condition are one list (RFC 9110 §5.3), several Range fields no range", async (t) => {
  const rows: [fields: string[], status: number][] = [
    [['If-None-Match: "b"', 'If-None-Match: "a"'], 304],
    [['If-Match: "b"', 'If-Match: "a"'], 200],
    [["Range: bytes=0-1", "Range: bytes=2-3"], 200],
    [["Range: bytes=0-1", 'If-Range: "a"'], 206],
    [["Range: bytes=0-1", 'If-Range: "b"'], 200],
    [[`If-Modified-Since: ${modified}`], 304],
    [["If-Unmodified-Since: Sat, 29 Oct 1994 19:43:30 GMT"], 412],
  ];
  for (const [fields, status] of rows) {
    assert.equal((await ask(t, { fields })).answer.status, status, fields.join());
  }
});

test("a range is a 206 with its place in the whole (RFC 9110 §14.4, §15.3.7)", async (t) => {
  const rows: [range: string, contentRange: string, body: string][] = [
    ["bytes=2-4", "bytes 2-4/10", "234"],
    ["bytes=7-", "bytes 7-9/10", "789"],
    ["bytes=-1", "bytes 9-9/10", "9"],
    ["bytes=0-99", "bytes 0-9/10", "0123456789"],
  ];
  for (const [range, contentRange, body] of rows) {
    const { answer, sent } = await ask(t, { fields: [`Range: ${range}`] });
    assert.equal(answer.status, 206, range);
    assert.equal(answer.body.toString(), body, range);
    assert.deepEqual(
      essence(answer),
      {
        ...contentFields,
        ...validators,
        ...lifetime,
        ...cacheFields,
        "content-range": contentRange,
        "content-length": String(body.length),
      },
      range,
    );
    assert.deepEqual(sent, { status: 206, bodyBytes: body.length }, range);
  }
});

test("416 and 412 have nothing of the content, and are not to be kept in its stead (RFC 9110 §15.5.17)", async (t) => {
  const block = headerBlockOf([
    ["Content-Type", "text/plain"],
    ["Content-Encoding", "gzip"],
    ["ETag", '"a"'],
    ["Expires", modified],
    ["CDN-Cache-Control", "max-age=60"],
  ]);
  const rows: [field: string, status: number, more: Record<string, string>][] = [
    ["Range: bytes=10-", 416, { "content-range": "bytes */10" }],
    ['If-Match: "b"', 412, {}],
  ];
  for (const [field, status, more] of rows) {
    const { answer, sent } = await ask(t, { delivery: delivery({ headerBlock: block }), fields: [field] });
    assert.equal(answer.status, status, field);
    assert.deepEqual(
      essence(answer),
      { ...cacheFields, ...more, vary: "Accept", etag: '"a"', "cache-control": "no-store", "content-length": "0" },
      field,
    );
    assert.deepEqual(sent, { status, bodyBytes: 0 }, field);
  }
});

test("Age is there when the answer was kept, also when it is 0 (RFC 9111 §5.1)", async (t) => {
  const rows: [ageSeconds: number | null, age: string | undefined][] = [
    [null, undefined],
    [0, "0"],
    [86_400, "86400"],
  ];
  for (const [ageSeconds, age] of rows) {
    const { answer } = await ask(t, { delivery: delivery({ ageSeconds }) });
    assert.equal(fieldOf(answer, "age"), age, String(ageSeconds));
  }
});

test("each outcome is said in Cache-Status by the grammar of RFC 9211", async (t) => {
  const miss = { word: "miss", reason: "uri-miss", isStored: true, isCollapsed: false, detail: "rendered" } as const;
  const rows: [outcome: Outcome, parameters: Record<string, string | number | boolean>][] = [
    [hit, { hit: true, ttl: 50, detail: "memory" }],
    [
      { word: "hit", tier: "disk", ttlSeconds: 0 },
      { hit: true, ttl: 0, detail: "disk" },
    ],
    [
      { word: "stale", tier: "memory", reason: "revalidating", ttlSeconds: -3 },
      { hit: true, ttl: -3, detail: "memory-revalidating" },
    ],
    [
      { word: "stale", tier: "disk", reason: "origin-error", ttlSeconds: -86_400 },
      { fwd: "stale", ttl: -86_400, detail: "disk-origin-error" },
    ],
    [
      { ...miss, ttlSeconds: 60 },
      { fwd: "uri-miss", stored: true, ttl: 60, detail: "rendered" },
    ],
    [
      { ...miss, reason: "vary-miss", isStored: false, isCollapsed: true, ttlSeconds: 60 },
      { fwd: "vary-miss", collapsed: true, ttl: 60, detail: "rendered" },
    ],
    [
      { ...miss, reason: "stale", isCollapsed: true, ttlSeconds: 60 },
      { fwd: "stale", stored: true, collapsed: true, ttl: 60, detail: "rendered" },
    ],
    [
      { word: "bypass", reason: "set-cookie", isCollapsed: false },
      { fwd: "bypass", detail: "set-cookie" },
    ],
  ];
  let current: Outcome = hit;
  for (const node of ["fra1", "1fra", "0"]) {
    const { listener } = await startServer(t, () => delivery({ outcome: current }), node);
    for (const [outcome, parameters] of rows) {
      current = outcome;
      const answer = await request(listener, "GET /", ["Host: x"]);
      const row = `${node}: ${JSON.stringify(outcome)}`;
      const members = readCacheStatus(fieldOf(answer, "cache-status") ?? "");
      assert.deepEqual(
        members.map(({ name, parameters: said }) => ({ name, said: Object.fromEntries(said) })),
        [{ name: node, said: parameters }],
        row,
      );
    }
  }
});

test("Cache-Status of the caches before this one stays, as a member of its own in front (RFC 9211 §2)", async (t) => {
  const headers = [["Cache-Status", "shield; fwd=miss; stored"]] as const;
  const { answer } = await ask(t, { delivery: delivery({ headers }) });
  const members = readCacheStatus((answer.fields.get("cache-status") ?? []).join(", "));
  assert.deepEqual(
    members.map(({ name }) => name),
    ["shield", "fra1"],
  );
});

test("Server-Timing names the outcome and what the parts of the work took", async (t) => {
  const rows: [timings: Delivery["timings"], value: string][] = [
    [{}, "cache;desc=hit, total;dur=12.3"],
    [{ fetchMs: 1.25 }, "cache;desc=hit, fetch;dur=1.3, total;dur=12.3"],
    [{ renderMs: 0 }, "cache;desc=hit, render;dur=0.0, total;dur=12.3"],
    [{ fetchMs: 1, renderMs: 2.04 }, "cache;desc=hit, fetch;dur=1.0, render;dur=2.0, total;dur=12.3"],
  ];
  for (const [timings, value] of rows) {
    const { answer } = await ask(t, { delivery: delivery({ timings }) });
    assert.equal(fieldOf(answer, "server-timing"), value);
  }
});

test("other statuses pass with their body whole; 204 has no length (RFC 9110 §8.6)", async (t) => {
  const empty = Buffer.alloc(0);
  const rows: [status: number, body: Buffer, length: string | undefined][] = [
    [203, text, "10"],
    [301, text, "10"],
    [404, text, "10"],
    [410, empty, "0"],
    [204, empty, undefined],
  ];
  for (const [status, body, length] of rows) {
    const { answer } = await ask(t, {
      delivery: delivery({ status, body: bytes(body), lengthBytes: body.length }),
      fields: ["Range: bytes=0-1", "If-None-Match: *"],
    });
    assert.equal(answer.status, status);
    assert.deepEqual(answer.body, body, String(status));
    assert.equal(fieldOf(answer, "content-length"), length, String(status));
    assert.equal(fieldOf(answer, "accept-ranges"), undefined, String(status));
  }
});

test("fields go on as they came: several of one name, colons and bytes above 0x7f in values", async (t) => {
  const block = headerBlockOf([
    ["Link", "<http://a.test/b:c>; rel=preload"],
    ["X-Own", "caf\u00e9: \u00fc"],
    ["X-Empty", ""],
  ]);
  const headers = [
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
  ] as const;
  const { answer } = await ask(t, { delivery: delivery({ headerBlock: block, headers }) });
  assert.deepEqual(answer.fields.get("set-cookie"), ["a=1", "b=2"]);
  assert.equal(fieldOf(answer, "link"), "<http://a.test/b:c>; rel=preload");
  assert.equal(fieldOf(answer, "x-own"), "caf\u00e9: \u00fc");
  assert.equal(fieldOf(answer, "x-empty"), "");
});

test("an object that is sent again and again is the same each time", async (t) => {
  const same = delivery();
  const { listener } = await startServer(t, () => same);
  const [first, second] = [await request(listener, "GET /"), await request(listener, "GET /")];
  assert.deepEqual(essence(first), essence(second));
  await request(listener, "GET /", ["Range: bytes=99-"]);
  assert.deepEqual(essence(await request(listener, "GET /")), essence(first));
});

test("a body that passes through has its length when that is known, else it comes in chunks", async (t) => {
  const known = await ask(t, { delivery: passing(Readable.from([text, text]), { lengthBytes: 20 }) });
  assert.equal(fieldOf(known.answer, "content-length"), "20");
  assert.equal(known.answer.body.toString(), "01234567890123456789");
  assert.deepEqual(known.sent, { status: 200, bodyBytes: 20 });
  const unknown = await ask(t, { delivery: passing(Readable.from([text, text])) });
  assert.equal(fieldOf(unknown.answer, "content-length"), undefined);
  assert.equal(fieldOf(unknown.answer, "transfer-encoding"), "chunked");
  assert.equal(unknown.answer.body.toString(), "01234567890123456789");
});

test("an HTTP/1.0 client gets a body of unknown length without chunks, up to the end of its connection", async (t) => {
  const { listener } = await startServer(t, () => passing(Readable.from([text, text])));
  const answer = readAnswer(await exchange(listener, "GET / HTTP/1.0\r\n\r\n"));
  assert.equal(fieldOf(answer, "transfer-encoding"), undefined);
  assert.equal(answer.body.toString(), "01234567890123456789");
});

test("a body that passes through is judged by no condition and no range: the origin has done that", async (t) => {
  for (const field of ['If-None-Match: "a"', 'If-Match: "b"', "Range: bytes=0-1", "Range: bytes=99-"]) {
    const { answer } = await ask(t, { delivery: passing(Readable.from([text])), fields: [field] });
    assert.deepEqual([answer.status, answer.body.length], [200, 10], field);
    assert.equal(fieldOf(answer, "accept-ranges"), undefined, field);
  }
  const part = passing(Readable.from([text]), {
    status: 206,
    headers: [["Content-Range", "bytes 0-9/99"]],
    lengthBytes: 10,
  });
  const { answer } = await ask(t, { delivery: part, fields: ["Range: bytes=0-9"] });
  assert.deepEqual([answer.status, fieldOf(answer, "content-range")], [206, "bytes 0-9/99"]);
});

test("HEAD and a body that passes through: it is given up unread", async (t) => {
  const body = Readable.from([text]);
  const { answer, sent } = await ask(t, { delivery: passing(body, { lengthBytes: 10 }), line: "HEAD /" });
  assert.equal(fieldOf(answer, "content-length"), "10");
  assert.ok(body.destroyed);
  assert.deepEqual(sent, { status: 200, bodyBytes: 0 });
});

test("a body that breaks off cuts the connection, so that nobody takes the part for the whole", async (t) => {
  for (const lengthBytes of [20, null]) {
    const body = new Readable({ read: () => undefined });
    const { listener, sent } = await startServer(t, () => passing(body, { lengthBytes }));
    const line = await openLine(listener);
    line.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    body.push(text);
    await line.until((so) => so.includes("0123456789"));
    body.destroy(new Error("the origin is gone"));
    const came = await line.rest();
    assert.throws(() => readAnswer(came), `${lengthBytes}: ${JSON.stringify(came.slice(-40))}`);
    const ended = await sent[0];
    assert.deepEqual([ended?.end, ended?.error?.message], ["failed", "the origin is gone"], String(lengthBytes));
  }
});

test("a client that goes away in the middle of a body ends its reading", async (t) => {
  let pushes = 0;
  const body = new Readable({
    read() {
      pushes += 1;
      this.push(Buffer.alloc(65_536));
    },
  });
  const { listener } = await startServer(t, () => passing(body));
  const line = await openLine(listener);
  line.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await line.until((so) => so.length > 100_000);
  const closed = once(body, "close").catch(() => undefined);
  line.socket.destroy();
  await closed;
  assert.ok(body.destroyed);
  const before = pushes;
  await turn();
  assert.equal(pushes, before);
});

test("a client that reads slowly holds the body back instead of filling memory", async (t) => {
  let pushed = 0;
  const chunk = Buffer.alloc(65_536);
  const total = 512 * chunk.length; // 32 MB: more than the sockets' buffers hold
  const body = new Readable({
    read() {
      if (pushed === total) this.push(null);
      else this.push(chunk);
      pushed = Math.min(total, pushed + chunk.length);
    },
  });
  const { listener } = await startServer(t, () => passing(body, { lengthBytes: total }));
  const line = await openLine(listener);
  line.socket.pause();
  line.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  // Nothing moves any more when the sockets' buffers are full.
  for (let before = -1; before !== pushed; await pause(100)) before = pushed;
  assert.ok(pushed < total, `${pushed} bytes of ${total}`);
  line.socket.resume();
  assert.equal(readAnswer(await line.rest()).body.length, total);
});
