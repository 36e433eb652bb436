/** The heartbeat: what is stale, and what only looks so because the looker was kept waiting too. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Beat, firstBeat, isStale, nextBeat } from "../../../node/announce/heartbeat.ts";

/** Looks at these moments, at a heart that beats each 50 ms until `diesAtMs`. */
function looked(momentsMs: readonly number[], diesAtMs = Infinity): Beat {
  let beat = firstBeat(0, 0);
  for (const nowMs of momentsMs) beat = nextBeat(beat, Math.floor(Math.min(nowMs, diesAtMs) / 50), nowMs);
  return beat;
}

const eachMs = (stepMs: number, endMs: number): number[] =>
  Array.from({ length: endMs / stepMs }, (_, i) => (i + 1) * stepMs);

test("a heart that beats is never stale", () => {
  for (const nowMs of eachMs(25, 5000)) assert.equal(isStale(looked(eachMs(25, nowMs))), false, `${nowMs} ms`);
});

test("a heart that stopped is stale after more than 250 ms, and less than 300 ms", () => {
  const stopMs = 1000;
  assert.equal(isStale(looked(eachMs(25, stopMs + 250), stopMs)), false);
  assert.equal(isStale(looked(eachMs(25, stopMs + 275), stopMs)), true);
  assert.equal(looked(eachMs(25, 2000), stopMs).movedAtMs, stopMs);
});

test("a silence that was announced may be as long as announced, but never longer than a second in all", () => {
  const stopMs = 1000;
  for (const [announcedMs, freshUntilMs] of [
    [0, 250],
    [100, 350],
    [700, 950],
    [10_000, 1000],
  ] as const) {
    assert.equal(isStale(looked(eachMs(25, stopMs + freshUntilMs), stopMs), announcedMs), false, String(announcedMs));
    assert.equal(
      isStale(looked(eachMs(25, stopMs + freshUntilMs + 25), stopMs), announcedMs),
      true,
      String(announcedMs),
    );
  }
});

test("it is fresh again with the first beat", () => {
  const stale = looked(eachMs(25, 3000), 1000);
  assert.equal(isStale(nextBeat(stale, 4711, 3025)), false);
});

test("a pause of this thread itself is not held against the main thread", () => {
  const before = looked(eachMs(25, 1000));
  const paused = nextBeat(before, before.value, 1600);
  assert.equal(isStale(paused), false);
  // But a heart that does not beat after it is stale soon.
  let beat = paused;
  for (let nowMs = 1625; nowMs <= 1850; nowMs += 25) beat = nextBeat(beat, before.value, nowMs);
  assert.equal(isStale(beat), true);
});

test("a gap of a second is stale though the number has moved: clients felt it", () => {
  const before = looked(eachMs(25, 1000));
  const frozen = nextBeat(before, before.value + 1, 2000);
  assert.equal(isStale(frozen), true);
  assert.equal(isStale(nextBeat(frozen, before.value + 2, 2025)), false);
});

test("the number may wrap around", () => {
  const beat = nextBeat(firstBeat(2 ** 31 - 1, 0), -(2 ** 31), 25);
  assert.equal(beat.stillMs, 0);
});
