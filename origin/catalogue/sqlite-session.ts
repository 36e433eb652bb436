/** What the statements of the catalogue share: the database, and one way to run a transaction. */
import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "#base/clock.ts";
import { asDiskFailure } from "./sqlite-failure.ts";

export interface CatalogueLimits {
  readonly versionsPerName: number;
  readonly fleetVersions: number;
  readonly events: number;
  readonly auditDays: number;
  /** Of one kind, counted in targets. */
  readonly auditEntries: number;
}

/** What the statements share. */
export interface SqliteSession {
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly limits: CatalogueLimits;
  /**
   * Runs `work` as one transaction; its writes are durable on return, or none of them is there. For upkeep that nobody
   * asked for; what somebody asks for goes through `change` (sqlite-change.ts), which names him.
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
      // A damaged or full disk refuses this as well; the first failure is the one to tell.
    }
    throw asDiskFailure(error, path);
  }
}
