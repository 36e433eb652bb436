import assert from "node:assert/strict";
import { test } from "node:test";
import { openMemoryTier } from "../../../node/cache/memory.ts";
import { memoryBytesOf } from "../../../node/cache/object.ts";
import { keyFor, objectFor, purgeFor } from "../../support/objects.ts";

test("the bytes never exceed the budget, and of equal objects the one that was used stays", () => {
  const size = memoryBytesOf(objectFor("x0", { sizeBytes: 1000 }));
  const tier = openMemoryTier(size * 10);
  for (let index = 0; index < 10; index += 1) tier.store(objectFor(`x${index}`));
  assert.equal(tier.stats().entries, 10);
  tier.load(keyFor("x0"));
  for (let index = 1; index < 10; index += 1) tier.peek(keyFor(`x${index}`)); // looking is not using
  for (let index = 10; index < 100; index += 1) {
    tier.store(objectFor(`x${index}`));
    assert(tier.stats().bytes <= tier.stats().bytesMax);
    if (index < 15) assert(tier.peek(keyFor("x0")) !== undefined);
  }
  const { entries, bytes, evictions } = tier.stats();
  assert.deepEqual([entries, bytes], [10, size * 10]);
  assert(evictions > 10 && evictions <= 90);
});

test("what is expensive to make and often requested stays, whatever comes once", () => {
  const tier = openMemoryTier(100_000);
  const expensive = objectFor("expensive", { costMs: 2000 });
  tier.store(expensive);
  tier.store(objectFor("popular"));
  for (let request = 0; request < 8; request += 1) tier.load(keyFor("popular"));
  for (let index = 0; index < 100; index += 1) tier.store(objectFor(`x${index}`));
  assert(tier.peek(expensive.key) !== undefined);
  for (let index = 100; index < 300; index += 1) {
    tier.store(objectFor(`x${index}`));
    assert(tier.load(keyFor("popular")) !== undefined);
  }
});

test("what would go next itself is not admitted, nor left as it was before", () => {
  const tier = openMemoryTier(100_000);
  tier.store(objectFor("a", { sizeBytes: 100 }));
  for (let index = 0; index < 60; index += 1) {
    tier.store(objectFor(`x${index}`));
    tier.load(keyFor(`x${index}`));
  }
  const before = tier.stats();
  assert(!tier.store(objectFor("a", { sizeBytes: 12_000, version: 2, costMs: 1 })));
  assert.equal(tier.peek(keyFor("a")), undefined);
  assert.equal(tier.stats().evictions, before.evictions);
  assert.equal(tier.stats().entries, before.entries - 1);
});

test("a body that is large next to the budget does not enter, nor leave an older one in its stead", () => {
  const tier = openMemoryTier(100_000);
  assert(tier.store(objectFor("a", { sizeBytes: 1000 })));
  assert(!tier.store(objectFor("a", { sizeBytes: 50_000, version: 2 })));
  assert.equal(tier.load(keyFor("a")), undefined);
  assert.equal(tier.stats().bytes, 0);
});

test("a purge removes what it names by tag, by prefix, all of it, and nothing that is newer", () => {
  const fill = () => {
    const tier = openMemoryTier(1_000_000);
    for (const name of ["a/1", "a/2", "b/1"]) tier.store(objectFor(name, { feedSeq: name === "a/2" ? 9 : 1 }));
    return tier;
  };
  const rows: [parts: Parameters<typeof purgeFor>[0], count: number, left: string[]][] = [
    [{ seq: 5, tags: ["source:a/1"] }, 1, ["a/2", "b/1"]],
    [{ seq: 5, sourcePrefixes: ["a/"] }, 1, ["a/2", "b/1"]],
    [{ seq: 10, sourcePrefixes: ["a/"] }, 2, ["b/1"]],
    [{ seq: 5, isAll: true }, 2, ["a/2"]],
    [{ seq: 0, isAll: true }, 3, []],
    [{ seq: 5, tags: ["source:c"] }, 0, ["a/1", "a/2", "b/1"]],
  ];
  for (const [parts, count, left] of rows) {
    const tier = fill();
    assert.equal(tier.purge(purgeFor(parts)), count, JSON.stringify(parts));
    assert.deepEqual(
      ["a/1", "a/2", "b/1"].filter((name) => tier.load(keyFor(name)) !== undefined),
      left,
    );
    assert.equal(tier.stats().entries, left.length);
  }
});

test("the tags of what was replaced are forgotten, those of the new one hold", () => {
  const tier = openMemoryTier(1_000_000);
  tier.store(objectFor("a", { tags: ["tag:old"] }));
  tier.store(objectFor("a", { tags: ["tag:new"], version: 2 }));
  assert.equal(tier.keysOf(purgeFor({ tags: ["tag:old"] })).size, 0);
  assert.deepEqual([...tier.keysOf(purgeFor({ tags: ["tag:new"] }))], [keyFor("a")]);
  assert.equal(tier.purge(purgeFor({ tags: ["tag:new"] })), 1);
});
