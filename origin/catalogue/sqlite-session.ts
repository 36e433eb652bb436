/** The database, and the transactions of the SQL files. */
import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "#base/clock.ts";
import { asDiskFailure } from "./sqlite-failure.ts";

export interface CatalogueLimits {
  readonly versionsPerName: number;
  readonly fleetVersions: number;
  readonly events: number;
  readonly auditDays: number;
  /** Per kind, counted in targets. */
  readonly auditEntries: number;
}

/** Shared by all statements. */
export interface SqliteSession {
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly limits: CatalogueLimits;
  /**
   * Runs `work` as one transaction: on return its writes are durable, or none was made. For the origin's own upkeep;
   * requested changes go through `change` (sqlite-change.ts), which records the actor.
   */
  readonly transaction: <Result>(work: () => Result) => Result;
}

export function transaction<Result>(db: DatabaseSync, work: () => Result, path: string): Result {
  try {
    db.exec("BEGIN IMMEDIATE");
    const result = work();
    db.exec("COMMIT");
    return result;
  } catch (error) {
    try {
      if (db.isOpen && db.isTransaction) db.exec("ROLLBACK");
    } catch {
      // A damaged or full disk may refuse the rollback, too; the first failure is reported.
    }
    throw asDiskFailure(error, path);
  }
}
