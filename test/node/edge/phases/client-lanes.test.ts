/** How many lanes an edge has: what the configuration wants, and what the machine gives. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError } from "#base/read-config.ts";
import { laneChoice, type Machine } from "../../../../node/edge/phases/client-lanes.ts";

const machine: Machine = { cores: 8, processes: 1, openFiles: 524_288, missing: undefined };

test("auto is one lane for every two cores that this process has, from 1 to 4", () => {
  const rows: [cores: number, processes: number, lanes: number][] = [
    [1, 1, 1],
    [2, 1, 1],
    [3, 1, 1],
    [4, 1, 2],
    [8, 1, 4],
    [64, 1, 4],
    [8, 2, 2],
    [8, 8, 1],
    [2, 64, 1],
  ];
  for (const [cores, processes, count] of rows) {
    assert.deepEqual(laneChoice("auto", { ...machine, cores, processes }), { count }, `${cores} cores, ${processes}`);
  }
});

test("auto is none where lanes can't run, or where there are few open files, and says why", () => {
  const missing = "koffi, an optional dependency, can't be loaded";
  assert.deepEqual(laneChoice("auto", { ...machine, missing }), { count: 0, absent: missing });
  const few = laneChoice("auto", { ...machine, openFiles: 1024 });
  assert.equal(few.count, 0);
  assert.match(few.absent ?? "", /open files is 1024, and lanes need 4096/);
  assert.deepEqual(laneChoice("auto", { ...machine, openFiles: 4096 }), { count: 4 });
});

test("a configured number holds for any machine where lanes can run, and is an error elsewhere", () => {
  assert.deepEqual(laneChoice(7, { ...machine, cores: 1, openFiles: 1024 }), { count: 7 });
  assert.deepEqual(laneChoice(0, { ...machine, missing: "not here" }), { count: 0 });
  assert.throws(
    () => laneChoice(2, { ...machine, missing: "not on darwin" }),
    (error) => error instanceof ConfigError && /front\.lanes: is 2, but .*not on darwin/.test(error.message),
  );
});
