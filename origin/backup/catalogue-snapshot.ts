/** Takes a snapshot of a catalogue that is in use, and reads it. */
import { backup, DatabaseSync } from "node:sqlite";
import { chmod } from "node:fs/promises";
import { asDiskFailure, damagedCatalogue } from "../catalogue/sqlite-failure.ts";
import { fileMode } from "./manifest.ts";

/** All pages in one step: with several, each write of the running origin would restart the copy. */
const pagesPerStep = 2_147_483_647;

export interface SnapshotFacts {
  readonly originId: string;
  readonly latestSeq: number;
  /** Blobs that a version refers to, in the order of their hashes. */
  readonly blobs: readonly { readonly sha256: string; readonly sizeBytes: number }[];
}

/** SQLite's online backup: the state of one moment, while the origin runs. @throws NearcastError DISK_FAILED */
export async function takeSnapshot(catalogue: string, to: string): Promise<void> {
  const source = openReadOnly(catalogue);
  try {
    await backup(source, to, { rate: pagesPerStep });
  } catch (error) {
    throw asDiskFailure(error, catalogue);
  } finally {
    source.close();
  }
  await chmod(to, fileMode);
  // The copy inherits the write-ahead log mode of its source, but must be a single file.
  const copy = new DatabaseSync(to);
  try {
    copy.exec("PRAGMA journal_mode = DELETE");
  } catch (error) {
    throw asDiskFailure(error, to);
  } finally {
    copy.close();
  }
}

/** Checks every page of a snapshot and reads what it names. @throws NearcastError DISK_FAILED for a damaged one */
export function readSnapshot(path: string): SnapshotFacts {
  const db = openReadOnly(path);
  try {
    const verdict = String(db.prepare("PRAGMA integrity_check(1)").get()?.["integrity_check"]);
    if (verdict !== "ok") throw damagedCatalogue(path, verdict);
    const originId = db.prepare("SELECT value FROM meta WHERE key = 'origin_id'").get()?.["value"];
    const latest = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'events'").get()?.["seq"];
    return {
      originId: typeof originId === "string" ? originId : "",
      latestSeq: Number(latest ?? 0),
      blobs: blobsOf(db),
    };
  } catch (error) {
    throw asDiskFailure(error, path);
  } finally {
    db.close();
  }
}

/** Reads the blobs that a catalogue refers to now, without checking it. @throws NearcastError DISK_FAILED */
export function readBlobs(path: string): SnapshotFacts["blobs"] {
  const db = openReadOnly(path);
  try {
    return blobsOf(db);
  } catch (error) {
    throw asDiskFailure(error, path);
  } finally {
    db.close();
  }
}

function blobsOf(db: DatabaseSync): SnapshotFacts["blobs"] {
  return db
    .prepare(
      `SELECT sha256, size_bytes FROM blobs WHERE EXISTS (SELECT 1 FROM versions v WHERE v.sha256 = blobs.sha256)
       ORDER BY sha256`,
    )
    .all()
    .map((row) => ({ sha256: String(row["sha256"]), sizeBytes: Number(row["size_bytes"]) }));
}

function openReadOnly(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  } catch (error) {
    throw asDiskFailure(error, path);
  }
}
