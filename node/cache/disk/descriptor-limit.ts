/** How many files the disk tier may keep open. */
import { readFileSync } from "node:fs";

/** The other half is for connections. */
const part = 2;
const leastDescriptors = 64;
const mostDescriptors = 65_536;
/** POSIX systems allow at least this many. */
const limitElsewhere = 256;

/** Half of the process's limit on open files (RLIMIT_NOFILE), which Node raises to the hard limit at its start. */
export function descriptorsForDisk(): number {
  return Math.min(mostDescriptors, Math.max(leastDescriptors, Math.floor(openFilesMax() / part)));
}

function openFilesMax(): number {
  try {
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    if (soft === "unlimited") return mostDescriptors * part;
    return soft === undefined ? limitElsewhere : Number(soft);
  } catch {
    return limitElsewhere; // not Linux
  }
}
