/** Ranges and conditions of a client, on hits and on misses: RFC 9110 §13, §14; RFC 9111 §3.3, §4.3.2. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheStatus, eventually, startEdge } from "./running-edge.ts";
import type { Script } from "./scripted-origin.ts";

const body = "0123456789";
const lastModified = "Mon, 01 Jun 2026 00:00:00 GMT";
const fields = [
  ["Cache-Control", "max-age=60"],
  ["ETag", '"1"'],
  ["Last-Modified", lastModified],
  ["Content-Type", "text/plain"],
] as const;

const ranges: [range: string, status: number, sent: string, contentRange: string | undefined][] = [
  ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
  ["bytes=4-", 206, "456789", "bytes 4-9/10"],
  ["bytes=-3", 206, "789", "bytes 7-9/10"],
  ["bytes=-99", 206, body, "bytes 0-9/10"],
  ["bytes=9-9", 206, "9", "bytes 9-9/10"],
  ["bytes=5-99", 206, "56789", "bytes 5-9/10"],
  ["bytes=0-", 206, body, "bytes 0-9/10"],
  ["bytes=10-", 416, "", "bytes */10"],
  ["bytes=99-100", 416, "", "bytes */10"],
  ["bytes=-0", 416, "", "bytes */10"],
  ["bytes=3-2", 200, body, undefined],
  ["bytes=0-1,3-4", 200, body, undefined],
  ["bytes=a-b", 200, body, undefined],
  ["bytes=-", 200, body, undefined],
  ["lines=0-1", 200, body, undefined],
];

test("a range of a stored answer (RFC 9110 §14.2, §15.3.7, §15.5.17)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields, body });
  await edge.ask("/a");
  edge.skip(5);
  for (const [range, status, sent, contentRange] of ranges) {
    const got = await edge.ask("/a", { fields: { range } });
    assert.deepEqual([got.status, got.body, got.word, got.isWhole], [status, sent, "hit", true], range);
    assert.equal(got.fields["content-range"], contentRange, range);
    assert.equal(got.fields["content-length"], String(sent.length), range);
    assert.equal(got.fields.etag, '"1"', range);
    assert.equal(got.fields["content-type"], status === 416 ? undefined : "text/plain", range);
    assert.deepEqual(got.lines["cache-control"], [status === 416 ? "no-store" : "max-age=60"], range);
    assert.equal(got.fields.age, "5", range);
  }
  assert.equal(edge.origin.asked("/a").length, 1);
});

test("a range of what is not stored stores the whole, where the origin knows no ranges (RFC 9111 §3.3)", async (t) => {
  const edge = await startEdge(t);
  for (const [index, [range, status, sent, contentRange]] of ranges.entries()) {
    const target = `/miss/${index}`;
    edge.origin.say(target, { fields, body });
    const got = await edge.ask(target, { fields: { range } });
    assert.deepEqual([got.status, got.body, got.word], [status, sent, "miss"], range);
    assert.equal(got.fields["content-range"], contentRange, range);
    const hit = await edge.ask(target);
    assert.deepEqual([hit.status, hit.body, hit.word], [200, body, "hit"], range);
    assert.equal(edge.origin.asked(target).length, 1, range);
  }
});

/** An origin that knows ranges, of a body that has this length. */
function inRanges(lengthBytes: number): Script {
  const content = (start: number, end: number): Buffer => Buffer.alloc(end - start, start % 256);
  return ({ fields: { range } }) => {
    const [, first = "", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
    if (first === "") return { fields, body: content(0, lengthBytes) };
    const [start, end] = [Number(first), last === "" ? lengthBytes : Number(last) + 1];
    const contentRange = ["Content-Range", `bytes ${start}-${end - 1}/${lengthBytes}`] as const;
    return { status: 206, fields: [...fields, contentRange], body: content(start, end) };
  };
}

test("a range of a large body is passed on as a range, until the whole is worth while", async (t) => {
  const edge = await startEdge(t);
  const lengthBytes = 20 * 1024 * 1024;
  edge.origin.say("/film", inRanges(lengthBytes));
  for (let turn = 0; turn < 3; turn += 1) {
    const got = await edge.ask("/film", { fields: { range: "bytes=19000000-19000001" } });
    assert.deepEqual([got.status, got.body.length, got.word], [206, 2, "bypass"]);
    assert.equal(got.fields["content-range"], `bytes 19000000-19000001/${lengthBytes}`);
    assert.equal(cacheStatus(got).get("detail"), "range");
    assert.equal(edge.origin.asked("/film").at(-1)?.fields.range, "bytes=19000000-19000001");
  }
  const whole = await edge.ask("/film", { fields: { range: "bytes=0-1" } });
  assert.deepEqual([whole.status, whole.word], [206, "miss"]);
  assert.equal(edge.origin.asked("/film").at(-1)?.fields.range, undefined);
});

test("ranges of a body that is too large to be stored stay ranges, however many come", async (t) => {
  const edge = await startEdge(t);
  const lengthBytes = 500_000_000;
  edge.origin.say("/huge", inRanges(lengthBytes));
  for (let count = 0; count < 8; count += 1) {
    const got = await edge.ask("/huge", { fields: { range: "bytes=400000000-400000001" } });
    const contentRange = `bytes 400000000-400000001/${lengthBytes}`;
    assert.deepEqual([got.status, got.body.length, got.fields["content-range"]], [206, 2, contentRange]);
  }
  assert(edge.origin.asked("/huge").every(({ fields: sent }) => sent.range === "bytes=400000000-400000001"));
});

test("a range of a small body is passed on, and the whole is fetched behind it", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/small", inRanges(1000));
  const got = await edge.ask("/small", { fields: { range: "bytes=10-11" } });
  assert.deepEqual([got.status, got.fields["content-range"]], [206, "bytes 10-11/1000"]);
  await eventually("the whole is stored", async () => (await edge.ask("/small")).word === "hit");
  assert.deepEqual(
    edge.origin.asked("/small").map(({ fields: sent }) => sent.range),
    ["bytes=10-11", undefined],
  );
});

test("an origin's 416 is for one client, and says nothing about the URL (RFC 9110 §15.5.17)", async (t) => {
  const edge = await startEdge(t);
  const refusal = { status: 416, fields: [["Content-Range", "bytes */10"]] } as const;
  edge.origin.say("/a", ({ fields: { range } }) => (range === undefined ? { fields, body } : refusal));
  const refused = await edge.ask("/a", { fields: { range: "bytes=99-" } });
  assert.deepEqual([refused.status, refused.word, refused.fields["content-range"]], [416, "bypass", "bytes */10"]);
  // Of an uncacheable URL, each of them would ask for itself.
  const gate = Promise.withResolvers<{ fields: typeof fields; body: string }>();
  edge.origin.say("/a", () => gate.promise);
  const asked = [edge.ask("/a"), edge.ask("/a"), edge.ask("/a")];
  await eventually("the origin is asked", () => edge.origin.asked("/a").length === 2);
  gate.resolve({ fields, body });
  for (const one of asked) assert.deepEqual([(await one).status, (await one).body], [200, body]);
  assert.equal(edge.origin.asked("/a").length, 2);
});

test("a whole answer says that ranges can be had (RFC 9110 §14.3)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [...fields, ["Accept-Ranges", "none"]], body });
  for (const word of ["miss", "hit"]) {
    const got = await edge.ask("/a");
    assert.deepEqual([got.word, got.lines["accept-ranges"]], [word, ["bytes"]]);
  }
});

test("If-Range: a part only of the version that the client has a part of (RFC 9110 §13.1.5)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields, body });
  edge.origin.say("/weak", {
    fields: [
      ["Cache-Control", "max-age=60"],
      ["ETag", 'W/"1"'],
    ],
    body,
  });
  const cases: [target: string, ifRange: string, status: number][] = [
    ["/a", '"1"', 206],
    ["/a", '"2"', 200],
    ["/a", 'W/"1"', 200],
    ["/a", lastModified, 206],
    ["/a", "Mon, 01 Jun 2026 00:00:01 GMT", 200],
    ["/a", "no date", 200],
    ["/weak", 'W/"1"', 200],
  ];
  for (const [target, ifRange, status] of cases) {
    const got = await edge.ask(target, { fields: { range: "bytes=2-3", "if-range": ifRange } });
    assert.deepEqual([got.status, got.body], status === 206 ? [206, "23"] : [200, body], `${target} ${ifRange}`);
  }
  const past = await edge.ask("/a", { fields: { range: "bytes=99-", "if-range": '"2"' } });
  assert.equal(past.status, 200, "a range that no longer counts can't fail");
  assert.deepEqual([edge.origin.asked("/a").length, edge.origin.asked("/weak").length], [1, 1]);
});

test("conditions come before the range (RFC 9110 §13.2.2)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields, body });
  const range = "bytes=0-1";
  assert.equal((await edge.ask("/a", { fields: { range, "if-none-match": '"1"' } })).status, 304);
  assert.equal((await edge.ask("/a", { fields: { range, "if-match": '"2"' } })).status, 412);
  assert.equal((await edge.ask("/a", { fields: { range, "if-match": '"1"' } })).status, 206);
});

test("Range is for GET and for 200 alone (RFC 9110 §14.2)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields, body });
  edge.origin.say("/absent", { status: 404, body });
  await edge.ask("/a");
  const head = await edge.ask("/a", { method: "HEAD", fields: { range: "bytes=0-1" } });
  assert.deepEqual([head.status, head.fields["content-length"]], [200, "10"]);
  for (const word of ["miss", "hit"]) {
    const absent = await edge.ask("/absent", { fields: { range: "bytes=0-1" } });
    assert.deepEqual([absent.status, absent.body, absent.word], [404, body, word]);
  }
});

test("a range of an answer that passes through is the whole of it", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "no-store"],
      ["ETag", '"1"'],
    ],
    body,
  });
  for (let turn = 0; turn < 2; turn += 1) {
    const got = await edge.ask("/a", { fields: { range: "bytes=0-1" } });
    assert.deepEqual([got.status, got.body, got.word, got.fields["content-range"]], [200, body, "bypass", undefined]);
  }
});

test("an empty body has no part (RFC 9110 §14.1.2)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields });
  for (const range of ["bytes=0-", "bytes=0-0", "bytes=-1"]) {
    const got = await edge.ask("/a", { fields: { range } });
    assert.deepEqual([got.status, got.fields["content-range"]], [416, "bytes */0"], range);
  }
});

test("a client's condition is answered here, and never reaches the origin (RFC 9111 §4.3.2)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields, body });
  const rows: [condition: Record<string, string>, status: number][] = [
    [{ "if-none-match": '"1"' }, 304], // the first of all: a miss
    [{ "if-none-match": 'W/"1"' }, 304],
    [{ "if-none-match": '"0", "1"' }, 304],
    [{ "if-none-match": "*" }, 304],
    [{ "if-none-match": '"2"' }, 200],
    [{ "if-none-match": '"2"', "if-modified-since": lastModified }, 200],
    [{ "if-modified-since": lastModified }, 304],
    [{ "if-modified-since": "Sun, 31 May 2026 23:59:59 GMT" }, 200],
    [{ "if-match": '"1"' }, 200],
    [{ "if-match": '"2"' }, 412],
    [{ "if-unmodified-since": "Sun, 31 May 2026 23:59:59 GMT" }, 412],
  ];
  for (const [condition, status] of rows) {
    const got = await edge.ask("/a", { fields: condition });
    const title = JSON.stringify(condition);
    assert.equal(got.status, status, title);
    assert.equal(got.body, status === 200 ? body : "", title);
    if (status === 304) {
      assert.deepEqual([got.fields.etag, got.fields["cache-control"]], ['"1"', "max-age=60"], title);
      assert.equal(got.fields["content-length"], undefined, title);
    }
  }
  assert.equal(edge.origin.asked("/a").length, 1);
  assert.equal(edge.origin.asked("/a")[0]?.fields["if-none-match"], undefined);
});
