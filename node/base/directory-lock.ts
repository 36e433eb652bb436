/**
 * One data directory, one process. Two processes would delete each other's files, so the first holds a lock that the
 * system releases when the process ends, however it ends: an exclusive SQLite transaction on a separate file, which is
 * a plain file lock (a pid file would survive a kill).
 */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { NearcastError } from "./errors.ts";

/** SQLITE_BUSY: another process holds the lock. */
const busy = 5;

/**
 * @param refusal what to say while another process holds the lock
 * @param fileName of the lock: what has another one may hold the directory at the same time
 * @returns what lets go of the directory
 * @throws NearcastError CONFLICT while another process holds it, DISK_FAILED when the lock's file can't be used
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
