import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../../node/base/random.ts";
import { createVariantSets } from "../../../node/cache/variant-sets.ts";

test("beyond the bound, the variant goes that was used once and longest ago", () => {
  const sets = createVariantSets();
  for (const key of ["a", "b", "c", "d"]) assert.equal(sets.use("s", key, 4), undefined);
  sets.use("s", "a", 4);
  assert.deepEqual(
    ["e", "f", "g", "h"].map((key) => sets.use("s", key, 4)),
    ["b", "c", "d", "e"],
  );
  assert.equal(sets.use("other", "b", 4), undefined, "each source has its own");
});

test("a thousand sizes that are requested once never push out those that are used", () => {
  const sets = createVariantSets();
  const hot = Array.from({ length: 100 }, (_none, index) => `hot ${index}`);
  for (const key of [...hot, ...hot]) sets.use("s", key, 200);
  for (let index = 0; index < 1000; index += 1) {
    const gone = sets.use("s", `junk ${index}`, 200);
    assert(gone === undefined || gone.startsWith("junk"), String(gone));
  }
});

test("what is kept is bounded too, and nothing that was just used goes (seeded)", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seededRandom(seed);
    const sets = createVariantSets();
    const variantsMax = 1 + Math.floor(random() * 30);
    const stored = new Set<string>();
    for (let step = 0; step < 2000; step += 1) {
      const key = `k${Math.floor(random() ** 3 * 100)}`;
      stored.add(key);
      const gone = sets.use("s", key, variantsMax);
      if (gone !== undefined) assert(gone !== key && stored.delete(gone), `seed ${seed}`);
      assert(stored.size <= variantsMax, `seed ${seed}: ${stored.size} of ${variantsMax}`);
      assert.equal(sets.counts().keys, stored.size);
    }
  }
});

test("it remembers a bounded number of variants of all sources", () => {
  const sets = createVariantSets();
  for (let index = 0; index < 250_000; index += 1) sets.use(`s${index >> 1}`, `k${index}`, 200);
  const { sources, keys } = sets.counts();
  assert(keys <= 100_000 && sources <= 50_001, `${sources} sources, ${keys} keys`);
});
