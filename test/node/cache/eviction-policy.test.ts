import assert from "node:assert/strict";
import { test } from "node:test";
import { admit, type EvictionPolicy } from "../../../node/cache/eviction-policy.ts";

/** Evicts in the order of the keys. */
function alphabetical(): EvictionPolicy & { keys: () => readonly string[] } {
  const keys = new Set<string>();
  return {
    inserted: (key) => void keys.add(key),
    used: () => undefined,
    removed: (key) => void keys.delete(key),
    victim: () => [...keys].toSorted()[0],
    keys: () => [...keys].toSorted(),
  };
}

const candidate = (key: string, bytes: number) => ({ key, bytes, costMs: 1 });

test("victims go until there is room, and no more", () => {
  const policy = alphabetical();
  for (const key of ["a", "b", "c"]) assert(admit(policy, candidate(key, 10), 10, assert.fail));
  const evicted: string[] = [];
  const evict = (key: string): number => {
    evicted.push(key);
    policy.removed(key);
    return 10;
  };
  assert(admit(policy, candidate("x", 25), 5, evict));
  assert.deepEqual(
    [evicted, policy.keys()],
    [
      ["a", "b"],
      ["c", "x"],
    ],
  );
});

test("an object that would be the next victim is not admitted, and nothing goes for it", () => {
  const policy = alphabetical();
  for (const key of ["b", "c"]) admit(policy, candidate(key, 10), 10, assert.fail);
  assert(!admit(policy, candidate("a", 10), 5, assert.fail));
  assert.deepEqual(policy.keys(), ["b", "c"]);
});

test("an object for which even an empty cache has no room is not admitted", () => {
  const policy = alphabetical();
  assert(!admit(policy, candidate("a", 10), 5, assert.fail));
  assert.deepEqual(policy.keys(), []);
});
