/**
 * npm runs a command as npm ▸ sh ▸ node. On a signal to stop, npm and its shell end at once, and the command does not
 * notice: it would continue as an orphan that holds its ports. So a process that npm started watches its ancestors.
 */
import { readFileSync } from "node:fs";
import type { Cancel, Clock } from "./clock.ts";

/** A stop takes seconds; another half second does not matter. */
const lookMs = 500;
const shells = new Set(["sh", "dash", "bash", "ash", "busybox"]);
/** npm, its shell, and one more shell for a script that calls a script. */
const launchersMax = 3;

/** @param environment npm sets the name of its command here for every process that it runs */
export function isStartedByNpm(environment: Readonly<Record<string, string | undefined>>): boolean {
  return environment["npm_command"] !== undefined;
}

/**
 * Calls `gone` once, when the parent ends or, if the parent is a shell, when the program that started the shell ends.
 */
export function watchLauncher(clock: Clock, gone: () => void): Cancel {
  const before = launchers();
  const cancel = clock.every(lookMs, () => {
    if (launchers() === before) return;
    cancel();
    gone();
  });
  return cancel;
}

/**
 * The ancestors of this process, up to the first that is not a shell. The list changes when one of them ends, since its
 * child gets another parent.
 */
function launchers(): string {
  const pids = [process.ppid];
  for (let pid = process.ppid; pids.length < launchersMax;) {
    const above = aboveShell(pid);
    if (above === undefined) break;
    pids.push(above);
    pid = above;
  }
  return pids.join(" ");
}

/**
 * The parent of a shell (proc(5): the second and fourth field of stat); undefined for another program, or without
 * /proc.
 */
function aboveShell(pid: number): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name is in parentheses and may contain parentheses itself.
  const nameEnd = stat.lastIndexOf(")");
  if (!shells.has(stat.slice(stat.indexOf("(") + 1, nameEnd))) return undefined;
  return Number(stat.slice(nameEnd + 2).split(" ")[1]);
}
