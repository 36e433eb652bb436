import assert from "node:assert/strict";
import { test } from "node:test";
import { afterRun, atReady, hopelessStatus, noRuns, restMs, type Runs } from "../../../node/processes/restart-delay.ts";

const falseStart = (runs: Runs, status: number | null = 1): Runs => afterRun(runs, { readyMs: null, status });
const crash = (runs: Runs, readyMs: number): Runs => afterRun(atReady(runs), { readyMs, status: null });

function repeat(times: number, runs: Runs, next: (runs: Runs) => Runs): Runs {
  return times === 0 ? runs : repeat(times - 1, next(runs), next);
}

test("the rest doubles from 0.2 s to 30 s", () => {
  const rests: number[] = [];
  let runs = noRuns;
  for (let times = 0; times < 10; times++) {
    runs = times % 2 === 0 ? falseStart(runs) : crash(runs, 59_999);
    rests.push(restMs(runs));
  }
  assert.deepEqual(rests, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  assert.equal(restMs(repeat(5000, noRuns, falseStart)), 30_000);
});

test("a minute of being ready makes it short again", () => {
  const often = repeat(8, noRuns, falseStart);
  assert.equal(restMs(crash(often, 60_000)), 200);
  assert.equal(restMs(crash(crash(often, 60_000), 0)), 200);
  assert.equal(restMs(crash(crash(crash(often, 60_000), 0), 0)), 400);
});

test("when starting on is in vain", () => {
  const mend = falseStart(noRuns, 2);
  const five = repeat(5, noRuns, falseStart);
  const rows: [why: string, all: Runs[], status: number | undefined][] = [
    ["nothing has ended yet", [noRuns, noRuns], undefined],
    ["one has ended, the other not", [mend, noRuns], undefined],
    ["all say that the configuration has to be mended", [mend, mend], 2],
    ["one of them can't say so", [mend, falseStart(noRuns, 1)], undefined],
    ["a signal ended one", [mend, falseStart(noRuns, null)], undefined],
    ["five tries of each", [five, five], 1],
    ["five of one, four of the other", [five, repeat(4, noRuns, falseStart)], undefined],
    ["five, and the last of all was 2", [falseStart(five, 2), falseStart(five, 2)], 2],
    ["one is ready", [five, atReady(five)], undefined],
    ["one was ready in its last run", [five, crash(five, 1)], undefined],
  ];
  for (const [why, all, status] of rows) assert.equal(hopelessStatus(all), status, why);
});
