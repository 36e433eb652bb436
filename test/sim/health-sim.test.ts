/**
 * Health in whole worlds from seeds: real probers in a simulated network (health-world.ts) with faults
 * (health-course.ts), and a referee who knows the truth (health-referee.ts). A failure names its seed and tells the
 * story:
 *
 *   NEARCAST_SIM_SEED=7 node --test test/sim/health-sim.test.ts      that world alone
 *   NEARCAST_TEST_LONG=1 …                                           many more
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { rounds } from "../support/long.ts";
import type { Orders, Outcome } from "./health-worker.ts";

const onlySeed = process.env["NEARCAST_SIM_SEED"];

async function runWorlds(kind: Orders["kind"], count: number, exceptionsMost = 0): Promise<void> {
  const seeds = onlySeed === undefined ? Array.from({ length: count }, (_, at) => at + 1) : [Number(onlySeed)];
  const workerData: Orders = { kind, seeds, exceptionsMost: onlySeed === undefined ? exceptionsMost : 0 };
  const worker = new Worker(new URL("./health-worker.ts", import.meta.url), { workerData });
  const [outcome] = (await once(worker, "message")) as [Outcome];
  await worker.terminate();
  if ("failure" in outcome) assert.fail(outcome.failure);
  assert.equal(outcome.worlds, seeds.length);
}

test("whatever breaks: who is gone is named no longer than 3 s, who is reached is up, all agree in the end", () =>
  runWorlds("faults", rounds(2000, 12_000)));

test("with 30 % of the probes lost no node's state changes more than twice an hour", () =>
  runWorlds("probes lost", rounds(4, 300)));

// Far harsher than a network in which TCP sends again: half of all attempts fail, and chance has its way now and then.
test("with 30 % of the packets lost each way, and none sent again, that holds in 99 hours of a hundred", () => {
  const hours = rounds(4, 300);
  return runWorlds("packets lost", hours, Math.floor(hours / 100));
});
