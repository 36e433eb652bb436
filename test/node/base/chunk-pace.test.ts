/** The pace of tiny chunks: what is free, what has to wait, and whose turn it is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createChunkPace, pay, waitInLine } from "#base/chunk-pace.ts";
import { fakeClock } from "../../support/fake-clock.ts";

const limits = { perSecond: 40_000, savedMax: 4000 };

/** How many chunks of this size can be paid for now. */
function paid(pace: ReturnType<typeof createChunkPace>, chunkBytes: number): number {
  let count = 1;
  while (pay(pace, chunkBytes)) count += 1;
  return count;
}

test("a few thousand small chunks may arrive at once, and then as many a second", () => {
  const clock = fakeClock();
  const pace = createChunkPace(limits, clock);
  const first = paid(pace, 1);
  assert.ok(first >= 4000 && first < 4100, String(first));
  clock.advance(50);
  const second = paid(pace, 1);
  assert.ok(second >= 1900 && second < 2100, String(second));
  clock.advance(3_600_000);
  assert.ok(paid(pace, 1) < 4100, "an hour saves no more");
});

test("the larger a chunk, the cheaper; one of 256 bytes is free, and no debt delays it", () => {
  const pace = createChunkPace(limits, fakeClock());
  const small = paid(pace, 192);
  assert.ok(small >= 16_000 && small < 16_400, String(small));
  assert.equal(pay(pace, 1), false);
  for (let count = 0; count < 100_000; count += 1) assert.equal(pay(pace, 256), true);
});

test("waiting bodies take turns; one that takes everything waits behind the others; an empty line has no timer", () => {
  const clock = fakeClock();
  const pace = createChunkPace(limits, clock);
  const turns: string[] = [];
  const greedy = (name: string) => (): void => {
    turns.push(name);
    paid(pace, 1);
    waitInLine(pace, greedy(name));
  };
  paid(pace, 1);
  waitInLine(pace, greedy("a"));
  waitInLine(pace, greedy("b"));
  const leave = waitInLine(pace, greedy("never"));
  leave();
  clock.advance(80);
  assert.deepEqual(turns, ["a", "b", "a", "b"]);
  assert.equal(pace.waiting.size, 2);

  pace.waiting.clear();
  waitInLine(pace, () => undefined)();
  assert.equal(pace.cancel, undefined);
});
