/**
 * The limit on open files of this process (RLIMIT_NOFILE), and who may use how much of it. What is left, a quarter, is
 * for origins, other nodes, DNS over TCP, decoders and logs.
 */
import { readFileSync } from "node:fs";

const diskShare = 1 / 4;
const connectionsShare = 1 / 2;
const leastForDisk = 64;
const mostForDisk = 65_536;
const leastConnections = 64;
/** More is not counted: tables with an entry for each descriptor would get large. */
const plenty = 1_048_576;
/** POSIX systems allow at least this many. */
const limitElsewhere = 256;

/** Files that the disk tier may keep open. */
export function descriptorsForDisk(openFiles = openFilesMax()): number {
  return Math.min(mostForDisk, Math.max(leastForDisk, Math.floor(openFiles * diskShare)));
}

/** Connections of clients that each of several listeners may have, and `most` at the most. */
export function connectionsFor(listeners: number, most: number, openFiles = openFilesMax()): number {
  return Math.min(most, Math.max(leastConnections, Math.floor((openFiles * connectionsShare) / listeners)));
}

/**
 * Node raises it to the hard limit at its start.
 * @param limits in the format of /proc/self/limits
 */
export function openFilesMax(limits = ownLimits()): number {
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === undefined) return limitElsewhere;
  return soft === "unlimited" ? plenty : Math.min(plenty, Number(soft));
}

function ownLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return ""; // not Linux
  }
}
