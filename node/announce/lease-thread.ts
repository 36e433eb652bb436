/** The main thread's end of lease-worker.ts: starts and restarts it, handles its messages, and stops it. */
import { Worker } from "node:worker_threads";
import { down, goodbyeMs, type Holding, inTime, restartMs, settle, show } from "./lease-holding.ts";
import { noReport } from "./lease-state.ts";
import type { FromLeaseWorker, LeaseOrder, LeaseReport, LeaseWorkerStart } from "./lease-worker.ts";

export function startWorker(holding: Holding): void {
  const { options, facts, source, beat } = holding;
  const { neighbor: peer, keyFile } = options.announce;
  const workerData: LeaseWorkerStart = { peer, source, keyFile, beat };
  const worker = new Worker(new URL("./lease-worker.ts", import.meta.url), {
    workerData,
    // The thread only needs a socket and a timer; a small heap keeps garbage collections short.
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
  });
  holding.worker = worker;
  worker.unref();
  facts.stalls = 0;
  worker.on("message", (message: FromLeaseWorker) => {
    if (message.kind === "report") takeReport(holding, message.report);
    else takeStall(holding, message);
  });
  worker.on("error", (error: Error) => {
    options.log.error({ err: error }, "the lease thread failed; it is started again");
  });
  worker.on("exit", () => {
    workerEnded(holding);
  });
  settle(holding);
}

/** Handles the thread's report about BIRD; logs the same problem once. */
function takeReport(holding: Holding, report: LeaseReport): void {
  const { options, facts, source } = holding;
  const wasEstablished = facts.report.session === "established";
  facts.report = report;
  if (report.session === "established") {
    holding.restartAfterMs = restartMs.first;
    holding.lastTrouble = "";
    if (!wasEstablished) options.log.info({ source }, "BGP session with BIRD established");
  } else if (report.session === "connecting" && report.reason !== holding.lastTrouble) {
    holding.lastTrouble = report.reason;
    const message = wasEstablished ? "BGP session with BIRD ended; retrying" : "no BGP session with BIRD; retrying";
    options.log.warn({ reason: report.reason }, message);
  }
  show(holding);
}

/** The thread saw no heartbeat and has withdrawn everything. */
function takeStall(holding: Holding, { stalls, forMs }: { stalls: number; forMs: number }): void {
  holding.facts.stalls = stalls;
  down(holding, `the main thread was blocked for ${forMs} ms`, forMs);
  settle(holding);
}

function workerEnded(holding: Holding): void {
  const { options, facts } = holding;
  facts.report = noReport;
  holding.worker = undefined;
  holding.lastOrder = undefined;
  show(holding);
  if (facts.isClosed) return;
  down(holding, "the lease thread died", null);
  settle(holding);
  holding.cancelRestart = options.clock.after(holding.restartAfterMs, () => {
    startWorker(holding);
  });
  holding.restartAfterMs = Math.min(2 * holding.restartAfterMs, restartMs.most);
}

export async function endWorker({ options, worker }: Holding): Promise<void> {
  if (worker === undefined) return;
  const ended = new Promise<void>((resolve) => {
    worker.once("exit", () => {
      resolve();
    });
  });
  worker.postMessage({ kind: "close" } satisfies LeaseOrder);
  await inTime(options, goodbyeMs, () => ended, undefined);
  await worker.terminate();
}
