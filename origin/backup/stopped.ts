/**
 * What a backup says that the file system stopped: which folder, how much is needed there and how much is free, and
 * whether an earlier backup in it still counts.
 */
import { stat, statfs } from "node:fs/promises";
import { NearcastError } from "#base/errors.ts";
import { saysFullDisk } from "../full-disk.ts";
import { blobPath, readManifest } from "./manifest.ts";
import { readBlobs } from "./snapshot.ts";

/** For the secrets, the list and the folders. */
const smallFilesBytes = 1e6;

/** The failure itself where it was not the file system of the folder. */
export async function asStopped(error: unknown, catalogue: string, folder: string): Promise<unknown> {
  const isFull = saysFullDisk(error);
  const { syscall, code, path = folder } = error as NodeJS.ErrnoException;
  if (!isFull && (syscall === undefined || !path.startsWith(folder))) return error;
  const why = isFull
    ? `the disk of ${folder} is full: ${await roomOf(catalogue, folder)}`
    : `${folder} can't be written (${code}): ${(error as Error).message}`;
  const what = isFull
    ? "Free some space, or name a folder on a larger disk, and run it again: what was copied is not copied twice"
    : "See to the folder, and run it again";
  return new NearcastError("DISK_FAILED", `${why}. ${await earlierIn(folder)}. ${what}`, { cause: error });
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
    const { bavail, bsize } = await statfs(folder);
    return `this backup needs ${megabytes(neededBytes)} more there, and ${megabytes(bavail * bsize)} are free`;
  } catch (error) {
    return `how much is needed can't be told (${(error as Error).message})`;
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
