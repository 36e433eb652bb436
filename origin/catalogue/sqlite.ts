/**
 * The catalogue in one SQLite file, through `node:sqlite`: opens and upgrades it. The statements are in
 * sqlite-names.ts, sqlite-log.ts and sqlite-roster.ts; every change runs through sqlite-change.ts.
 *
 * Write-ahead log with synchronous=FULL: a commit returns after fsync, so an acknowledged change survives a power
 * failure. Calls are synchronous: a read takes some dozen microseconds, a write one fsync. So no other code of this
 * process runs in the middle of a transaction.
 */
import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Catalogue } from "./catalogue.ts";
import { openChanges } from "./sqlite-change.ts";
import { openLogTables } from "./sqlite-log.ts";
import { openNameTables } from "./sqlite-names.ts";
import { openRosterTables } from "./sqlite-roster.ts";
import { openTokenTables } from "./sqlite-tokens.ts";
import { asDiskFailure, damagedCatalogue, namingTheFile } from "./sqlite-failure.ts";
import { type CatalogueLimits, type SqliteSession, transaction } from "./sqlite-session.ts";

/** One entry per version of the schema; entries are only added, never changed. */
const upgrades = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE blobs (
    sha256 TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, type TEXT NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, frames INTEGER NOT NULL, has_alpha INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE names (
    name TEXT PRIMARY KEY, version INTEGER NOT NULL, is_deleted INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX names_there ON names (name) WHERE is_deleted = 0;

  CREATE TABLE versions (
    name TEXT NOT NULL REFERENCES names, version INTEGER NOT NULL, sha256 TEXT REFERENCES blobs,
    author TEXT NOT NULL, created_ms INTEGER NOT NULL, reason TEXT NOT NULL, from_version INTEGER,
    PRIMARY KEY (name, version)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX versions_of_blob ON versions (sha256) WHERE sha256 IS NOT NULL;

  CREATE TABLE fleet (
    version INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, author TEXT NOT NULL, created_ms INTEGER NOT NULL,
    summary TEXT NOT NULL, from_version INTEGER
  ) STRICT;

  CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, json TEXT NOT NULL, created_ms INTEGER NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE roster_nodes (name TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE roster_draining (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  INSERT INTO meta (key, value) VALUES ('roster_revision', '0');
  `,
  `
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, mark INTEGER NOT NULL,
    author TEXT NOT NULL, token_kind TEXT, token_id TEXT, address TEXT, targets TEXT NOT NULL,
    target_count INTEGER NOT NULL, facts TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX audit_of_kind ON audit (kind, mark);
  CREATE INDEX audit_of_author ON audit (author, id);
  CREATE INDEX audit_by_time ON audit (at_ms);
  CREATE TABLE audit_targets (
    target TEXT NOT NULL, is_prefix INTEGER NOT NULL, id INTEGER NOT NULL REFERENCES audit ON DELETE CASCADE,
    PRIMARY KEY (target, is_prefix, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX audit_targets_of_entry ON audit_targets (id);
  CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries are final'); END;
  `,
  `
  CREATE TABLE tokens (
    digest TEXT PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER,
    is_handed_out INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  // NULL: uploaded to a release that did not count them.
  "ALTER TABLE blobs ADD COLUMN scans INTEGER",
];

/** Above this size only `nearcast backup` checks the pages: reading all of them would delay the start by seconds. */
const checkedBytesMax = 256 * 1024 * 1024;

/** @throws NearcastError DISK_FAILED for a file that is damaged or can't be used; it names the file and what to do */
export function openSqliteCatalogue(path: string, limits: CatalogueLimits, clock: Clock): Catalogue {
  let db: DatabaseSync;
  try {
    db = new DatabaseSync(path, { timeout: 5000 });
  } catch (error) {
    throw asDiskFailure(error, path);
  }
  try {
    checkPages(db, path);
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
    upgrade(db, path);
    const session: SqliteSession = { db, clock, limits, transaction: (work) => transaction(db, work, path) };
    const originId = identify(session, path);
    const { change, record, audit } = openChanges(session);
    const log = openLogTables(session, change);
    const names = openNameTables(session, change);
    const { currentRoster, ...roster } = openRosterTables(session, change, log.newestFleet);
    const catalogue: Catalogue = {
      originId,
      ...names,
      ...roster,
      ...openTokenTables(session, change),
      fleet: log.fleet,
      fleetVersions: log.fleetVersions,
      publishFleet: async (text, wanted, summarize) =>
        await log.publishFleet(text, wanted, (before) => summarize(before, currentRoster())),
      purge: log.purge,
      announceSecret: log.announceSecret,
      record,
      audit,
      feedBounds: log.feedBounds,
      eventsAfter: log.eventsAfter,
      close: () => {
        if (db.isOpen) db.close();
        return Promise.resolve();
      },
    };
    return namingTheFile(catalogue, path);
  } catch (error) {
    db.close();
    throw asDiskFailure(error, path);
  }
}

function checkPages(db: DatabaseSync, path: string): void {
  if (path === ":memory:" || statSync(path).size > checkedBytesMax) return;
  const verdict = String(db.prepare("PRAGMA quick_check(1)").get()?.["quick_check"]);
  if (verdict !== "ok") throw damagedCatalogue(path, verdict);
}

function upgrade(db: DatabaseSync, path: string): void {
  const row = db.prepare("PRAGMA user_version").get();
  const version = Number(row?.["user_version"] ?? 0);
  if (version > upgrades.length) {
    throw new NearcastError(
      "INTERNAL",
      `${path} was written by a newer nearcast (schema ${version}, this release knows ${upgrades.length}): ` +
        `upgrade nearcast`,
    );
  }
  for (const [index, statements] of upgrades.entries()) {
    if (index < version) continue;
    const upgradeTo = (): void => {
      db.exec(`${statements}; PRAGMA user_version = ${index + 1};`);
    };
    transaction(db, upgradeTo, path);
  }
}

/**
 * Edges remember (originId, seq). A restored backup reuses event numbers for other events, so it needs a new identity.
 * The file itself shows it: a copied file has another inode or birth time. Copying the directory elsewhere also drops
 * the edges' caches once, which is harmless.
 */
function identify(session: SqliteSession, path: string): string {
  const fileMark = markOf(path);
  const read = session.db.prepare("SELECT value FROM meta WHERE key = ?");
  const textOf = (key: string): string | undefined => {
    const value = read.get(key)?.["value"];
    return typeof value === "string" ? value : undefined;
  };
  const known = textOf("origin_id");
  if (known !== undefined && textOf("file_mark") === fileMark) return known;
  const originId = randomUUID();
  session.transaction(() => {
    const write = session.db.prepare(
      "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    write.run("origin_id", originId);
    write.run("file_mark", fileMark);
  });
  return originId;
}

function markOf(path: string): string {
  if (path === ":memory:") return "memory";
  const facts = statSync(path, { bigint: true });
  // Without birth times in the file system, Node reports 0 or the time of the last change, which is useless here.
  const birth = facts.birthtimeNs === facts.ctimeNs ? 0n : facts.birthtimeNs;
  return `${facts.ino}:${birth}`;
}
