/** How a lane measures the time that clients wait for it, and how the main thread reads that. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openStreamCalls } from "#base/system-calls.ts";
import { count, newCounts, read } from "../../../../node/front/lane/counts.ts";
import { openLaneDelays } from "../../../../node/front/lane/lane-delay.ts";
import { limitsOfLane } from "../../../../node/front/lane/lane-limits.ts";
import { openLaneLoop } from "../../../../node/front/lane/lane-loop.ts";
import { layout } from "../../../../node/front/lane/layout.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { needs } from "../../../support/needs.ts";

test("a busy lane counts how long it takes to hear its own bell; an idle one does not ring", (t) => {
  const calls = openStreamCalls();
  if (typeof calls === "string") {
    needs(t, false, calls);
    return;
  }
  const clock = fakeClock();
  const counts = newCounts();
  const memory = calls.viewArena(calls.mapArena(layout.sizeBytes + 64));
  const bell = calls.openEvent();
  const loop = openLaneLoop({
    calls,
    memory,
    owned: new Uint8Array(4096),
    counts,
    bell,
    limits: limitsOfLane(1),
    checkMs: 1,
    ready: null,
    tls: null,
    keepAliveSeconds: 65,
    monotonicMs: clock.monotonicMs,
    wallMs: clock.wallMs,
    offer: () => undefined,
    drained: () => undefined,
    takeOrders: () => undefined,
  });
  t.after(() => {
    loop.close();
    calls.close(bell);
  });
  const order = (): void => {
    new Uint8Array(memory.bytes)[layout.sizeBytes] = 1;
    assert.equal(calls.write(bell, memory.address + layout.sizeBytes, 8), 8);
  };
  loop.turn(); // without events
  clock.advance(1000);
  loop.turn();
  assert.equal(read(counts, "delays"), 0);

  order();
  loop.turn(); // an event: it rings
  clock.advance(40); // as if other clients had kept it busy
  loop.turn();
  assert.deepEqual([read(counts, "delays"), read(counts, "delayMs")], [1, 40]);
  for (let turn = 0; turn < 5; turn += 1) loop.turn();
  assert.equal(read(counts, "delays"), 1, "it rings at most ten times a second, and its own ring is no work");
});

test("the delay is the mean of the last ten seconds and of all lanes", () => {
  const clock = fakeClock();
  const [busy, idle] = [newCounts(), newCounts()];
  const delays = openLaneDelays([busy, idle], clock);
  assert.equal(delays.delayMs(), 0);
  const measure = (ms: number): void => {
    count(busy, "delays");
    count(busy, "delayMs", ms);
  };
  measure(100);
  measure(300);
  assert.equal(delays.delayMs(), 100, "200 ms in one of two lanes");
  clock.advance(5000);
  assert.equal(delays.delayMs(), 100);
  clock.advance(6000);
  assert.equal(delays.delayMs(), 0, "that was long ago");
  delays.close();
});
