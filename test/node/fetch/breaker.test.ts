import assert from "node:assert/strict";
import { test } from "node:test";
import { createBreaker } from "../../../node/fetch/breaker.ts";
import { fakeClock } from "../../support/fake-clock.ts";

type Step = "pass" | "refuse" | "ok" | "fail" | number;

test("the states of a breaker, step by step", () => {
  const fails = (count: number): Step[] => Array.from({ length: count }, () => "fail" as const);
  const rows: [what: string, steps: Step[], state: string][] = [
    ["it begins closed", ["pass"], "closed"],
    ["four failures do not open it", [...fails(4), "pass"], "closed"],
    ["the fifth in a row does", [...fails(5), "refuse"], "open"],
    ["a success in between begins the count anew", [...fails(4), "ok", ...fails(4), "pass"], "closed"],
    ["it stays open for its wait", [...fails(5), 499, "refuse"], "open"],
    ["then one piece of work goes through", [...fails(5), 500, "pass", "refuse"], "half-open"],
    ["whose success closes it", [...fails(5), 500, "pass", "ok", "pass", "pass"], "closed"],
    [
      "whose failure opens it for twice as long",
      [...fails(5), 500, "pass", "fail", 999, "refuse", 1, "pass"],
      "half-open",
    ],
    [
      "up to fifteen seconds",
      [
        ...fails(5),
        ...[500, 1000, 2000, 4000, 8000, 15_000].flatMap((ms): Step[] => [ms, "pass", "fail"]),
        14_999,
        "refuse",
        1,
        "pass",
      ],
      "half-open",
    ],
    [
      "after a success the wait is short again",
      [...fails(5), 500, "pass", "fail", 1000, "pass", "ok", ...fails(5), 500, "pass"],
      "half-open",
    ],
    [
      "a turn that never reported back is given again",
      [...fails(5), 500, "pass", 499, "refuse", 1, "pass"],
      "half-open",
    ],
    [
      "late failures of older work do not keep it open longer",
      [...fails(5), 400, ...fails(9), 100, "pass"],
      "half-open",
    ],
  ];
  for (const [what, steps, state] of rows) {
    const clock = fakeClock();
    const breaker = createBreaker(clock);
    for (const [index, step] of steps.entries()) {
      if (typeof step === "number") clock.advance(step);
      else if (step === "ok") breaker.succeeded();
      else if (step === "fail") breaker.failed();
      else assert.equal(breaker.tryPass(), step === "pass", `${what}: step ${index} (${step})`);
    }
    assert.equal(breaker.state(), state, what);
  }
});
