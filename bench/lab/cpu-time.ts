/**
 * CPU time of a process and all its descendants.
 *
 *   server ─┬─ worker      /proc/PID/task/TID/schedstat: nanoseconds of each running thread
 *           └─ worker      /proc/PID/stat: ticks of the process, including threads and children that have ended
 *
 * The nanoseconds count, and the ticks where they tell of more: of threads that have ended (proc_pid_stat(5)).
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";

/** The kernel shows these times in USER_HZ, which is 100 on every architecture that Node runs on. */
const tickMs = 10;
/** User time and system time are both rounded: the ticks may tell of this many more than there were. */
const roundedTicks = 2;

/** A process. Its start time distinguishes it from a later process with the same number. */
export interface ProcessId {
  pid: number;
  startTicks: number;
}

interface ProcessStat {
  parent: number;
  /** User and system time of the process. */
  ownTicks: number;
  /** The same of its children that have ended. */
  endedTicks: number;
  startTicks: number;
}

/** User and system time in ms, since each process began. */
export function cpuTimeMs(root: number): number {
  const stats = readAll();
  return treeOf(root, stats).reduce((sum, pid) => {
    const { ownTicks, endedTicks } = stats.get(pid) ?? { ownTicks: 0, endedTicks: 0 };
    return sum + Math.max(threadsMs(pid), (ownTicks - roundedTicks) * tickMs) + endedTicks * tickMs;
  }, 0);
}

/** The time of the threads that are running now. */
function threadsMs(pid: number): number {
  let nanoseconds = 0;
  for (const thread of listIfThere(`/proc/${pid}/task`)) {
    const text = readIfThere(`/proc/${pid}/task/${thread}/schedstat`);
    nanoseconds += Number(text?.split(" ", 1)[0] ?? 0);
  }
  return nanoseconds / 1e6;
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
    const text = readIfThere(`/proc/${entry}/stat`);
    if (text !== undefined) stats.set(Number(entry), readStat(text));
  }
  return stats;
}

/** Undefined: the process or thread has ended. */
function readIfThere(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "latin1"));
}

function listIfThere(path: string): string[] {
  return ifThere(() => readdirSync(path)) ?? [];
}

function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

/** The name is in parentheses, and may contain spaces and parentheses: fields are counted from the last parenthesis. */
function readStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [parent = NaN, startTicks = NaN, ...times] = [1, 19, 11, 12, 13, 14].map((index) => Number(fields[index]));
  assert.ok([parent, startTicks, ...times].every(Number.isInteger), `can't read /proc/PID/stat: ${text}`);
  const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = times;
  return { parent, startTicks, ownTicks: user + system, endedTicks: endedUser + endedSystem };
}
