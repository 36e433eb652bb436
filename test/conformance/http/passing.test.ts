/** Bodies that are too large to keep, and bodies that never come to their end: RFC 9112 §8, RFC 9111 §3.3. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheStatus, startEdge } from "./running-edge.ts";
import { held, type Said } from "./scripted-origin.ts";

const objectBytesMax = 64 * 1024;
const limits = { objectBytesMax };
const fields = [
  ["Cache-Control", "max-age=60"],
  ["ETag", '"1"'],
] as const;
const large = "0123456789abcdef".repeat((4 * objectBytesMax) / 16);
const framings = ["length", "chunked"] as const;

test("a body larger than the bound passes through whole, and is not stored", async (t) => {
  for (const framing of framings) {
    const edge = await startEdge(t, { limits });
    edge.origin.say("/a", { fields, body: large, framing });
    for (let turn = 1; turn <= 3; turn += 1) {
      const got = await edge.ask("/a");
      // The first body of unknown length is on its way to the client before it grows too large.
      const isKnown = framing === "length" || turn > 1;
      assert.deepEqual([got.status, got.isWhole, got.word], [200, true, isKnown ? "bypass" : "miss"], framing);
      assert(got.body === large, `${framing}: every byte, in order`);
      if (isKnown) assert.equal(cacheStatus(got).get("detail"), "too-large", framing);
      assert.equal(got.fields["content-length"], framing === "length" ? String(large.length) : undefined, framing);
      assert.equal(edge.origin.asked("/a").length, turn, framing);
    }
    const { memory, disk } = edge.stats();
    assert.deepEqual([memory.entries, disk.entries], [0, 0], framing);
  }
});

test("the bound itself is stored, one byte more is not", async (t) => {
  for (const framing of framings) {
    const edge = await startEdge(t, { limits });
    for (const [bytes, word] of [
      [objectBytesMax, "hit"],
      [objectBytesMax + 1, "bypass"],
    ] as const) {
      const body = "x".repeat(bytes);
      edge.origin.say(`/${bytes}`, { fields, body, framing });
      await edge.ask(`/${bytes}`);
      const got = await edge.ask(`/${bytes}`);
      assert.equal(got.word, word, `${framing} ${bytes}`);
      assert(got.body === body, `${framing} ${bytes}`);
    }
  }
});

test("all who wait for a body that turns out too large have it whole", async (t) => {
  const edge = await startEdge(t, { limits });
  const holding = held({ fields, body: large, framing: "chunked" });
  edge.origin.say("/a", holding.script);
  const asking = Array.from({ length: 10 }, () => edge.ask("/a"));
  await holding.arrived();
  holding.release();
  for (const got of await Promise.all(asking)) assert(got.isWhole && got.body === large);
});

test("what grows too large takes the stored answer's place away", async (t) => {
  const edge = await startEdge(t, { limits });
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60, stale-if-error=600"]], body: "small" });
  await edge.ask("/a");
  edge.skip(60);
  edge.origin.say("/a", { fields, body: large });
  assert((await edge.ask("/a")).body === large);
  await edge.origin.refuse();
  assert.equal((await edge.ask("/a")).status, 502, "the old one is not the answer any more");
});

test("a body that breaks off never looks whole, and is not stored", async (t) => {
  const rows: [title: string, said: Said][] = [
    ["one to be stored", { fields, body: "never whole", breaksOffAfterBytes: 4 }],
    ["one not to be stored", { fields: [["Cache-Control", "no-store"]], body: "never whole", breaksOffAfterBytes: 4 }],
    ["a large one, within the bound", { fields, body: large, breaksOffAfterBytes: objectBytesMax / 2 }],
    ["a large one, past the bound", { fields, body: large, breaksOffAfterBytes: 2 * objectBytesMax }],
    ["a header section alone", { fields, body: "never whole", breaksOffAfterBytes: 0 }],
  ];
  for (const framing of framings) {
    for (const [title, said] of rows) {
      const edge = await startEdge(t, { limits });
      edge.origin.say("/a", { ...said, framing });
      for (let turn = 0; turn < 2; turn += 1) {
        // Either the failure is told, or what was begun is cut so that the client sees it.
        const got = await edge.ask("/a").catch(() => null);
        const isTold = got?.status === 502 && got.isWhole;
        assert(got === null || isTold || !got.isWhole, `${framing}, ${title}: ${got?.status} of ${got?.body.length}`);
      }
      edge.skip(60); // past what is remembered of answers that are not stored
      edge.origin.say("/a", { fields, body: "well" });
      for (const word of ["miss", "hit"]) {
        const got = await edge.ask("/a");
        assert.deepEqual([got.status, got.body, got.word], [200, "well", word], `${framing}, ${title}`);
      }
    }
  }
});

test("HEAD and Authorization pass a large body's length and bytes as they are", async (t) => {
  const edge = await startEdge(t, { limits });
  edge.origin.say("/a", { fields, body: large });
  const head = await edge.ask("/a", { method: "HEAD" });
  assert.deepEqual([head.status, head.body, head.fields["content-length"]], [200, "", String(large.length)]);
  const got = await edge.ask("/a", { fields: { authorization: "Basic eA==" } });
  assert(got.isWhole && got.body === large);
});

test("a client that goes away in the middle of a large body does not affect other clients", async (t) => {
  const edge = await startEdge(t, { limits });
  const leaving = new AbortController();
  edge.origin.say("/a", { fields, body: large.repeat(40), framing: "chunked" });
  const gone = edge.ask("/a", {
    signal: leaving.signal,
    onHead: () => {
      leaving.abort();
    },
  });
  const left = await gone.catch(() => null);
  assert(left === null || !left.isWhole);
  const got = await edge.ask("/a");
  assert(got.isWhole && got.body.length === large.length * 40);
});
