/**
 * What a backup or a restore says that the file system stopped: which folder, how much is needed there and how much is
 * free. A backup also says whether an earlier one in its folder still counts, a restore what became of what was there.
 */
import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { NearcastError } from "#base/errors.ts";
import { saysFullDisk } from "../full-disk.ts";
import { blobPath, readManifest } from "./manifest.ts";
import { readBlobs } from "./catalogue-snapshot.ts";

/** For the secrets, the list and the folders. */
export const smallFilesBytes = 1e6;

/** The failure itself where it was not the file system of the folder. */
export async function asStopped(error: unknown, catalogue: string, folder: string): Promise<unknown> {
  const fault = faultIn(error, folder);
  if (fault === undefined) return error;
  const isFull = fault === "full";
  const why = isFull ? `the disk of ${folder} is full: ${await roomOf(catalogue, folder)}` : fault;
  const what = isFull
    ? "Free some space, or name a folder on a larger disk, and run it again: what was copied is not copied twice"
    : "See to the folder, and run it again";
  return new NearcastError("DISK_FAILED", `${why}. ${await earlierIn(folder)}. ${what}`, { cause: error });
}

/**
 * The same of a restore that has put everything back as it was.
 * @param neededBytes of the whole backup
 * @param left what became of what was in the data directory: a sentence without its full stop
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
    : "See to the folder, and run it again";
  return new NearcastError("DISK_FAILED", `${why}. ${left}. ${what}`, { cause: error });
}

/** What the file system says against the folder; undefined when the failure is another one. */
function faultIn(error: unknown, folder: string): string | undefined {
  if (saysFullDisk(error)) return "full";
  if (!(error instanceof Error)) return undefined;
  const { syscall, code, path = folder } = error as NodeJS.ErrnoException;
  if (syscall === undefined || !path.startsWith(folder)) return undefined;
  return `${folder} can't be written (${code}): ${error.message}`;
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
    return `how much is needed can't be told (${(error as Error).message})`;
  }
}

async function roomFor(what: "backup" | "restore", neededBytes: number, folder: string): Promise<string> {
  const more = what === "backup" ? " more" : "";
  const free = await freeBytes(folder);
  return `this ${what} needs ${megabytes(neededBytes)}${more} there, and ${megabytes(free)} are free`;
}

/** On the disk of a folder, which need not exist yet. */
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
  return earlier === undefined
    ? "There is no earlier backup in it"
    : `The backup of ${earlier.createdAt} in it still counts and can be restored`;
}
