import assert from "node:assert/strict";
import { test } from "node:test";
import { createShunning } from "../../../node/peer/shunning.ts";
import { fakeClock } from "../../support/fake-clock.ts";

/** "fail": of what began at this moment; a number: so many milliseconds pass. */
type Step = "ok" | "fail" | "old fail" | "knock" | "no knock" | number;

test("the states of a shunned member, step by step", () => {
  const failedKnock = (waitMs: number): Step[] => [waitMs - 1, "no knock", 1, "knock", "fail"];
  const rows: [what: string, steps: Step[], isShunned: boolean][] = [
    ["it begins as a good one", ["no knock"], false],
    ["one failure is enough", ["fail", "no knock"], true],
    ["but not of a request that began before its last answer", ["ok", "old fail"], false],
    ["it is knocked at after a second, once", ["fail", 999, "no knock", 1, "knock", "no knock"], true],
    ["and is shunned until it answers", ["fail", 1000, "knock", 5000, "no knock"], true],
    ["which ends it", ["fail", 1000, "knock", "ok"], false],
    ["a failed knock doubles the wait", ["fail", ...failedKnock(1000), ...failedKnock(2000)], true],
    [
      "up to ten seconds",
      ["fail", ...[1000, 2000, 4000, 8000, 10_000, 10_000].flatMap(failedKnock), 9999, "no knock", 1, "knock"],
      true,
    ],
    ["requests that fail with the first do not", ["fail", "fail", "old fail", "fail", 1000, "knock"], true],
    ["nor do those that fail during a knock", ["fail", 1000, "knock", "old fail", 1000, "no knock", "ok"], false],
    [
      "if it fails again within a minute after it came back, the wait doubles, too",
      ["fail", 1000, "knock", "ok", 59_999, "fail", 1999, "no knock", 1, "knock"],
      true,
    ],
    [
      "a minute later, the wait is short again",
      ["fail", ...failedKnock(1000), "ok", 59_000, "ok", 1000, "fail", 1000, "knock"],
      true,
    ],
  ];
  for (const [what, steps, isShunned] of rows) {
    const clock = fakeClock();
    clock.advance(10_000);
    const shunning = createShunning(clock);
    for (const step of steps) {
      if (typeof step === "number") clock.advance(step);
      else if (step === "ok") shunning.answered();
      else if (step === "fail") shunning.failed(clock.monotonicMs());
      else if (step === "old fail") shunning.failed(clock.monotonicMs() - 1);
      else assert.equal(shunning.mayKnock(), step === "knock", what);
    }
    assert.equal(shunning.isShunned(), isShunned, what);
  }
});

test("only the first of several failures is news", () => {
  const shunning = createShunning(fakeClock());
  assert.equal(shunning.failed(0), true);
  assert.equal(shunning.failed(0), false);
});
