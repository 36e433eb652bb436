/** What Linux says of a running process: its resident memory, its largest so far, and the bytes that it has read. */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";

/** Whether this system tells. */
export function canMeasureMemory(): boolean {
  return existsSync("/proc/self/clear_refs") && existsSync("/proc/self/io");
}

export async function residentBytes(pid: number): Promise<{ now: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
  return { now: read("VmRSS"), peak: read("VmHWM") };
}

/** The peak counts from now on. */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, "5");
}

/** Bytes that the process has got from read() and its relatives, of files and sockets alike. */
export async function bytesRead(pid: number): Promise<number> {
  return Number(/^rchar: (\d+)/m.exec(await readFile(`/proc/${pid}/io`, "utf8"))?.[1]);
}
