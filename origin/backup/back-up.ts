/**
 * Backs up a running origin, on its own machine: the backup contains the tokens and the fleet secret, which the API
 * does not give to a writer.
 *
 *   snapshot of the catalogue ─▶ blobs that it names and the folder lacks ─▶ secrets ─▶ backup.json ─▶ what is left
 *   over
 *
 * The origin may delete a blob between the snapshot and the copy (an old version was pruned). Then a new snapshot is
 * taken, which no longer names the blob. Blobs that even a new snapshot names but the store does not have are reported.
 */
import { createHash } from "node:crypto";
import type { Dirent } from "node:fs";
import { mkdir, opendir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import { writeAtomic } from "#base/atomic-file.ts";
import { NearcastError } from "#base/errors.ts";
import { lockDirectory } from "#base/directory-lock.ts";
import { hashFile } from "../store/hash-file.ts";
import { copyBlob } from "./copy-file.ts";
import {
  blobPath,
  fileMode,
  folderMode,
  isFileName,
  type Manifest,
  readManifest,
  secretPath,
  writeManifest,
} from "./manifest.ts";
import { readSnapshot, takeSnapshot } from "./catalogue-snapshot.ts";
import { asStopped } from "./stopped.ts";

/** A blob that is still missing after this many snapshots was not pruned: it is lost. */
const snapshotsMax = 3;

export interface Progress {
  readonly phase: "copying" | "checking" | "restoring";
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface BackupReport {
  readonly manifest: Manifest;
  readonly copied: { readonly count: number; readonly sizeBytes: number };
  /** Blobs of earlier backups that were read again because of `isChecked`, and how many of them were damaged. */
  readonly checked: { readonly count: number; readonly sizeBytes: number; readonly damaged: number };
  /** Blobs that are missing or damaged at the origin and in every earlier backup of this folder. */
  readonly missing: readonly { readonly sha256: string; readonly fault: "missing" | "damaged" }[];
}

export interface BackUpOptions {
  readonly nowMs: number;
  /** Also reads and hashes the blobs that the folder already has. */
  readonly isChecked: boolean;
  readonly onProgress: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** @throws NearcastError CONFLICT, DISK_FAILED, INTERNAL */
export async function backUp(dataDir: string, folder: string, options: BackUpOptions): Promise<BackupReport> {
  const catalogue = join(dataDir, "catalogue.sqlite");
  if (!(await isFile(catalogue))) {
    throw new NearcastError("NOT_FOUND", `no origin in ${dataDir}: ${catalogue} does not exist`);
  }
  if (`${resolve(folder)}${sep}`.startsWith(`${resolve(dataDir)}${sep}`)) {
    throw new NearcastError(
      "CONFLICT",
      `${folder} must not be inside ${dataDir}: a backup there is lost together with the origin`,
    );
  }
  try {
    return await underLock(folder, async () => await backUpInto(catalogue, dataDir, folder, options));
  } catch (error) {
    throw await asStopped(error, catalogue, folder);
  }
}

async function underLock<Result>(folder: string, work: () => Promise<Result>): Promise<Result> {
  await mkdir(folder, { recursive: true, mode: folderMode });
  await refuseForeignFolder(folder);
  const unlock = lockDirectory(folder, `another backup to ${folder} is running`);
  try {
    return await work();
  } finally {
    unlock();
  }
}

async function backUpInto(
  catalogue: string,
  dataDir: string,
  folder: string,
  options: BackUpOptions,
): Promise<BackupReport> {
  const name = `catalogue-${new Date(options.nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, "")}.sqlite`;
  const snapshot = join(folder, `${name}.new`);
  const copied = { count: 0, sizeBytes: 0 };
  const checked = { count: 0, sizeBytes: 0, damaged: 0 };
  try {
    for (let round = 1; ; round += 1) {
      await rm(snapshot, { force: true });
      await takeSnapshot(catalogue, snapshot);
      const facts = readSnapshot(snapshot);
      // Count the last round only, since each round checks all blobs.
      Object.assign(checked, { count: 0, sizeBytes: 0 });
      const missing = await copyBlobs(dataDir, folder, facts.blobs, { copied, checked }, options);
      if (missing.length > 0 && round < snapshotsMax) continue;
      const secrets = await copySecrets(join(dataDir, "secrets"), folder);
      const hashed = await hashFile(snapshot, options.signal);
      if (hashed === undefined) throw new NearcastError("DISK_FAILED", `${snapshot} was deleted while the backup ran`);
      await rename(snapshot, join(folder, name));
      const manifest: Manifest = {
        format: 1,
        createdAt: new Date(options.nowMs).toISOString(),
        originId: facts.originId,
        latestSeq: facts.latestSeq,
        catalogue: { name, ...hashed },
        secrets,
        blobs: {
          count: facts.blobs.length - missing.length,
          sizeBytes: facts.blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        },
        missing: missing.map(({ sha256 }) => sha256),
      };
      await writeManifest(folder, manifest);
      await removeLeftOver(folder, manifest, new Set(facts.blobs.map(({ sha256 }) => sha256)));
      return { manifest, copied, checked, missing };
    }
  } finally {
    await rm(snapshot, { force: true });
  }
}

interface Counts {
  readonly copied: { count: number; sizeBytes: number };
  readonly checked: { count: number; sizeBytes: number; damaged: number };
}

async function copyBlobs(
  dataDir: string,
  folder: string,
  blobs: readonly { sha256: string; sizeBytes: number }[],
  { copied, checked }: Counts,
  { isChecked, onProgress, signal }: BackUpOptions,
): Promise<BackupReport["missing"]> {
  const totalBytes = blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const missing: { sha256: string; fault: "missing" | "damaged" }[] = [];
  let doneBytes = 0;
  for (const { sha256, sizeBytes } of blobs) {
    signal?.throwIfAborted();
    const target = blobPath(folder, sha256);
    const state = await stateOf(target, sha256, sizeBytes, isChecked, signal);
    if (isChecked && state !== "absent") {
      checked.count += 1;
      checked.sizeBytes += sizeBytes;
      if (state === "damaged") checked.damaged += 1;
    }
    if (state !== "whole") {
      const outcome = await copyBlob(blobPath(dataDir, sha256), target, sha256, signal);
      if (outcome === "copied") {
        copied.count += 1;
        copied.sizeBytes += sizeBytes;
      } else missing.push({ sha256, fault: outcome });
    }
    doneBytes += sizeBytes;
    onProgress({ phase: "copying", doneBytes, totalBytes });
  }
  return missing;
}

/**
 * A blob never changes under its name, so the right size means a complete copy; with `isChecked`, the hash is compared.
 */
async function stateOf(
  path: string,
  sha256: string,
  sizeBytes: number,
  isChecked: boolean,
  signal: AbortSignal | undefined,
): Promise<"absent" | "whole" | "damaged"> {
  const there = await sizeOf(path);
  if (there === undefined) return "absent";
  if (isChecked) return (await hashFile(path, signal))?.sha256 === sha256 ? "whole" : "damaged";
  return there === sizeBytes ? "whole" : "damaged";
}

async function copySecrets(from: string, folder: string): Promise<Manifest["secrets"]> {
  await mkdir(join(folder, "secrets"), { recursive: true, mode: folderMode });
  const secrets: Manifest["secrets"] = [];
  const entries = await readdir(from, { withFileTypes: true });
  for (const { name } of entries.filter(isSecret).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const content = await readFile(join(from, name));
    const sha256 = createHash("sha256").update(content).digest("hex");
    const secret = { name, file: `${name}-${sha256.slice(0, 16)}`, sizeBytes: content.length, sha256 };
    await writeAtomic(secretPath(folder, secret), content, { mode: fileMode, durable: true });
    secrets.push(secret);
  }
  return secrets;
}

/** Skips folders and partial files that a killed origin or an editor left behind. */
function isSecret(entry: Dirent): boolean {
  return entry.isFile() && isFileName(entry.name) && !/\.(?:new|tmp)$/.test(entry.name);
}

/** Removes earlier snapshots, blobs that this one does not name, old secrets, and partial copies. */
async function removeLeftOver(folder: string, manifest: Manifest, named: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/^catalogue-.*\.sqlite/.test(name) && name !== manifest.catalogue.name) await rm(join(folder, name));
  }
  const secrets = new Set(manifest.secrets.map(({ file, name }) => file ?? name));
  for (const name of await readdir(join(folder, "secrets"))) {
    if (!secrets.has(name)) await rm(join(folder, "secrets", name));
  }
  for (const shard of await readdir(join(folder, "blobs")).catch(() => [])) {
    for await (const { name } of await opendir(join(folder, "blobs", shard))) {
      if (!named.has(name)) await rm(join(folder, "blobs", shard, name));
    }
  }
}

async function refuseForeignFolder(folder: string): Promise<void> {
  if ((await readManifest(folder)) !== undefined) return;
  const foreign = (await readdir(folder)).find(
    (name) => !/^(?:blobs|secrets|lock\.sqlite.*|catalogue-.*\.sqlite.*|backup\.json\.new|lost\+found)$/.test(name),
  );
  if (foreign !== undefined) {
    throw new NearcastError(
      "CONFLICT",
      `${folder} holds other files (${foreign}) and no backup: name an empty or a new folder`,
    );
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return await stat(path).then(
    ({ size }) => size,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    },
  );
}

async function isFile(path: string): Promise<boolean> {
  return (await sizeOf(path)) !== undefined;
}
