/**
 * Whether a failure comes from a full disk, as reported by the system or SQLite, or as the cause of another failure.
 */
import { isFullDisk } from "./catalogue/sqlite-failure.ts";

/** True for a full disk and for an exhausted quota. */
export function saysFullDisk(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, errcode = 0 } = error as { code?: string; errcode?: number };
  if (code === "ENOSPC" || code === "EDQUOT") return true;
  if (code === "ERR_SQLITE_ERROR" && isFullDisk(errcode)) return true;
  return saysFullDisk(error.cause);
}
