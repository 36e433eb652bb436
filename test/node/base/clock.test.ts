import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { sleep } from "#base/clock.ts";
import { fakeClock } from "../../support/fake-clock.ts";

test("sleep ends when the clock has moved on, not before", async () => {
  const clock = fakeClock();
  const ending = new AbortController();
  let isOver = false;
  const sleeping = sleep(clock, 100, ending.signal).then(() => (isOver = true));
  clock.advance(99);
  await Promise.resolve();
  assert(!isOver);
  clock.advance(1);
  await sleeping;
  assert.equal(getEventListeners(ending.signal, "abort").length, 0, "it leaves no listener behind");
});

test("sleep is ended by its signal with the signal's reason, and its timer is gone", async () => {
  const clock = fakeClock();
  const ending = new AbortController();
  const sleeping = sleep(clock, 100, ending.signal);
  ending.abort(new Error("enough"));
  await assert.rejects(sleeping, /enough/);
  clock.advance(200);
  await assert.rejects(sleep(clock, 100, ending.signal), /enough/);
});
