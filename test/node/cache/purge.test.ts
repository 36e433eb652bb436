import assert from "node:assert/strict";
import { test } from "node:test";
import { createTagIndex, isPurgedBy, type Purge } from "../../../node/cache/purge.ts";
import { purgeFor } from "../../support/objects.ts";

test("which objects a purge means", () => {
  const facts = { tags: ["source:shop/a.jpg", "host:img.test"], feedSeq: 5 };
  const rows: [what: string, purge: Purge, isMeant: boolean][] = [
    ["its name", purgeFor({ seq: 6, tags: ["source:shop/a.jpg"] }), true],
    ["another name", purgeFor({ seq: 6, tags: ["source:shop/a.jpg2"] }), false],
    ["its host", purgeFor({ seq: 6, tags: ["host:img.test"] }), true],
    ["its prefix", purgeFor({ seq: 6, sourcePrefixes: ["shop/"] }), true],
    ["every name", purgeFor({ seq: 6, sourcePrefixes: [""] }), true],
    ["another prefix", purgeFor({ seq: 6, sourcePrefixes: ["hop/"] }), false],
    ["all", purgeFor({ seq: 6, isAll: true }), true],
    ["published before the bytes were asked for", purgeFor({ seq: 5, isAll: true }), false],
    ["from elsewhere", purgeFor({ seq: 0, isAll: true }), true],
    ["nothing", purgeFor({ seq: 6 }), false],
  ];
  for (const [what, purge, isMeant] of rows) assert.equal(isPurgedBy(facts, purge), isMeant, what);
});

test("the tag index finds the keys of a purge and forgets what is removed", () => {
  const index = createTagIndex();
  index.add("k1", ["source:a/1", "host:h"]);
  index.add("k2", ["source:a/2", "host:h"]);
  index.add("k1", ["source:a/1", "host:h"]); // twice is once
  const found = (purge: Purge): string[] => [...index.keysOf(purge)].toSorted();
  assert.deepEqual(found(purgeFor({ tags: ["source:a/1"] })), ["k1"]);
  assert.deepEqual(found(purgeFor({ tags: ["host:h"] })), ["k1", "k2"]);
  assert.deepEqual(found(purgeFor({ sourcePrefixes: ["a/"] })), ["k1", "k2"]);
  assert.deepEqual(found(purgeFor({ isAll: true })), ["k1", "k2"]);
  index.remove("k1", ["source:a/1", "host:h"]);
  index.remove("k1", ["source:a/1", "host:h"]);
  assert.deepEqual(found(purgeFor({ isAll: true })), ["k2"]);
});
