import assert from "node:assert/strict";
import { test } from "node:test";
import { openQuarantine } from "../../../node/image/quarantine.ts";

const code = "DECODER_CRASHED";

test("the second failure puts a source aside, and each further one for twice as long, up to an hour", () => {
  const quarantine = openQuarantine();
  let nowMs = 0;
  const pauses: number[] = [];
  for (let failures = 1; failures <= 10; failures += 1) {
    quarantine.failed("a", code, nowMs);
    const found = quarantine.check("a", nowMs);
    pauses.push((found?.leftMs ?? 0) / 1000);
    if (found !== undefined) assert.deepEqual([found.code, found.failures], [code, failures]);
    nowMs += found?.leftMs ?? 0;
    assert.equal(quarantine.check("a", nowMs), undefined);
  }
  assert.deepEqual(pauses, [0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
});

test("a success, another version, or a long time without a failure free it", () => {
  const quarantine = openQuarantine();
  quarantine.failed("a", code, 0);
  quarantine.succeeded("a");
  quarantine.failed("a", code, 0);
  assert.equal(quarantine.check("a", 0), undefined);
  quarantine.failed("a", code, 0);
  assert.equal(quarantine.check("b", 0), undefined);
  assert.deepEqual([quarantine.size(0), quarantine.size(30_000)], [1, 0]);
  quarantine.failed("a", code, 30_000 + 7_200_000);
  assert.equal(quarantine.check("a", 30_000 + 7_200_000), undefined, "as if it were the first");
});

test("it remembers a bounded number of sources", () => {
  const quarantine = openQuarantine();
  for (let count = 0; count < 20_000; count += 1) {
    quarantine.failed(`s${count}`, code, 0);
    quarantine.failed(`s${count}`, code, 0);
  }
  assert.equal(quarantine.size(0), 10_000);
});
