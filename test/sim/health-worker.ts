/**
 * Runs worlds, one seed after another, in a thread of its own: beside the test runner, whose hooks on each promise
 * would take longer than the worlds do.
 */
import { parentPort, workerData } from "node:worker_threads";
import { runFaults, runLossyHour } from "./health-course.ts";

/** 30 % of the packets each way fail half of all attempts; 16.3 % fail three in ten. */
const kinds = {
  faults: runFaults,
  "packets lost": (seed: number) => runLossyHour(seed, 0.3),
  "probes lost": (seed: number) => runLossyHour(seed, 1 - Math.sqrt(0.7)),
} as const;

/** What the thread is told. */
export interface Orders {
  kind: keyof typeof kinds;
  seeds: readonly number[];
  /** So many of them may break a promise that is one of chances. */
  exceptionsMost: number;
}

/** What it tells when it has done, or at the first failure. */
export type Outcome = { failure: string } | { worlds: number };

const { kind, seeds, exceptionsMost } = workerData as Orders;
const run = kinds[kind];
const failures: string[] = [];
for (const seed of seeds) {
  await run(seed).catch((error: unknown) => failures.push((error as Error).message));
  if (failures.length > exceptionsMost) break;
}
const outcome: Outcome =
  failures.length > exceptionsMost ? { failure: failures.join("\n\n") } : { worlds: seeds.length };
parentPort?.postMessage(outcome);
