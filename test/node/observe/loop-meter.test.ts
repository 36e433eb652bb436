import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "#base/clock.ts";
import { openLoopMeter } from "../../../node/observe/loop-meter.ts";
import { fakeClock } from "../../support/fake-clock.ts";

/** A clock whose timers can be held up, as by a loop that does something else. */
function stallingClock(): { clock: Clock; run: (ms: number) => void; stall: (ms: number) => void } {
  const clock = fakeClock();
  let lateMs = 0;
  const stalled: Clock = { ...clock, monotonicMs: () => clock.monotonicMs() + lateMs };
  return {
    clock: stalled,
    run: (ms) => {
      clock.advance(ms);
    },
    stall(ms) {
      // The next timer fires, but it is later than it thinks.
      lateMs += ms;
    },
  };
}

test("a loop on time has no delay", () => {
  const { clock, run } = stallingClock();
  const meter = openLoopMeter(clock);
  run(60_000);
  equal(meter.delayMs(), 0);
});

test("one long stall counts for all the timers that it held up, and is forgotten after ten seconds", () => {
  const { clock, run, stall } = stallingClock();
  const meter = openLoopMeter(clock);
  run(20_000);
  stall(1000);
  run(100);
  // 1000 + 900 + … + 0, over the hundred timers of ten seconds
  equal(meter.delayMs(), 55);
  run(9000);
  ok(meter.delayMs() <= 55);
  run(10_000);
  equal(meter.delayMs(), 0);
});

test("a stall longer than the window fills it, no more", () => {
  const { clock, run, stall } = stallingClock();
  const meter = openLoopMeter(clock);
  stall(60_000);
  run(100);
  ok(meter.delayMs() > 50_000 && meter.delayMs() <= 60_000);
});
