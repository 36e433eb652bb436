/**
 * Error messages of a backup or restore that the file system stopped: the folder, the space needed and the space free.
 * A backup also says whether an earlier one in its folder is still valid, a restore what happened to the old content.
 */
import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { NearcastError } from "#base/errors.ts";
import { saysFullDisk } from "../full-disk.ts";
import { blobPath, readManifest } from "./manifest.ts";
import { readBlobs } from "./catalogue-snapshot.ts";

/** For the secrets, the list and the folders. */
export const smallFilesBytes = 1e6;

/** Returns the failure itself when the file system of the folder did not cause it. */
export async function asStopped(error: unknown, catalogue: string, folder: string): Promise<unknown> {
  const fault = faultIn(error, folder);
  if (fault === undefined) return error;
  const isFull = fault === "full";
  const why = isFull ? `the disk of ${folder} is full: ${await roomOf(catalogue, folder)}` : fault;
  const what = isFull
    ? "Free some space, or name a folder on a larger disk, and run it again: files already copied are not copied twice"
    : adviceFor(error);
  return new NearcastError("DISK_FAILED", `${why}. ${await earlierIn(folder)}. ${what}`, { cause: error });
}

/**
 * The same for a restore that has undone its changes.
 * @param neededBytes of the whole backup
 * @param left what happened to the previous content: a sentence without its full stop
 */
export async function asRestoreStopped(
  error: unknown,
  dataDir: string,
  neededBytes: number,
  left: string,
): Promise<unknown> {
  const fault = faultIn(error, dataDir);
  if (fault === undefined) return error;
  const isFull = fault === "full";
  const why = isFull ? `the disk of ${dataDir} is full: ${await roomFor("restore", neededBytes, dataDir)}` : fault;
  const what = isFull
    ? "Free some space, or name a data directory on a larger disk, and run it again"
    : adviceFor(error);
  return new NearcastError("DISK_FAILED", `${why}. ${left}. ${what}`, { cause: error });
}

function adviceFor(error: unknown): string {
  const isReadOnly = ["EACCES", "EPERM", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "");
  return isReadOnly ? "Make the folder writable, and run it again" : "Check the folder and its disk, then run it again";
}

/** Why the file system refused; undefined when the failure has another cause. */
function faultIn(error: unknown, folder: string): string | undefined {
  if (saysFullDisk(error)) return "full";
  if (!(error instanceof Error)) return undefined;
  const { syscall, code, path = folder } = error as NodeJS.ErrnoException;
  if (syscall === undefined || !path.startsWith(folder)) return undefined;
  return `can't write to ${folder} (${code}): ${error.message}`;
}

async function roomOf(catalogue: string, folder: string): Promise<string> {
  try {
    let neededBytes = (await stat(catalogue)).size + smallFilesBytes;
    for (const { sha256, sizeBytes } of readBlobs(catalogue)) {
      const isThere = await stat(blobPath(folder, sha256)).then(
        ({ size }) => size === sizeBytes,
        () => false,
      );
      if (!isThere) neededBytes += sizeBytes;
    }
    return await roomFor("backup", neededBytes, folder);
  } catch (error) {
    return `the needed space is unknown (${(error as Error).message})`;
  }
}

async function roomFor(what: "backup" | "restore", neededBytes: number, folder: string): Promise<string> {
  const more = what === "backup" ? " more" : "";
  const free = await freeBytes(folder);
  return `this ${what} needs ${megabytes(neededBytes)}${more}, and ${megabytes(free)} are free`;
}

/** Free space on the disk of a folder, which need not exist yet. */
async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || dirname(folder) === folder) throw error;
    return await freeBytes(dirname(folder));
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

async function earlierIn(folder: string): Promise<string> {
  const earlier = await readManifest(folder).catch(() => undefined);
  return earlier === undefined ? "It holds no earlier backup" : `Its backup of ${earlier.createdAt} is still valid`;
}
