/**
 * CPU time, in milliseconds: what work costs however busy the machine is. Of a process's main thread Linux tells it in
 * nanoseconds (Documentation/scheduler/sched-stats.rst).
 */
import { readFileSync } from "node:fs";

/** Garbage that is collected, or a host that lends its core to others, falls into some measurements, not into all. */
const measurementsMax = 5;

function mainThreadMs(pid: number): number {
  const [onCpuNs = ""] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ");
  return Number(onCpuNs) / 1e6;
}

/** Whether this machine tells. */
export function canMeasureProcesses(): boolean {
  try {
    return mainThreadMs(process.pid) > 0;
  } catch {
    return false;
  }
}

/**
 * What `work` costs the main thread of another process at the least. Work that costs more than `enoughMs` is done
 * again: garbage of earlier work may be collected in its time, but what it causes itself is there each time.
 */
export async function leastCpuMs(pid: number, enoughMs: number, work: () => Promise<unknown>): Promise<number> {
  let leastMs = Infinity;
  for (let count = 0; count < measurementsMax && leastMs > enoughMs; count += 1) {
    const beforeMs = mainThreadMs(pid);
    await work();
    leastMs = Math.min(leastMs, mainThreadMs(pid) - beforeMs);
  }
  return leastMs;
}

/** The same for work of this very thread. */
export function leastOwnCpuMs(enoughMs: number, work: () => unknown): number {
  let leastMs = Infinity;
  for (let count = 0; count < measurementsMax && leastMs > enoughMs; count += 1) {
    const before = process.threadCpuUsage();
    work();
    const { user, system } = process.threadCpuUsage(before);
    leastMs = Math.min(leastMs, (user + system) / 1000);
  }
  return leastMs;
}
