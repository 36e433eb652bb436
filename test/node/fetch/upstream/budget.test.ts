import assert from "node:assert/strict";
import { test } from "node:test";
import { createBudget, earn, trySpend } from "../../../../node/fetch/upstream/budget.ts";

test("extra requests are a share of the ordinary ones, whatever their order", () => {
  const budget = createBudget({ perRequest: 0.05, perSecond: 0, savedMax: 10, savedAtStart: 0 }, 0);
  let extra = 0;
  for (let count = 0; count < 10_000; count += 1) {
    earn(budget);
    if (trySpend(budget, count)) extra += 1;
  }
  assert.ok(extra >= 499 && extra <= 500, String(extra));
});

test("what is saved up has a limit, and time earns a little", () => {
  const budget = createBudget({ perRequest: 0.1, perSecond: 0.1, savedMax: 3, savedAtStart: 1 }, 0);
  const spendAll = (nowMs: number): number => {
    let count = 0;
    while (trySpend(budget, nowMs)) count += 1;
    return count;
  };
  assert.equal(spendAll(0), 1);
  assert.equal(spendAll(9999), 0);
  assert.equal(spendAll(10_000), 1);
  for (let count = 0; count < 1000; count += 1) earn(budget);
  assert.equal(spendAll(10_000), 3);
  assert.equal(spendAll(10_000_000), 3);
  assert.equal(spendAll(5_000_000), 0, "a clock that went backwards earns nothing");
});
