/** SQL for blobs, names and versions. catalogue.ts documents the methods. */
import type { SQLOutputValue } from "node:sqlite";
import type { PictureType } from "#base/picture-facts.ts";
import { holds } from "../precondition.ts";
import type { AuditKind } from "#base/audit-kinds.ts";
import type { Audited } from "./audit-entry.ts";
import type {
  BlobFacts,
  Catalogue,
  DeleteOutcome,
  PutOutcome,
  RollbackOutcome,
  Version,
  VersionReason,
} from "./catalogue.ts";
import { type AppendEvent, type Changes, unchanged } from "./sqlite-change.ts";
import type { SqliteSession } from "./sqlite-session.ts";

type Row = Record<string, SQLOutputValue>;

type NameMethods = Pick<
  Catalogue,
  | "blob"
  | "blobsAfter"
  | "blobTotals"
  | "usesOfBlob"
  | "version"
  | "versions"
  | "list"
  | "put"
  | "remove"
  | "rollback"
  | "forgetBlob"
>;

const versionColumns = `v.name, v.version, v.author, v.created_ms, v.reason, v.from_version,
  b.sha256, b.size_bytes, b.type, b.width, b.height, b.frames, b.has_alpha, b.scans`;

/** Greater than every character of a name, so `prefix` + this ends the range of names with the prefix. */
const beyondNames = "\u{10FFFF}";

/** All statements of these tables, prepared once. */
function prepareStatements(db: SqliteSession["db"]) {
  const selectBlob = db.prepare("SELECT * FROM blobs WHERE sha256 = ?");
  const isNamed = "EXISTS (SELECT 1 FROM versions v WHERE v.sha256 = blobs.sha256)";
  const selectBlobsAfter = db.prepare(
    `SELECT sha256, size_bytes FROM blobs WHERE sha256 > ? AND ${isNamed} ORDER BY sha256 LIMIT ?`,
  );
  const selectTotals = db.prepare(
    `SELECT count(*) AS count, total(size_bytes) AS size_bytes FROM blobs WHERE sha256 > ? AND ${isNamed}`,
  );
  const selectUses = db.prepare(
    `SELECT v.name, v.version, v.version = n.version AS is_current FROM versions v JOIN names n ON n.name = v.name
     WHERE v.sha256 = ? ORDER BY is_current DESC, v.name, v.version DESC LIMIT ?`,
  );
  const insertBlob = db.prepare(
    `INSERT INTO blobs (sha256, size_bytes, type, width, height, frames, has_alpha, scans)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING`,
  );
  const deleteBlob = db.prepare(
    "DELETE FROM blobs WHERE sha256 = :sha256 AND NOT EXISTS (SELECT 1 FROM versions WHERE versions.sha256 = :sha256)",
  );
  const selectNewest = db.prepare(
    `SELECT ${versionColumns} FROM names n JOIN versions v ON v.name = n.name AND v.version = n.version
     LEFT JOIN blobs b ON b.sha256 = v.sha256 WHERE n.name = ?`,
  );
  const selectVersion = db.prepare(
    `SELECT ${versionColumns} FROM versions v LEFT JOIN blobs b ON b.sha256 = v.sha256
     WHERE v.name = ? AND v.version = ?`,
  );
  const selectVersions = db.prepare(
    `SELECT ${versionColumns} FROM versions v LEFT JOIN blobs b ON b.sha256 = v.sha256
     WHERE v.name = ? ORDER BY v.version DESC`,
  );
  const selectEarlier = db.prepare(
    `SELECT ${versionColumns} FROM versions v JOIN blobs b ON b.sha256 = v.sha256
     WHERE v.name = ? AND v.version < ? ORDER BY v.version DESC LIMIT 1`,
  );
  const selectList = (from: string) =>
    db.prepare(
      `SELECT ${versionColumns} FROM names n INDEXED BY names_there
     JOIN versions v ON v.name = n.name AND v.version = n.version JOIN blobs b ON b.sha256 = v.sha256
     WHERE n.is_deleted = 0 AND n.name ${from} AND n.name < :end ORDER BY n.name LIMIT :limit`,
    );
  const selectListFrom = selectList(">= :from");
  const selectListAfter = selectList("> :from");
  const writeName = db.prepare(
    `INSERT INTO names (name, version, is_deleted) VALUES (?, ?, ?)
     ON CONFLICT (name) DO UPDATE SET version = excluded.version, is_deleted = excluded.is_deleted`,
  );
  const insertVersion = db.prepare(
    `INSERT INTO versions (name, version, sha256, author, created_ms, reason, from_version)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  );
  const dropVersions = db.prepare("DELETE FROM versions WHERE name = ? AND version <= ?");
  return {
    selectBlob,
    selectBlobsAfter,
    selectTotals,
    selectUses,
    insertBlob,
    deleteBlob,
    selectNewest,
    selectVersion,
    selectVersions,
    selectEarlier,
    selectListFrom,
    selectListAfter,
    writeName,
    insertVersion,
    dropVersions,
  };
}

type Statements = ReturnType<typeof prepareStatements>;

function blobMethods(statements: Statements): Pick<NameMethods, "blob" | "blobsAfter" | "blobTotals" | "usesOfBlob"> {
  return {
    blob: async (sha256) => {
      const row = statements.selectBlob.get(sha256);
      return row === undefined ? undefined : blobOf(row);
    },
    blobsAfter: async (after, limit) =>
      statements.selectBlobsAfter
        .all(after, limit)
        .map((row) => ({ sha256: String(row["sha256"]), sizeBytes: Number(row["size_bytes"]) })),
    blobTotals: async (after) => {
      const row = statements.selectTotals.get(after);
      return { count: Number(row?.["count"] ?? 0), sizeBytes: Number(row?.["size_bytes"] ?? 0) };
    },
    usesOfBlob: async (sha256, limit) =>
      statements.selectUses.all(sha256, limit).map((row) => ({
        name: String(row["name"]),
        version: Number(row["version"]),
        isCurrent: row["is_current"] === 1,
      })),
  };
}

export function openNameTables(session: SqliteSession, change: Changes["change"]): NameMethods {
  const { db, clock, limits, transaction } = session;
  const statements = prepareStatements(db);
  const newest = (name: string): Version | undefined => versionOf(statements.selectNewest.get(name));

  /**
   * Inside a transaction: adds the next version of `name`, prunes its oldest, appends the event, and returns the audit.
   */
  const appendVersion = (
    append: AppendEvent,
    before: Version | undefined,
    facts: Pick<Version, "name" | "blob" | "author" | "reason" | "fromVersion">,
  ): { version: Version; audited: Audited } => {
    const version = { ...facts, version: (before?.version ?? 0) + 1, createdMs: clock.wallMs() };
    statements.writeName.run(version.name, version.version, version.blob === undefined ? 1 : 0);
    statements.insertVersion.run(
      version.name,
      version.version,
      version.blob?.sha256 ?? null,
      version.author,
      version.createdMs,
      version.reason,
      version.fromVersion ?? null,
    );
    statements.dropVersions.run(version.name, version.version - limits.versionsPerName);
    append("purge", { reason: version.reason, names: [version.name], version: version.version });
    return { version, audited: auditedVersion(before, version) };
  };

  return {
    ...blobMethods(statements),
    version: async (name, version) =>
      version === undefined ? newest(name) : versionOf(statements.selectVersion.get(name, version)),
    versions: async (name) => statements.selectVersions.all(name).flatMap((row) => versionOf(row) ?? []),
    list: async (prefix, after, limit) => {
      // One lower bound, the greater of the two, so that a late page costs no more than the first.
      const isAfter = Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
      const select = isAfter && after !== "" ? statements.selectListAfter : statements.selectListFrom;
      const rows = select.all({
        from: select === statements.selectListAfter ? after : prefix,
        limit,
        end: prefix + beyondNames,
      });
      return rows.flatMap((row) => versionOf(row) ?? []);
    },

    put: async (name, blob, { actor, precondition }) =>
      change<PutOutcome>(actor, (append) => {
        const before = newest(name);
        if (!holds(precondition, before?.blob?.sha256)) return unchanged({ outcome: "precondition-failed" });
        if (before?.blob?.sha256 === blob.sha256) return unchanged({ outcome: "unchanged", version: before });
        statements.insertBlob.run(
          blob.sha256,
          blob.sizeBytes,
          blob.type,
          blob.width,
          blob.height,
          blob.frames,
          blob.hasAlpha ? 1 : 0,
          blob.scans ?? null,
        );
        const { version, audited } = appendVersion(append, before, {
          name,
          blob,
          author: actor.author,
          reason: "put",
          fromVersion: undefined,
        });
        return { result: { outcome: "stored", version, isNew: before?.blob === undefined }, audited };
      }),

    remove: async (name, { actor, precondition }) =>
      change<DeleteOutcome>(actor, (append) => {
        const before = newest(name);
        if (!holds(precondition, before?.blob?.sha256)) return unchanged({ outcome: "precondition-failed" });
        if (before === undefined) return unchanged({ outcome: "never-there" });
        if (before.blob === undefined) return unchanged({ outcome: "deleted-before" });
        const facts = { name, blob: undefined, author: actor.author, fromVersion: undefined };
        const { version, audited } = appendVersion(append, before, { ...facts, reason: "delete" });
        return { result: { outcome: "deleted", version }, audited };
      }),

    rollback: async (name, wanted, actor) =>
      change<RollbackOutcome>(actor, (append) => {
        const before = newest(name);
        if (before === undefined) return unchanged({ outcome: "never-there" });
        const row =
          wanted === undefined
            ? statements.selectEarlier.get(name, before.version)
            : statements.selectVersion.get(name, wanted);
        const target = versionOf(row);
        if (target === undefined) return unchanged({ outcome: "no-such-version" });
        if (target.blob === undefined) return unchanged({ outcome: "version-is-deletion" });
        if (target.blob.sha256 === before.blob?.sha256) return unchanged({ outcome: "unchanged", version: before });
        const facts = { name, blob: target.blob, author: actor.author, fromVersion: target.version };
        const { version, audited } = appendVersion(append, before, { ...facts, reason: "rollback" });
        return { result: { outcome: "rolled-back", version }, audited };
      }),

    forgetBlob: async (sha256) =>
      transaction(() => {
        statements.deleteBlob.run({ sha256 });
        // A remaining row belongs to a blob with a version; rows without one are absent or just deleted.
        return statements.selectBlob.get(sha256) === undefined;
      }),
  };
}

const kindOf = { put: "put", delete: "rm", rollback: "rollback" } as const satisfies Record<VersionReason, AuditKind>;

function auditedVersion(before: Version | undefined, after: Version): Audited {
  return {
    kind: kindOf[after.reason],
    targets: [after.name],
    facts: {
      version: after.version,
      versionBefore: before?.version,
      fromVersion: after.fromVersion,
      sha256: after.blob?.sha256,
      sha256Before: before?.blob?.sha256,
    },
  };
}

function blobOf(row: Row): BlobFacts {
  return {
    sha256: String(row["sha256"]),
    sizeBytes: Number(row["size_bytes"]),
    type: String(row["type"]) as PictureType,
    width: Number(row["width"]),
    height: Number(row["height"]),
    frames: Number(row["frames"]),
    hasAlpha: row["has_alpha"] === 1,
    ...(row["scans"] === null ? {} : { scans: Number(row["scans"]) }),
  };
}

function versionOf(row: Row | undefined): Version | undefined {
  if (row === undefined) return undefined;
  return {
    name: String(row["name"]),
    version: Number(row["version"]),
    blob: row["sha256"] === null ? undefined : blobOf(row),
    author: String(row["author"]),
    createdMs: Number(row["created_ms"]),
    reason: String(row["reason"]) as VersionReason,
    fromVersion: row["from_version"] === null ? undefined : Number(row["from_version"]),
  };
}
