/**
 * Ensures that only one process uses a data directory: two would delete each other's files. The lock is an exclusive
 * SQLite transaction on a separate file, which is a plain file lock. So the system releases it however the process
 * ends; a pid file would survive a kill.
 */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { NearcastError } from "./errors.ts";

/** SQLITE_BUSY: another process holds the lock. */
const busy = 5;

/**
 * @param refusal what to say while another process holds the lock
 * @param fileName the lock's file; holders of different files may use the directory at the same time
 * @returns a function that releases the directory
 * @throws NearcastError CONFLICT while another process holds it, DISK_FAILED if the lock's file can't be used
 */
export function lockDirectory(directory: string, refusal: string, fileName = "lock.sqlite"): () => void {
  const file = join(directory, fileName);
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock?.close();
    if ((error as { errcode?: number }).errcode === busy) {
      throw new NearcastError("CONFLICT", refusal, { cause: error });
    }
    const advice = "Check the folder's owner and the disk; if the file is damaged, delete it, since it holds no data";
    throw new NearcastError("DISK_FAILED", `can't lock ${file}: ${(error as Error).message}. ${advice}`, {
      cause: error,
    });
  }
  return () => {
    lock.close();
  };
}
