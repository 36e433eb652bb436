/**
 * Runs worlds, one seed after another, in a thread of its own: beside the test runner, whose hooks on each promise
 * would take longer than the worlds do.
 */
import { parentPort, workerData } from "node:worker_threads";
import { runFaults, runLossyHour } from "./health-course.ts";

/** What the thread is told. */
export interface Orders {
  kind: "faults" | "lossy hour";
  seeds: readonly number[];
}

/** What it tells when it has done, or at the first failure. */
export type Outcome = { failure: string } | { worlds: number };

const { kind, seeds } = workerData as Orders;
const run = kind === "faults" ? runFaults : runLossyHour;
let outcome: Outcome = { worlds: seeds.length };
try {
  for (const seed of seeds) await run(seed);
} catch (error) {
  outcome = { failure: (error as Error).message };
}
parentPort?.postMessage(outcome);
