import assert from "node:assert/strict";
import { test } from "node:test";
import { ttlOf } from "../../../dns/steer/ttl.ts";

const steered = { policy: "geo", ttlSeconds: 30, ttlFloorSeconds: 10 } as const;

test("the TTL is the time to the earliest possible change, between floor and ceiling", () => {
  const cases: readonly (readonly [string, Record<string, number>, number, RegExp])[] = [
    [
      "between",
      { fra: 20_000, nyc: 25_000 },
      20,
      /^since the answer can change with the state of site fra in 20 s at the earliest$/,
    ],
    ["rounded down", { fra: 20_999 }, 20, /^since the answer can change with the state of site fra/],
    [
      "sooner than the floor",
      { fra: 25_000, nyc: 3000 },
      10,
      /^the shortest allowed \(ttlFloorSeconds\): the answer can change with the state of site nyc/,
    ],
    [
      "now, or before",
      { fra: -5 },
      10,
      /^the shortest .*: the answer can change with the state of site fra at any time$/,
    ],
    [
      "later than the ceiling",
      { fra: 60_000 },
      30,
      /^the longest allowed \(ttlSeconds\): the answer can change with the state of site fra in 60 s/,
    ],
    ["nobody can change", {}, 30, /^the longest allowed \(ttlSeconds\): no site's state can change by itself$/],
    ["a site that is not allowed does not count", { tyo: 12_000 }, 30, /: no site/],
  ];
  for (const [what, changes, seconds, reason] of cases) {
    const ttl = ttlOf(steered, ["fra", "nyc"], new Map(Object.entries(changes)));
    assert.equal(ttl.seconds, seconds, what);
    assert.match(ttl.reason, reason, what);
  }
});

test("anycast answers hang on no site; a floor above the ceiling is the ceiling", () => {
  const soon = new Map([["fra", 1000]]);
  assert.deepEqual(ttlOf({ ...steered, policy: "anycast" }, ["fra"], soon), {
    seconds: 30,
    reason: "the longest allowed (ttlSeconds): with anycast no site's state counts",
  });
  assert.equal(ttlOf({ ...steered, ttlFloorSeconds: 60 }, ["fra"], soon).seconds, 30);
});
