/**
 * Open files, limited in number. The least recently used is closed first, but never one that is in use.
 *
 * A reader that has a descriptor keeps the bytes of a file even after its removal. Volumes are never written twice, so
 * the bytes that a reader or sendfile() still has to send stay correct.
 */
import type { Files } from "./files.ts";
import { type Patience, tryOn } from "./patience.ts";

export interface OpenFile {
  readonly path: string;
  /** −1 until it is open. */
  descriptor: number;
  /** Settles when it is open. */
  readonly opened: Promise<void>;
  users: number;
  /** Its file was removed: it closes with its last user. */
  isForgotten: boolean;
  /** Bytes that the removed file still takes on disk. */
  heldBytes: number;
}

export interface Descriptors {
  readonly files: Files;
  readonly openMax: number;
  /** By path, the least recently used first. */
  readonly open: Map<string, OpenFile>;
  /** Removed files that still have users, and the bytes that they take on disk. */
  forgotten: number;
  heldBytes: number;
}

export function createDescriptors(files: Files, openMax: number): Descriptors {
  return { files, openMax, open: new Map(), forgotten: 0, heldBytes: 0 };
}

/**
 * A file, pinned until releaseFile(); its descriptor is −1 until `opened` resolves. Undefined: as many files as
 * allowed are in use.
 * @param mode "write" creates the file. Only the creator of a volume writes to it, and keeps it pinned meanwhile.
 */
export function pinFile(
  descriptors: Descriptors,
  patience: Patience,
  path: string,
  mode: "read" | "write",
): OpenFile | undefined {
  const present = descriptors.open.get(path);
  if (present !== undefined) {
    descriptors.open.delete(path);
    descriptors.open.set(path, present);
    present.users += 1;
    return present;
  }
  if (descriptors.open.size + descriptors.forgotten >= descriptors.openMax && !closeOne(descriptors)) return undefined;
  const { files } = descriptors;
  let isTooLate = false;
  const opened = tryOn(patience, async () => {
    const descriptor = await files.open(path, mode);
    if (isTooLate || (file.isForgotten && file.users === 0)) void files.close(descriptor);
    else file.descriptor = descriptor;
  }).catch((error: unknown) => {
    isTooLate = true;
    if (descriptors.open.get(path) === file) descriptors.open.delete(path);
    throw error;
  });
  const file: OpenFile = { path, descriptor: -1, users: 1, isForgotten: false, heldBytes: 0, opened };
  // Callers that wait get the failure; if nobody waits, it does not matter.
  opened.catch(() => undefined);
  descriptors.open.set(path, file);
  return file;
}

/** Whether at most half of the files that may be open are in use: others can stay in use for a while. */
export function hasSpare({ open, openMax, forgotten }: Descriptors): boolean {
  let used = forgotten;
  for (const { users } of open.values()) if (users > 0) used += 1;
  return used <= openMax / 2;
}

export function releaseFile(descriptors: Descriptors, file: OpenFile): void {
  file.users -= 1;
  if (file.users > 0 || !file.isForgotten) return;
  descriptors.forgotten -= 1;
  void endHolding(descriptors, file);
}

/** The system frees the space of a removed file when its last descriptor is closed. */
async function endHolding(descriptors: Descriptors, { descriptor, heldBytes }: OpenFile): Promise<void> {
  if (descriptor !== -1) await descriptors.files.close(descriptor);
  descriptors.heldBytes -= heldBytes;
}

/**
 * For a file that is being removed: nobody finds it any more.
 * @param bytes that it takes on disk
 * @returns resolves when its descriptor is closed, at once if it has users: these bytes are in `heldBytes`
 */
export async function forgetFile(descriptors: Descriptors, path: string, bytes: number): Promise<void> {
  const file = descriptors.open.get(path);
  if (file === undefined) return;
  descriptors.open.delete(path);
  file.isForgotten = true;
  if (file.users > 0) {
    descriptors.forgotten += 1;
    descriptors.heldBytes += bytes;
    file.heldBytes = bytes;
  } else if (file.descriptor !== -1) {
    await descriptors.files.close(file.descriptor);
  }
}

export function closeAll(descriptors: Descriptors): void {
  for (const path of Array.from(descriptors.open.keys())) void forgetFile(descriptors, path, 0);
}

function closeOne(descriptors: Descriptors): boolean {
  for (const [path, file] of descriptors.open) {
    if (file.users > 0) continue;
    void forgetFile(descriptors, path, 0);
    return true;
  }
  return false;
}
