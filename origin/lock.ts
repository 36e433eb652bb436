/**
 * One data directory, one origin. Two origins over one directory would sweep away each other's uploads, so the first
 * holds a lock that the system itself lets go when the process ends, however it ends: an exclusive SQLite transaction
 * on a file of its own, which is a plain file lock (no pid file that a kill would leave behind).
 */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { NearcastError } from "#base/errors.ts";

const busy = 5;

/**
 * @param refusal what to say when another process holds the lock
 * @returns what lets go of the directory
 * @throws NearcastError CONFLICT when it is held, DISK_FAILED when the lock can't be taken at all
 */
export function lockDirectory(directory: string, refusal = `another origin is running on ${directory}`): () => void {
  const file = join(directory, "lock.sqlite");
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock?.close();
    if ((error as { errcode?: unknown }).errcode === busy)
      throw new NearcastError("CONFLICT", refusal, { cause: error });
    throw new NearcastError(
      "DISK_FAILED",
      `${file} can't be locked: ${(error as Error).message}. It holds nothing: delete it if it is damaged, ` +
        "and look whether the disk is full or read-only and whose folder it is",
      { cause: error },
    );
  }
  const held = lock;
  return () => {
    held.close();
  };
}
