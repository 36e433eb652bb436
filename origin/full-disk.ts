/** Whether a failure comes from a disk without room, in the system's words, SQLite's, or as the cause of another. */
import { isFullDisk } from "./catalogue/sqlite-failure.ts";

/** True for a full disk and for a quota that is used up. */
export function saysFullDisk(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, errcode = 0 } = error as { code?: string; errcode?: number };
  if (code === "ENOSPC" || code === "EDQUOT") return true;
  if (code === "ERR_SQLITE_ERROR" && isFullDisk(errcode)) return true;
  return saysFullDisk(error.cause);
}
