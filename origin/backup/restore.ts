/**
 * Puts a backup back: into an empty data directory, or beside what is in one.
 *
 *   lock ─▶ hashes of catalogue and secrets ─▶ what is there moves aside ─▶ blobs, hashed ─▶ secrets ─▶ catalogue
 *
 * The catalogue comes last, under its name only when everything else is there: an origin refuses to start over blobs
 * without a catalogue, so a restore that was interrupted can't be mistaken for an origin.
 *
 * The restored catalogue gets a new identity. Nobody can know whether the lost origin sent more events after the
 * backup; their numbers would be used again with another meaning. Edges see the new identity, drop what they cached,
 * and follow.
 */
import { chmod, lchown, copyFile, lstat, mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { CatalogueLimits } from "../catalogue/sqlite-session.ts";
import { openSqliteCatalogue } from "../catalogue/sqlite.ts";
import { lockDirectory } from "#base/directory-lock.ts";
import type { Progress } from "./back-up.ts";
import { hashFile } from "../store/hash-file.ts";
import { copyBlob } from "./copy-file.ts";
import { blobPath, fileMode, folderMode, readManifest, secretPath, type Manifest } from "./manifest.ts";
import { readSnapshot } from "./snapshot.ts";

export interface RestoreReport {
  readonly manifest: Manifest;
  /** Where what was there before is now. */
  readonly movedTo: string | undefined;
}

export interface RestoreOptions {
  readonly clock: Clock;
  readonly keep: CatalogueLimits;
  /** Who restores, for the audit log. */
  readonly author: string;
  readonly isForced: boolean;
  readonly onProgress: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** @throws NearcastError NOT_FOUND, CONFLICT, DISK_FAILED, INTERNAL */
export async function restore(folder: string, dataDir: string, options: RestoreOptions): Promise<RestoreReport> {
  const manifest = await readManifest(folder);
  if (manifest === undefined)
    throw new NearcastError("NOT_FOUND", `${folder} holds no backup: no backup.json is there`);
  await verifyFiles(folder, manifest);
  const facts = readSnapshot(join(folder, manifest.catalogue.name));
  await mkdir(dataDir, { recursive: true, mode: folderMode });
  const unlock = lockDirectory(dataDir, `an origin is running on ${dataDir}: stop it first`);
  try {
    const movedTo = await makeRoom(dataDir, options);
    const missing = new Set(manifest.missing);
    const blobs = facts.blobs.filter(({ sha256 }) => !missing.has(sha256));
    const totalBytes = blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let doneBytes = 0;
    for (const { sha256, sizeBytes } of blobs) {
      options.signal?.throwIfAborted();
      const outcome = await copyBlob(blobPath(folder, sha256), blobPath(dataDir, sha256), sha256, options.signal);
      if (outcome !== "copied") {
        throw new NearcastError(
          "DISK_FAILED",
          `the blob ${blobPath(folder, sha256)} of the backup is ${outcome}: restore from another copy of the backup`,
        );
      }
      doneBytes += sizeBytes;
      options.onProgress({ phase: "restoring", doneBytes, totalBytes });
    }
    await mkdir(join(dataDir, "secrets"), { recursive: true, mode: folderMode });
    for (const secret of manifest.secrets) {
      await copyFile(secretPath(folder, secret), join(dataDir, "secrets", secret.name));
      await chmod(join(dataDir, "secrets", secret.name), fileMode);
    }
    const catalogue = join(dataDir, "catalogue.sqlite");
    await copyFile(join(folder, manifest.catalogue.name), `${catalogue}.new`);
    await chmod(`${catalogue}.new`, fileMode);
    forgetIdentity(`${catalogue}.new`);
    await rename(`${catalogue}.new`, catalogue);
    await recordRestore(catalogue, manifest, options);
    await giveToOwner(dataDir);
    return { manifest, movedTo };
  } finally {
    unlock();
  }
}

async function verifyFiles(folder: string, { catalogue, secrets }: Manifest): Promise<void> {
  const files = [
    { path: join(folder, catalogue.name), sha256: catalogue.sha256 },
    ...secrets.map((secret) => ({ path: secretPath(folder, secret), sha256: secret.sha256 })),
  ];
  for (const { path, sha256 } of files) {
    const found = await hashFile(path);
    if (found?.sha256 === sha256) continue;
    const fault = found === undefined ? "is not there" : "is not what the backup wrote: its hash differs";
    throw new NearcastError("DISK_FAILED", `${path} ${fault}. Restore from another copy of the backup`);
  }
}

async function recordRestore(path: string, manifest: Manifest, { clock, keep, author }: RestoreOptions): Promise<void> {
  const catalogue = openSqliteCatalogue(path, keep, clock);
  try {
    const facts = { backupOf: manifest.createdAt, latestSeq: manifest.latestSeq, originIdBefore: manifest.originId };
    const actor = { token: undefined, author, address: undefined };
    await catalogue.record(actor, { kind: "restore", targets: [], facts });
  } finally {
    await catalogue.close();
  }
}

async function makeRoom(dataDir: string, { isForced, clock }: RestoreOptions): Promise<string | undefined> {
  const entries = (await readdir(dataDir)).filter(
    (name) => !/^(?:lock\.sqlite.*|lost\+found|before-restore-.*)$/.test(name),
  );
  if (entries.length === 0) return undefined;
  if (!isForced) {
    throw new NearcastError(
      "CONFLICT",
      `${dataDir} is not empty (${entries.slice(0, 3).join(", ")}): --force moves what is there aside and ` +
        `deletes nothing`,
    );
  }
  const aside = join(dataDir, `before-restore-${new Date(clock.wallMs()).toISOString().replaceAll(/[-:]|\.\d+/g, "")}`);
  await mkdir(aside, { mode: folderMode });
  // The catalogue first: without it no origin starts on what is left when this is interrupted.
  for (const name of entries.toSorted((a, b) => rank(a) - rank(b)))
    await rename(join(dataDir, name), join(aside, name));
  return aside;
}

function rank(name: string): number {
  return name.startsWith("catalogue.sqlite") ? 0 : 1;
}

/** The origin makes a new identity at its start when none is noted for this file (catalogue/sqlite.ts). */
function forgetIdentity(path: string): void {
  const db = new DatabaseSync(path);
  try {
    db.exec("DELETE FROM meta WHERE key = 'file_mark'");
  } finally {
    db.close();
  }
}

/** Restored by root, read by the service's own user: everything goes to the owner of the data directory. */
async function giveToOwner(dataDir: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(dataDir);
  for (const name of await readdir(dataDir, { recursive: true })) {
    const path = join(dataDir, name);
    if ((await lstat(path)).uid !== uid) await lchown(path, uid, gid);
  }
}
