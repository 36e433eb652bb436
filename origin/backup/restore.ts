/**
 * Restores a backup into an empty data directory, or moves the content of the directory aside first.
 *
 *   hashes of catalogue and secrets ─▶ lock ─▶ what is there moves aside ─▶ blobs, hashed ─▶ secrets ─▶ catalogue
 *                                                  ▲                                 │ any failure
 *                                                  └─ what was copied is deleted, ◀──┘
 *                                                     what was there moves back
 *
 * The catalogue comes last, under its name only when everything else is there: an origin refuses to start over blobs
 * without a catalogue, so a restore that was killed can't be mistaken for an origin. One that fails leaves the data
 * directory as it was.
 *
 * The restored catalogue gets a new identity. Nobody can know whether the lost origin sent more events after the
 * backup; their numbers would be used again with another meaning. Edges see the new identity, drop what they cached,
 * and follow.
 */
import { chmod, lchown, copyFile, lstat, mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
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
import { readSnapshot } from "./catalogue-snapshot.ts";
import { asRestoreStopped, smallFilesBytes } from "./stopped.ts";

export interface RestoreReport {
  readonly manifest: Manifest;
  /** Where the previous content is now. */
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
  const manifest = await readManifest(
    folder,
    "without it nobody knows what belongs to this backup. Restore another backup",
  );
  if (manifest === undefined) throw new NearcastError("NOT_FOUND", await whyNoBackup(folder));
  await verifyFiles(folder, manifest);
  const facts = readSnapshot(join(folder, manifest.catalogue.name));
  const missing = new Set(manifest.missing);
  const blobs = facts.blobs.filter(({ sha256 }) => !missing.has(sha256));
  const aftermath: Aftermath = { left: "Nothing in it was changed" };
  try {
    return await inFolder(dataDir, async () => {
      const movedTo = await makeRoom(dataDir, options);
      await undoneOnFailure(dataDir, movedTo, aftermath, async () => {
        await copyBlobs(folder, dataDir, blobs, options);
        await copyRest(folder, dataDir, manifest, options);
      });
      return { manifest, movedTo };
    });
  } catch (error) {
    const neededBytes = totalBytesOf(blobs) + manifest.catalogue.sizeBytes + smallFilesBytes;
    throw await asRestoreStopped(error, dataDir, neededBytes, aftermath.left);
  }
}

async function whyNoBackup(folder: string): Promise<string> {
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  );
  return isThere ? `${folder} holds no backup: it has no backup.json` : `the backup folder ${folder} does not exist`;
}

/** What a failure reports about the previous content of the data directory. */
interface Aftermath {
  left: string;
}

/** Runs `work` in the locked data directory. On failure it removes the directory and lock if it created them. */
async function inFolder<Result>(dataDir: string, work: () => Promise<Result>): Promise<Result> {
  const firstMade = await mkdir(dataDir, { recursive: true, mode: folderMode });
  try {
    return await underLock(dataDir, work);
  } catch (error) {
    if (firstMade !== undefined) await removeEmpty(dataDir, firstMade);
    throw error;
  }
}

async function underLock<Result>(dataDir: string, work: () => Promise<Result>): Promise<Result> {
  const file = join(dataDir, "lock.sqlite");
  const isOurs = !(await readdir(dataDir)).includes("lock.sqlite");
  let unlock: () => void;
  try {
    unlock = lockDirectory(dataDir, `an origin is running on ${dataDir}: stop it first`);
  } catch (error) {
    // A directory that an origin made meanwhile belongs to that origin.
    if (isOurs && (error as NearcastError).code !== "CONFLICT") await rm(file, { force: true });
    throw error;
  }
  try {
    return await work();
  } catch (error) {
    // Still locked here: a process that opens the file now is refused at once.
    if (isOurs) await rm(file, { force: true });
    throw error;
  } finally {
    unlock();
  }
}

/** Runs `work` in a data directory that makeRoom() has emptied. */
async function undoneOnFailure(
  dataDir: string,
  movedTo: string | undefined,
  aftermath: Aftermath,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    await undo(dataDir, movedTo).catch((failure: unknown) => {
      const kept = movedTo === undefined ? "" : `; the previous content is in ${movedTo}`;
      aftermath.left = `The copied files could not be removed (${(failure as Error).message})${kept}`;
    });
    throw error;
  }
}

/** The catalogue leaves first and returns last, so no origin can start in between. */
async function undo(dataDir: string, movedTo: string | undefined): Promise<void> {
  const names = (await readdir(dataDir)).filter((name) => /^(?:catalogue\.sqlite.*|secrets|blobs)$/.test(name));
  for (const name of names.toSorted((a, b) => rank(a) - rank(b))) await rm(join(dataDir, name), { recursive: true });
  if (movedTo === undefined) return;
  await moveAll(await readdir(movedTo), movedTo, dataDir, "catalogue last");
  await rmdir(movedTo);
}

/** Removes folders that this restore made, innermost first. */
async function removeEmpty(dataDir: string, firstMade: string): Promise<void> {
  for (let at = dataDir; at.length >= firstMade.length; at = dirname(at)) {
    // A folder that is not empty stays, and so do its parents.
    const isGone = await rmdir(at).then(
      () => true,
      () => false,
    );
    if (!isGone) return;
  }
}

type Blobs = readonly { readonly sha256: string; readonly sizeBytes: number }[];

function totalBytesOf(blobs: Blobs): number {
  return blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

async function copyBlobs(
  folder: string,
  dataDir: string,
  blobs: Blobs,
  { onProgress, signal }: RestoreOptions,
): Promise<void> {
  const totalBytes = totalBytesOf(blobs);
  let doneBytes = 0;
  for (const { sha256, sizeBytes } of blobs) {
    signal?.throwIfAborted();
    const outcome = await copyBlob(blobPath(folder, sha256), blobPath(dataDir, sha256), sha256, signal);
    if (outcome !== "copied") {
      throw new NearcastError(
        "DISK_FAILED",
        `the blob ${blobPath(folder, sha256)} of the backup is ${outcome}: restore from another copy of the backup`,
      );
    }
    doneBytes += sizeBytes;
    onProgress({ phase: "restoring", doneBytes, totalBytes });
  }
}

/** Secrets, then the catalogue. */
async function copyRest(folder: string, dataDir: string, manifest: Manifest, options: RestoreOptions): Promise<void> {
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
}

async function verifyFiles(folder: string, { catalogue, secrets }: Manifest): Promise<void> {
  const files = [
    { path: join(folder, catalogue.name), sha256: catalogue.sha256 },
    ...secrets.map((secret) => ({ path: secretPath(folder, secret), sha256: secret.sha256 })),
  ];
  for (const { path, sha256 } of files) {
    const found = await hashFile(path);
    if (found?.sha256 === sha256) continue;
    const fault = found === undefined ? "is missing" : "is damaged: its hash differs";
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
      `${dataDir} is not empty (${entries.slice(0, 3).join(", ")}): --force moves its content aside and deletes ` +
        `nothing`,
    );
  }
  const aside = join(dataDir, `before-restore-${new Date(clock.wallMs()).toISOString().replaceAll(/[-:]|\.\d+/g, "")}`);
  await mkdir(aside, { mode: folderMode });
  try {
    await moveAll(entries, dataDir, aside, "catalogue first");
  } catch (error) {
    await moveAll(await readdir(aside), aside, dataDir, "catalogue last");
    await rmdir(aside);
    throw error;
  }
  return aside;
}

/** The order keeps an origin from starting on the rest when this is interrupted: it needs the catalogue. */
async function moveAll(
  names: readonly string[],
  from: string,
  to: string,
  order: "catalogue first" | "catalogue last",
): Promise<void> {
  const sign = order === "catalogue first" ? 1 : -1;
  for (const name of names.toSorted((a, b) => sign * (rank(a) - rank(b))))
    await rename(join(from, name), join(to, name));
}

function rank(name: string): number {
  return name.startsWith("catalogue.sqlite") ? 0 : 1;
}

/** At its start the origin makes a new identity when none is recorded for this file (catalogue/sqlite.ts). */
function forgetIdentity(path: string): void {
  const db = new DatabaseSync(path);
  try {
    db.exec("DELETE FROM meta WHERE key = 'file_mark'");
  } finally {
    db.close();
  }
}

/** Root restores, but the service's user must read: gives everything to the owner of the data directory. */
async function giveToOwner(dataDir: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(dataDir);
  for (const name of await readdir(dataDir, { recursive: true })) {
    const path = join(dataDir, name);
    if ((await lstat(path)).uid !== uid) await lchown(path, uid, gid);
  }
}
