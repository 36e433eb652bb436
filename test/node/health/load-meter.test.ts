import assert from "node:assert/strict";
import { test } from "node:test";
import { createLoadMeter } from "#health/load-meter.ts";
import { fakeClock } from "../../support/fake-clock.ts";

/** A meter that counted `perSecond` each second for so long, a little after each second's beginning. */
function run(seconds: number, perSecond: number) {
  const clock = fakeClock();
  const meter = createLoadMeter(clock);
  const pass = (for_: number, each: number): void => {
    for (let second = 0; second < for_; second++) {
      clock.advance(500);
      for (let n = 0; n < each; n++) meter.count(clock.monotonicMs());
      clock.advance(500);
    }
  };
  pass(seconds, perSecond);
  return { clock, meter, pass };
}

test("a steady rate is reported as it is, from the first second on", () => {
  for (const seconds of [1, 2, 9, 10, 11, 12, 100]) {
    assert.equal(run(seconds, 40).meter.requestsPerSecond(), 40, `${seconds} s`);
  }
});

test("the first second counts whole, so that one request is no rush", () => {
  const clock = fakeClock();
  const meter = createLoadMeter(clock);
  assert.equal(meter.requestsPerSecond(), 0);
  meter.count(clock.monotonicMs());
  assert.equal(meter.requestsPerSecond(), 1);
  clock.advance(1);
  assert.equal(meter.requestsPerSecond(), 1);
});

test("a rush shows within seconds, and is forgotten after the window", () => {
  const { meter, clock, pass } = run(60, 10);
  pass(5, 110);
  assert.equal(meter.requestsPerSecond(), 60);
  pass(5, 110);
  assert.equal(meter.requestsPerSecond(), 110);
  for (const [waitMs, perSecond] of [
    [5000, 55],
    [4000, 11],
    [1000, 0],
    [1_000_000, 0],
  ] as const) {
    clock.advance(waitMs);
    assert.equal(meter.requestsPerSecond(), perSecond, `${waitMs} ms later`);
  }
  pass(1, 20);
  assert.equal(meter.requestsPerSecond(), 2);
});

test("between two seconds the window is a little longer than ten", () => {
  const { meter, clock } = run(30, 42);
  clock.advance(500);
  assert.equal(meter.requestsPerSecond(), 420 / 10.5);
});

test("a moment read earlier than another's counts for the second that runs", () => {
  const { meter, clock } = run(30, 0);
  meter.requestsPerSecond();
  for (let n = 0; n < 10; n++) meter.count(clock.monotonicMs() - 1500);
  assert.equal(meter.requestsPerSecond(), 1);
});

test("bytes are reported by the same window", () => {
  const { meter, clock } = run(30, 0);
  for (let n = 0; n < 10; n++) {
    clock.advance(500);
    meter.count(clock.monotonicMs(), 20_000);
    clock.advance(500);
  }
  assert.equal(meter.bytesPerSecond(), 20_000);
  clock.advance(12_000);
  assert.equal(meter.bytesPerSecond(), 0);
});
