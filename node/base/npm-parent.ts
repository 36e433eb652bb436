/**
 * npm runs a command as npm ▸ sh ▸ node. When npm is told to end it ends at once, its shell with it, and the command
 * hears nothing: it would go on as an orphan that holds its ports. So who was started that way watches those above it.
 */
import { readFileSync } from "node:fs";
import type { Cancel, Clock } from "./clock.ts";

/** A stop takes seconds; half of one more is not noticed. */
const lookMs = 500;
const shells = new Set(["sh", "dash", "bash", "ash", "busybox"]);
/** npm, its shell, and one more for a script that calls a script. */
const launchersMax = 3;

/** @param environment npm names its command there, to all that it runs */
export function isStartedByNpm(environment: Readonly<Record<string, string | undefined>>): boolean {
  return environment["npm_command"] !== undefined;
}

/** Calls `gone` once, when the parent ends, or where that is a shell, the program that the shell was started by. */
export function watchLauncher(clock: Clock, gone: () => void): Cancel {
  const before = launchers();
  const cancel = clock.every(lookMs, () => {
    if (launchers() === before) return;
    cancel();
    gone();
  });
  return cancel;
}

/** The processes above this one, up to the first that is no shell. A process whose parent ended has another one. */
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

/** The parent of a shell (proc(5): stat's second and fourth field); undefined for another program, or without /proc. */
function aboveShell(pid: number): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name stands in parentheses and may hold some itself.
  const nameEnd = stat.lastIndexOf(")");
  if (!shells.has(stat.slice(stat.indexOf("(") + 1, nameEnd))) return undefined;
  return Number(stat.slice(nameEnd + 2).split(" ")[1]);
}
