/** Times on a command line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readLength, readSince } from "../../../deploy/cli/times.ts";

const nowMs = Date.UTC(2026, 10, 29, 12);

test("a length of time has a number and a unit", () => {
  assert.deepEqual(["30s", "45m", "2h", "7d"].map(readLength), [30_000, 2_700_000, 7_200_000, 604_800_000]);
  for (const text of ["", "2", "h", "2 h", "-2h", "2.5h", "2w", "1234567s"]) {
    assert.throws(() => readLength(text), /45m, 2h or 7d/, text);
  }
});

test("since: so long ago, or a date, which is a day of this machine's zone unless it names another", () => {
  assert.equal(readSince("2h")(nowMs), nowMs - 7_200_000);
  assert.equal(readSince("2026-11-01")(nowMs), new Date(2026, 10, 1).getTime());
  assert.equal(readSince("2026-11-01T08:30")(nowMs), new Date(2026, 10, 1, 8, 30).getTime());
  assert.equal(readSince("2026-11-01T08:30:00Z")(nowMs), Date.UTC(2026, 10, 1, 8, 30));
  for (const text of ["yesterday", "2026", "2026-13-01", "01.11.2026", "12:00"]) {
    assert.throws(() => readSince(text), /It must be a duration/, text);
  }
});
