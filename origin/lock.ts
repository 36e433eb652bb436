/**
 * One data directory, one origin. Two origins over one directory would sweep away each other's uploads, so the first
 * holds a lock that the system itself lets go when the process ends, however it ends: an exclusive SQLite transaction
 * on a file of its own, which is a plain file lock (no pid file that a kill would leave behind).
 */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { NearcastError } from "#base/errors.ts";

/** @returns what lets go of the directory */
export function lockDirectory(directory: string): () => void {
  const lock = new DatabaseSync(join(directory, "lock.sqlite"), { timeout: 0 });
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    throw new NearcastError("CONFLICT", `another origin is running on ${directory}`, { cause: error });
  }
  return () => {
    lock.close();
  };
}
