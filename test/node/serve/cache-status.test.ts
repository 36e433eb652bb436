/** What a peer tells in Cache-Status: read by RFC 9651 and RFC 9211, and never passed on as it was written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { keptFailure, NearcastError } from "#base/errors.ts";
import { restated } from "../../../node/serve/cache-status.ts";
import { cacheStatusOf, errorStatusOf, type Outcome } from "../../../node/deliver/outcome.ts";

test("what a node says about itself is relayed verbatim", () => {
  const miss = { word: "miss", isStored: true, isCollapsed: true, detail: "spill-nyc", ttlSeconds: 0 } as const;
  const outcomes: Outcome[] = [
    { word: "hit", tier: "memory", ttlSeconds: 3 },
    { word: "stale", tier: "disk", reason: "revalidating", ttlSeconds: -5 },
    { word: "stale", tier: "memory", reason: "origin-error", ttlSeconds: -150 },
    { ...miss, reason: "uri-miss" },
    { ...miss, reason: "vary-miss", isStored: false },
    { ...miss, reason: "stale", isCollapsed: false },
    { word: "bypass", reason: "not-cacheable", isCollapsed: false },
    { word: "bypass", reason: "status", isCollapsed: true },
  ];
  for (const node of ["fra1", "1fra", "fra1-2"]) {
    for (const outcome of outcomes) {
      const told = cacheStatusOf(node, outcome);
      assert.equal(restated(told), told);
      const both = cacheStatusOf("ams1", outcome, told);
      assert.equal(restated(both), both);
    }
    for (const code of ["NOT_CACHED", "ORIGIN_TIMEOUT"] as const) {
      const error = new NearcastError(code, "it failed");
      for (const failure of [error, keptFailure(error)]) {
        const told = errorStatusOf(node, failure, undefined);
        assert.equal(restated(told), told);
      }
    }
  }
});

test("a failure says whether anyone else was asked for this request", () => {
  const hit: Outcome = { word: "hit", tier: "disk", ttlSeconds: 3 };
  const stale = { word: "stale", tier: "disk", ttlSeconds: -3 } as const;
  const fetched = { isStored: true, isCollapsed: false, detail: "fetched", ttlSeconds: 9 } as const;
  const timeout = new NearcastError("ORIGIN_TIMEOUT", "no response");
  const noRoom = new NearcastError("OVERLOADED", "too many bytes are on their way");
  const rows: [error: NearcastError, outcome: Outcome | undefined, status: string][] = [
    [timeout, undefined, "fra1; fwd=miss; detail=ORIGIN_TIMEOUT"],
    [keptFailure(timeout), undefined, "fra1; fwd=miss; collapsed; detail=ORIGIN_TIMEOUT"],
    [new NearcastError("NOT_CACHED", "nothing is stored"), undefined, "fra1; detail=NOT_CACHED"],
    // What is stored, but could not be sent.
    [noRoom, hit, "fra1; detail=OVERLOADED"],
    [noRoom, { ...stale, reason: "revalidating" }, "fra1; detail=OVERLOADED"],
    [noRoom, { ...stale, reason: "overloaded" }, "fra1; detail=OVERLOADED"],
    [noRoom, { ...stale, reason: "origin-slow" }, "fra1; fwd=miss; detail=OVERLOADED"],
    [noRoom, { word: "miss", reason: "uri-miss", ...fetched }, "fra1; fwd=miss; detail=OVERLOADED"],
  ];
  for (const [error, outcome, status] of rows) assert.equal(errorStatusOf("fra1", error, outcome), status);
});

test("other spellings of the same come out in our own, unknown parameters not at all", () => {
  const rows: [told: string, restatedAs: string][] = [
    ["a;hit", "a; hit"],
    ["a  ;  hit;hit=?0;fwd=stale", "a; fwd=stale"],
    ["a;detail=x;ttl=007;hit=?1", "a; hit; ttl=7; detail=x"],
    ['"a";hit;detail="two words"', 'a; hit; detail="two words"'],
    ['a; hit; key="/secret?x=1"; owner=evil', "a; hit"],
    ["a; fwd=miss; fwd-status=404 \t, \tb; hit", "a; fwd=miss; fwd-status=404, b; hit"],
    ["a", "a"],
  ];
  for (const [told, wanted] of rows) assert.equal(restated(told), wanted, told);
});

test("what no cache says is left out whole", () => {
  const rows = [
    ["", " a", "a ", "a,", ",a", "a,,b", "a b", "é", "a; hit\r\nSet-Cookie: x=1", "<script>", "a; hit; detail=<b>"],
    ["a; fwd=whatever", "a; fwd", 'a; fwd="st\\"ale"', "a; hit; fwd=stale", "a; hit=1", "a; stored=yes", "a; HIT"],
    ["a; ttl=1.5", "a; ttl=x", "a; ttl", "a; ttl=--1", "a; ttl=1e9", "a; ttl=9999999999999999", "a; ttl=3155760001"],
    ["a; fwd-status=99", "a; fwd-status=600", "a; fwd-status=ok", '""; hit', 'a; detail="', "a;", "a; ;hit"],
    ["a; hit; detail=:YWJj:", "(a b); hit", `a; detail=${"x".repeat(101)}`, "x".repeat(1001), "a, ".repeat(8) + "a"],
  ];
  for (const told of rows.flat()) {
    assert.equal(restated(told), null, told);
  }
});

test("ttl is negative only where something stale was used (RFC 9211 section 2.4)", () => {
  for (const told of [
    "a; hit; ttl=-5; detail=memory-revalidating",
    "a; fwd=stale; ttl=-150; detail=disk-origin-error",
    "a; fwd=stale; ttl=-150, b; fwd=uri-miss; stored; ttl=-150; detail=owner",
  ]) {
    assert.equal(restated(told), told);
  }
  for (const told of [
    "a; fwd=uri-miss; stored; ttl=-223",
    "a; ttl=-223",
    "a; fwd=bypass; ttl=-1",
    "a; hit; ttl=5, b; fwd=uri-miss; ttl=-1",
  ]) {
    assert.equal(restated(told), null, told);
  }
});

test("reading takes no more than linear time", () => {
  for (const part of ["a; ", "a, ", ";", " ", '"', "a;hit=?0", "-", "1", ",\t", 'a; detail="x" ']) {
    const started = process.cpuUsage(); // of this process, whatever else the machine does
    for (let count = 0; count < 100; count += 1) restated(part.repeat(1000).slice(0, 1000));
    assert.ok(process.cpuUsage(started).user < 200_000, JSON.stringify(part));
  }
});
