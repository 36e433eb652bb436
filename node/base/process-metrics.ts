/**
 * The metrics that every process exports: those with the standard names of Prometheus client libraries, and the disk
 * space for the data. Read at each scrape.
 */
import { existsSync } from "node:fs";
import { readdir, readFile, statfs } from "node:fs/promises";
import type { Clock } from "./clock.ts";

export interface ProcessMetric {
  name: string;
  help: string;
  kind: "counter" | "gauge";
  read: () => number | Promise<number>;
}

/** @param dataDir a directory on the file system whose space to report */
export function processMetrics(dataDir: string, clock: Clock): readonly ProcessMetric[] {
  const startedSeconds = clock.wallMs() / 1000 - process.uptime();
  const everywhere: ProcessMetric[] = [
    {
      name: "process_cpu_seconds_total",
      help: "User and system CPU time of this process, without its decoders",
      kind: "counter",
      read() {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    {
      name: "process_start_time_seconds",
      help: "Start time of this process, in seconds since 1970",
      kind: "gauge",
      read: () => startedSeconds,
    },
    {
      name: "process_resident_memory_bytes",
      help: "Resident memory of this process, without its decoders",
      kind: "gauge",
      read: () => process.memoryUsage.rss(),
    },
    {
      name: "nodejs_heap_size_used_bytes",
      help: "JavaScript heap in use",
      kind: "gauge",
      read: () => process.memoryUsage().heapUsed,
    },
    {
      name: "nearcast_data_free_bytes",
      help: "Free space for this process on the file system of the data directory",
      kind: "gauge",
      read: async () => {
        const { bavail, bsize } = await statfs(dataDir);
        return bavail * bsize;
      },
    },
    {
      name: "nearcast_data_size_bytes",
      help: "Size of the file system of the data directory",
      kind: "gauge",
      read: async () => {
        const { blocks, bsize } = await statfs(dataDir);
        return blocks * bsize;
      },
    },
  ];
  return existsSync("/proc/self/fd") ? [...everywhere, ...ofLinux] : everywhere;
}

const ofLinux: readonly ProcessMetric[] = [
  {
    name: "process_open_fds",
    help: "Open file descriptors",
    kind: "gauge",
    read: async () => (await readdir("/proc/self/fd")).length,
  },
  {
    name: "process_max_fds",
    help: "Limit of open file descriptors",
    kind: "gauge",
    read: async () => {
      const softLimit = /^Max open files {1,40}(\d{1,20})/m.exec(await readFile("/proc/self/limits", "utf8"))?.[1];
      return Number(softLimit ?? Infinity);
    },
  },
];
