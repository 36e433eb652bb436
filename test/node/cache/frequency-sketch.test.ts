import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { addToSketch, createFrequencySketch, fitSketch, frequencyMax } from "../../../node/cache/frequency-sketch.ts";
import { hashOf } from "../../../node/cache/key-slots.ts";

test("the estimate of a key is its number of requests, up to the largest that a counter holds", () => {
  const sketch = createFrequencySketch();
  for (let count = 1; count <= 20; count += 1) {
    assert.equal(addToSketch(sketch, hashOf("a")), Math.min(count, frequencyMax));
  }
  assert.equal(addToSketch(sketch, hashOf("b")), 1);
});

test("most estimates are exact, and a counter that was halved once is not below half of the requests", () => {
  const random = seededRandom(7);
  const sketch = createFrequencySketch();
  fitSketch(sketch, 4000);
  const counts = new Map<number, number>();
  let wrong = 0;
  for (let request = 0; request < 4000; request += 1) {
    const key = Math.floor(2000 * random());
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    const estimate = addToSketch(sketch, hashOf(String(key)));
    assert(estimate >= Math.min(Math.floor(count / 2), frequencyMax));
    if (estimate !== Math.min(count, frequencyMax)) wrong += 1;
  }
  assert(wrong < 200, `${wrong} of 4000`);
});

test("what is no longer requested is forgotten", () => {
  const sketch = createFrequencySketch();
  for (let request = 0; request < 15; request += 1) addToSketch(sketch, hashOf("old"));
  // 512 objects, 16 additions for each: after these, each counter has been halved.
  for (let request = 0; request < 5 * 512 * 16; request += 1) addToSketch(sketch, hashOf("new"));
  assert.equal(addToSketch(sketch, hashOf("old")), 1);
  assert(addToSketch(sketch, hashOf("new")) > 1);
});

test("a sketch that grows keeps its estimates, and grows with the number of objects alone", () => {
  const sketch = createFrequencySketch();
  const keys = Array.from({ length: 200 }, (_, number) => hashOf(`key ${number}`));
  for (const [number, key] of keys.entries())
    for (let count = 0; count < number % 5; count += 1) addToSketch(sketch, key);
  const before = sketch.words.length;
  fitSketch(sketch, 512);
  assert.equal(sketch.words.length, before);
  fitSketch(sketch, 3000);
  assert.equal(sketch.words.length, before * 8);
  const wrong = keys.filter((key, number) => addToSketch(sketch, key) !== (number % 5) + 1);
  assert(wrong.length <= 12, `${wrong.length} of 200`);
});
