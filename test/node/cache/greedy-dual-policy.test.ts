import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { createGreedyDualPolicy } from "../../../node/cache/greedy-dual-policy.ts";
import { keyOf } from "../../../node/cache/object.ts";

test("the victim is the object that is worth least: seldom requested, cheap to make, large", () => {
  const rows: [what: string, least: [bytes: number, costMs: number, uses: number], other: [number, number, number]][] =
    [
      ["larger", [2000, 100, 0], [1000, 100, 0]],
      ["cheaper", [1000, 50, 0], [1000, 100, 0]],
      ["requested less often", [1000, 100, 1], [1000, 100, 2]],
      ["half as large, a quarter of the requests", [500, 100, 0], [1000, 100, 3]],
    ];
  for (const [what, least, other] of rows) {
    for (const order of [
      ["least", "other"],
      ["other", "least"],
    ]) {
      const policy = createGreedyDualPolicy();
      for (const key of order) {
        const [bytes, costMs, uses] = key === "least" ? least : other;
        policy.inserted(key, bytes, costMs);
        for (let use = 0; use < uses; use += 1) policy.used(key);
      }
      assert.equal(policy.victim(), "least", what);
    }
  }
});

test("what was once popular goes when enough others came after it", () => {
  const policy = createGreedyDualPolicy();
  policy.inserted("old", 1000, 100);
  for (let use = 0; use < 20; use += 1) policy.used("old");
  let evicted = 0;
  for (let number = 0; ; number += 1) {
    policy.inserted(`new ${number}`, 1000, 100);
    if (number < 10) continue;
    const victim = policy.victim();
    assert(victim !== undefined);
    policy.removed(victim);
    if (victim === "old") break;
    evicted += 1;
    assert(evicted < 1000);
  }
  assert(evicted > 10, "it outlives those that were requested once");
});

test("an object that comes back has the frequency that it had", () => {
  const policy = createGreedyDualPolicy();
  policy.inserted("popular", 1000, 100);
  for (let use = 0; use < 5; use += 1) policy.used("popular");
  policy.removed("popular");
  policy.inserted("popular", 1000, 100);
  policy.inserted("new", 1000, 100);
  policy.used("new");
  assert.equal(policy.victim(), "new");
});

test("what is not stored can be used and removed without effect, and an empty cache has no victim", () => {
  const policy = createGreedyDualPolicy();
  policy.used("none");
  policy.removed("none");
  assert.equal(policy.victim(), undefined);
  policy.inserted("a", 1000, 100);
  policy.removed("a");
  policy.removed("a");
  assert.equal(policy.victim(), undefined);
});

test("an operation is cheap, and an object takes at most 64 bytes of the policy's own data", () => {
  const random = seededRandom(3);
  const policy = createGreedyDualPolicy();
  const objects = 100_000;
  const keys = Array.from({ length: objects }, (_, number) => keyOf("policy", String(number)));
  const before = process.threadCpuUsage();
  for (const [number, key] of keys.entries()) {
    policy.inserted(key, 1000 + 10_000 * random(), 1 + 100 * random());
    if (number < 1000 || number % 997 !== 0) continue;
    const bytesEach = policy.memoryBytes() / (number + 1);
    assert(bytesEach <= 64, `${bytesEach} bytes for each of ${number + 1} objects`);
  }
  for (const _ of keys) policy.used(keys[Math.floor(objects * random())] as string);
  for (const _ of keys) policy.removed(policy.victim() as string);
  const { user, system } = process.threadCpuUsage(before);
  // Measured: 1 µs (bench/README.md).
  assert((user + system) / (3 * objects) < 15, `${(user + system) / (3 * objects)} µs for each operation`);
});
