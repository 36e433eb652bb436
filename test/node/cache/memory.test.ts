import assert from "node:assert/strict";
import { test } from "node:test";
import { openMemoryTier } from "../../../node/cache/memory.ts";
import { memoryBytesOf } from "../../../node/cache/object.ts";
import { keyFor, objectFor } from "../../support/objects.ts";

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

test("a walk shows each object that is concernable once, and removes what is dropped", async () => {
  const tier = openMemoryTier(100_000_000);
  const names = Array.from({ length: 12_000 }, (_, index) => `o${index}`);
  for (const [index, name] of names.entries()) tier.store(objectFor(name, { sizeBytes: 10, feedSeq: index % 3 }));
  const shown = new Map<string, number>();
  const walking = tier.walk({
    isConcernable: (feedSeq) => feedSeq < 2,
    judge: () => "look",
    visit({ tags: [tag = ""] }) {
      shown.set(tag, (shown.get(tag) ?? 0) + 1);
      return tag.endsWith("0") ? "drop" : "keep";
    },
  });
  for (let index = 11_000; index < 12_000; index += 1) tier.remove(keyFor(`o${index}`));
  for (let index = 0; index < 2000; index += 1) tier.store(objectFor(`new${index}`, { sizeBytes: 10, feedSeq: 9 }));
  await walking;
  for (const [index, name] of names.slice(0, 11_000).entries()) {
    assert.equal(shown.get(`source:${name}`) ?? 0, index % 3 === 2 ? 0 : 1, name);
    assert.equal(tier.peek(keyFor(name)) === undefined, index % 3 !== 2 && name.endsWith("0"), name);
  }
  tier.clear();
  assert.deepEqual([tier.stats().entries, tier.stats().bytes], [0, 0]);
});
