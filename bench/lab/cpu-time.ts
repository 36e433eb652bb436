/**
 * CPU time of a process and all its descendants, from /proc/PID/stat (proc_pid_stat(5)).
 *
 *   server ─┬─ worker      utime + stime of each running process, and cutime + cstime: those of its children that ended
 *           └─ worker
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";

/** The kernel shows these times in USER_HZ, which is 100 on every architecture that Node runs on. */
const tickMs = 10;

/** A process. Its start time distinguishes it from a later process with the same number. */
export interface ProcessId {
  pid: number;
  startTicks: number;
}

interface ProcessStat {
  parent: number;
  ticks: number;
  startTicks: number;
}

/** User and system time in ms, since each process began. */
export function cpuTimeMs(root: number): number {
  const stats = readAll();
  return treeOf(root, stats).reduce((sum, pid) => sum + (stats.get(pid)?.ticks ?? 0), 0) * tickMs;
}

/** The process and all its descendants, parents before children. */
export function processTree(root: number): ProcessId[] {
  const stats = readAll();
  return treeOf(root, stats).map((pid) => ({ pid, startTicks: stats.get(pid)?.startTicks ?? 0 }));
}

/** Those that are still running. */
export function survivors(processes: readonly ProcessId[]): ProcessId[] {
  const stats = readAll();
  return processes.filter(({ pid, startTicks }) => stats.get(pid)?.startTicks === startTicks);
}

function treeOf(root: number, stats: ReadonlyMap<number, ProcessStat>): number[] {
  const tree = [root];
  for (const pid of tree) for (const [other, { parent }] of stats) if (parent === pid) tree.push(other);
  return tree;
}

function readAll(): Map<number, ProcessStat> {
  const stats = new Map<number, ProcessStat>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      stats.set(Number(entry), readStat(readFileSync(`/proc/${entry}/stat`, "latin1")));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" && code !== "ESRCH") throw error; // it has ended meanwhile
    }
  }
  return stats;
}

/** The name is in parentheses, and may contain spaces and parentheses: fields are counted from the last parenthesis. */
function readStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [parent = NaN, startTicks = NaN, ...times] = [1, 19, 11, 12, 13, 14].map((index) => Number(fields[index]));
  assert.ok([parent, startTicks, ...times].every(Number.isInteger), `can't read /proc/PID/stat: ${text}`);
  return { parent, startTicks, ticks: times.reduce((sum, ticks) => sum + ticks, 0) };
}
