import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { createHotKeys, type HotKeys } from "../../../node/peer/hot-keys.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";

function start(): { clock: FakeClock; keys: HotKeys; hot: () => string[] } {
  const clock = fakeClock();
  const keys = createHotKeys({ clock });
  return { clock, keys, hot: () => keys.hot().map(({ key }) => key) };
}

/** So many requests a second for so long, each for the key that `pick` gives. */
function stream(
  { clock, keys }: { clock: FakeClock; keys: HotKeys },
  requestsPerSecond: number,
  ms: number,
  pick: (number: number) => string,
): void {
  const requests = Math.round((requestsPerSecond * ms) / 1000);
  for (let number = 0; number < requests; number += 1) {
    keys.count(pick(number), clock.monotonicMs());
    clock.advance(ms / requests);
  }
}

test("under a Zipf stream exactly the keys above 1 % are hot", () => {
  const all = start();
  const ranks = 20_000;
  const weights = Array.from({ length: ranks }, (_, rank) => 1 / (rank + 1));
  const sum = weights.reduce((total, one) => total + one, 0);
  const sums: number[] = [];
  for (const weight of weights) sums.push((sums.at(-1) ?? 0) + weight / sum);
  const random = seededRandom(7);
  const pick = (): string => {
    const drawn = random();
    let low = 0;
    for (let high = ranks - 1; low < high;) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 1) < drawn) low = middle + 1;
      else high = middle;
    }
    return `k${low + 1}`;
  };
  stream(all, 20_000, 3000, pick);
  const share = (rank: number): number => 1 / rank / sum;
  const hot = new Set(all.hot());
  // Chance moves what lies close to the bound.
  for (let rank = 1; share(rank) > 0.012; rank += 1) assert.ok(hot.has(`k${rank}`), `k${rank}: ${share(rank)}`);
  for (const key of hot) assert.ok(share(Number(key.slice(1))) > 0.008, `${key}: ${share(Number(key.slice(1)))}`);
  assert.equal(all.hot()[0], "k1");
  assert.ok(Math.abs((all.keys.hot()[0]?.requestsPerSecond ?? 0) / (20_000 * share(1)) - 1) < 0.1);
});

test("where all keys are asked for alike none is hot", () => {
  const all = start();
  const random = seededRandom(11);
  stream(all, 10_000, 2000, () => `k${Math.floor(random() * 500)}`);
  assert.deepEqual(all.hot(), []);
});

test("a stream of keys that never come again makes none hot and hides none", () => {
  const all = start();
  let unique = 0;
  stream(all, 20_000, 2000, (number) => (number % 50 === 0 ? "hot" : `u${(unique += 1)}`));
  assert.deepEqual(all.hot(), ["hot"]);
  assert.ok(all.keys.isHot("hot"));
  assert.ok(!all.keys.isHot(`u${unique}`));
  assert.ok(!all.keys.isHot("never seen"));
});

test("a key that rises to 2 % is hot within half a second, and cools down when it falls", () => {
  const all = start();
  const others = (number: number): string => `k${number % 997}`;
  stream(all, 4000, 2000, others);
  stream(all, 4000, 500, (number) => (number % 50 === 0 ? "hot" : others(number)));
  assert.ok(all.keys.isHot("hot"));
  stream(all, 4000, 2000, others);
  assert.ok(!all.keys.isHot("hot"));
});

test("a key that nobody is in a hurry for is not hot, however large its share", () => {
  const all = start();
  stream(all, 15, 5000, () => "only");
  assert.deepEqual(all.hot(), []);
  stream(all, 40, 3000, () => "only");
  assert.deepEqual(all.hot(), ["only"]);
});

test("days of counting and hours of silence leave it as it began", () => {
  const all = start();
  for (let hour = 0; hour < 24; hour += 1) {
    all.clock.advance(3_600_000);
    assert.deepEqual(all.hot(), [], "nothing of before the silence counts");
    stream(all, 1000, 1000, (number) => (number % 10 === 0 ? "hot" : `k${number}`));
    assert.deepEqual(all.hot(), ["hot"]);
  }
  // Weights grow each step; nothing may be lost when they are set back.
  for (let second = 0; second < 60; second += 1) {
    stream(all, 1000, 1000, (number) => (number % 10 === 0 ? "hot" : `k${number}`));
    assert.deepEqual(all.hot(), ["hot"], `second ${second}`);
  }
  assert.ok(Math.abs((all.keys.hot()[0]?.requestsPerSecond ?? 0) - 100) < 15);
});
