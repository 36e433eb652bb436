import assert from "node:assert/strict";
import { test } from "node:test";
import { silenceOf } from "#follow/origin-silence.ts";

test("an origin that sends nothing is reported after two heartbeats and a half, and no earlier", () => {
  const rows: [heardAtMs: number | null, nowMs: number, says: RegExp | undefined][] = [
    [10_000, 10_000, undefined],
    [10_000, 14_999, undefined],
    [10_000, 15_000, /^the origin has sent nothing for 5 s: purges/],
    [10_000, 75_500, /for 65 s: /],
    [null, 5999, undefined],
    [null, 6000, /^the origin has sent nothing since this node started: /],
  ];
  for (const [heardAtMs, nowMs, says] of rows) {
    const said = silenceOf(heardAtMs, 1000, nowMs);
    if (says === undefined) assert.equal(said, undefined, String(nowMs));
    else assert.match(said ?? "", says);
  }
});
