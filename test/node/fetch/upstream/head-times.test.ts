import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { createHeadTimes, headTimeQuantileMs, recordHeadTime } from "../../../../node/fetch/upstream/head-times.ts";

test("a quantile is right to 20 %, and never too low", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seededRandom(seed);
    const times = createHeadTimes(0);
    const took = Array.from({ length: 900 }, () => Math.exp(random() * 8));
    for (const ms of took) recordHeadTime(times, ms, 0);
    const exact = took.toSorted((a, b) => a - b)[Math.ceil(0.95 * took.length) - 1] ?? 0;
    const said = headTimeQuantileMs(times, 0.95) ?? 0;
    assert.ok(said >= exact * 0.999 && said <= exact * 1.21, `seed ${seed}: ${said} for ${exact}`);
  }
});

test("a few responses say nothing", () => {
  const times = createHeadTimes(0);
  for (let count = 0; count < 19; count += 1) recordHeadTime(times, 10, 0);
  assert.equal(headTimeQuantileMs(times, 0.95), undefined);
  recordHeadTime(times, 10, 0);
  assert.ok((headTimeQuantileMs(times, 0.95) ?? 0) >= 10);
});

test("an origin that became slower is known as such after some responses, or some minutes", () => {
  const many = createHeadTimes(0);
  for (let count = 0; count < 5000; count += 1) recordHeadTime(many, 10, 0);
  for (let count = 0; count < 1000; count += 1) recordHeadTime(many, 1000, 0);
  assert.ok((headTimeQuantileMs(many, 0.5) ?? 0) >= 1000);
  const rare = createHeadTimes(0);
  for (let count = 0; count < 500; count += 1) recordHeadTime(rare, 10, 0);
  for (let minute = 1; minute <= 10; minute += 1) {
    for (let count = 0; count < 20; count += 1) recordHeadTime(rare, 1000, minute * 60_000);
  }
  assert.ok((headTimeQuantileMs(rare, 0.5) ?? 0) >= 1000);
});

test("times out of all bounds are counted in the first or the last bucket", () => {
  const times = createHeadTimes(0);
  for (const ms of [-5, 0, 0.2]) for (let count = 0; count < 10; count += 1) recordHeadTime(times, ms, 0);
  assert.equal(headTimeQuantileMs(times, 0.95), 1);
  for (let count = 0; count < 300; count += 1) recordHeadTime(times, 1e9, 0);
  assert.ok((headTimeQuantileMs(times, 0.95) ?? 0) > 120_000);
});
