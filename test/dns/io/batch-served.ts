/** The batch transport with what it needs, for the suite and for a process of its own. */
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { readStats } from "../../../dns/counters.ts";
import { newRateTable } from "../../../dns/guard/rate-limit.ts";
import { openBatch, type BatchTransport } from "../../../dns/io/batch.ts";
import type { BatchDeps } from "../../../dns/io/running-threads.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";
import type { Served } from "./udp-suite.ts";

export interface BatchServed extends Served {
  readonly batch: BatchTransport;
}

export async function serveBatch(
  addresses: readonly ListenAddress[],
  threads: number,
  more: Partial<Pick<BatchDeps, "clock" | "log" | "guard" | "sharesPorts" | "snapshot">> = {},
): Promise<BatchServed> {
  const batch = await openBatch(addresses, threads, {
    guard: { responsesPerSecond: 0, slip: 0, amplificationMax: 0 },
    rateTable: newRateTable(),
    identity: { nsid: undefined, version: undefined, id: undefined },
    clock: systemClock,
    log: silentLog,
    onFailure: (error) => {
      throw error;
    },
    ...more,
  });
  return {
    batch,
    addresses: batch.addresses,
    stats: () => readStats(batch.counters),
    publish: batch.publish,
    close: batch.close,
  };
}
