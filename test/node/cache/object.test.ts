import assert from "node:assert/strict";
import { test } from "node:test";
import { etagOf, headerBlockOf, headerPairsOf, keyOf, memoryBytesOf } from "../../../node/cache/object.ts";
import { objectFor } from "../../support/objects.ts";

test("a header block gives back the pairs that it was made of, byte for byte", () => {
  const latin = Buffer.from("name=blåbär", "utf8").toString("latin1"); // as it comes over the wire
  const pairs = [
    ["Content-Type", "image/jpeg"],
    ["X-Empty", ""],
    ["X-Colon", "a: b:c"],
    ["X-Bytes", latin],
    ["x", "1"],
    ["x", "2"],
  ] as const;
  assert.deepEqual(
    headerPairsOf(headerBlockOf(pairs)),
    pairs.map((pair) => [...pair]),
  );
  assert.deepEqual(headerPairsOf(headerBlockOf([])), []);
});

test("no two lists of parts give the same key", () => {
  const lists = [
    [],
    [""],
    ["", ""],
    ["ab"],
    ["a", "b"],
    ["", "ab"],
    ["ab", ""],
    ["1:a"],
    ["1", "a"],
    ["a1:b"],
    ["a", "1:b"],
    ["é"],
    ["e\u0301"],
  ];
  const keys = new Set(lists.map((parts) => keyOf(...parts)));
  assert.equal(keys.size, lists.length);
  for (const key of keys) assert.match(key, /^[0-9a-f]{64}$/);
});

test("an entity tag is strong and differs with the bytes", () => {
  assert.match(etagOf(Buffer.from("a")), /^"[\w-]{27}"$/);
  assert.notEqual(etagOf(Buffer.from("a")), etagOf(Buffer.from("b")));
  assert.equal(etagOf(Buffer.from("a")), etagOf(Buffer.from("a")));
});

test("an object weighs what its buffers weigh, and something for the rest", () => {
  const object = objectFor("a", { sizeBytes: 5000 });
  assert.equal(memoryBytesOf(object), 5000 + object.headerBlock.length + 512);
});
