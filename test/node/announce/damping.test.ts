/** When a node may announce: first, after a fall, after several, after a stall. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  checked,
  type Damping,
  fall,
  firstDamping,
  isWrong,
  rise,
  usualDamping,
} from "../../../node/announce/damping.ts";

const minuteMs = 60_000;

/** Right answers each second from `fromMs` until it is up, or for an hour; returns when that is. */
function risen(damping: Damping, fromMs: number): { damping: Damping; atMs: number } {
  let now = damping;
  for (let atMs = fromMs; atMs < fromMs + 60 * minuteMs; atMs += 1000) {
    now = checked(now, true, atMs);
    if (now.isUp) return { damping: now, atMs };
  }
  throw new Error("it never rises");
}

test("it first rises after ten seconds of right answers, three at least", () => {
  assert.equal(risen(firstDamping(usualDamping), 5000).atMs, 15_000);
  // Two answers with ten seconds between are not three.
  let rare = checked(firstDamping(usualDamping), true, 0);
  rare = checked(rare, true, 20_000);
  assert.equal(rare.isUp, false);
  assert.equal(checked(rare, true, 20_001).isUp, true);
});

test("a wrong answer restarts the wait", () => {
  let damping = firstDamping(usualDamping);
  for (let atMs = 0; atMs < 9000; atMs += 1000) damping = checked(damping, true, atMs);
  damping = checked(damping, false, 9000);
  assert.equal(risen(damping, 10_000).atMs, 20_000);
});

test("three wrong answers in a row are wrong for good, and it does not fall by itself", () => {
  let { damping } = risen(firstDamping(usualDamping), 0);
  damping = checked(checked(damping, false, 11_000), false, 11_500);
  assert.equal(isWrong(damping, usualDamping), false);
  assert.equal(isWrong(checked(checked(damping, true, 12_000), false, 13_000), usualDamping), false);
  damping = checked(damping, false, 12_000);
  assert.equal(isWrong(damping, usualDamping), true);
  assert.equal(damping.isUp, true);
});

test("each fall makes the wait twice as long, up to five minutes", () => {
  let damping = firstDamping(usualDamping);
  let atMs = 0;
  const waits: number[] = [];
  for (let n = 0; n < 9; n++) {
    const before = atMs;
    ({ damping, atMs } = risen(damping, atMs));
    waits.push((atMs - before) / 1000);
    damping = fall(damping, null, atMs, usualDamping);
  }
  assert.deepEqual(waits, [10, 10, 20, 40, 80, 160, 300, 300, 300]);
  assert.equal(damping.falls, 9);
});

test("each ten minutes announced forgive one strike", () => {
  const atMs = 10_000;
  let { damping } = risen(firstDamping(usualDamping), 0);
  for (let n = 0; n < 4; n++) damping = rise(fall(damping, null, atMs, usualDamping), atMs);
  assert.equal(damping.strikes, 4);
  assert.equal(fall(damping, null, atMs + 9 * minuteMs, usualDamping).strikes, 5);
  assert.equal(fall(damping, null, atMs + 21 * minuteMs, usualDamping).strikes, 3);
  assert.equal(fall(damping, null, atMs + 500 * minuteMs, usualDamping).needsMs, 10_000);
});

test("the first short stall is pardoned: two right answers bring it back, without a strike", () => {
  const { damping, atMs } = risen(firstDamping(usualDamping), 0);
  const stalled = fall(damping, 600, atMs + 5000, usualDamping);
  assert.deepEqual([stalled.strikes, stalled.falls, stalled.isUp], [0, 1, false]);
  assert.equal(risen(stalled, 20_000).atMs, 21_000);
});

test("the second stall within ten minutes, and a long one, are not pardoned", () => {
  const { damping } = risen(firstDamping(usualDamping), 0);
  const once = risen(fall(damping, 600, 20_000, usualDamping), 20_000);
  const twice = fall(once.damping, 600, 20_000 + 5 * minuteMs, usualDamping);
  assert.equal(twice.needsMs, 10_000);
  assert.equal(fall(once.damping, 600, 20_000 + 11 * minuteMs, usualDamping).needsMs, 0);
  assert.equal(fall(damping, 2000, 20_000, usualDamping).needsMs, 10_000);
  assert.equal(fall(damping, null, 20_000, usualDamping).needsMs, 10_000);
});

test("rise ends the wait at once, and means nothing to one that is up", () => {
  const fallen = fall(risen(firstDamping(usualDamping), 0).damping, null, 20_000, usualDamping);
  const up = rise(fallen, 21_000);
  assert.deepEqual([up.isUp, up.upSinceMs], [true, 21_000]);
  assert.equal(rise(up, 99_000), up);
});
