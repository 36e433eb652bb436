/** Files of volumes: writing bodies to them, and removing whole volumes. */
import { forgetFile, type OpenFile, pinFile, releaseFile } from "./descriptors.ts";
import { addGone } from "./journal-format.ts";
import { blocksOf, forgetVolume, isEmpty, noteDropped, rowsOf, seal, type Volume } from "./layout.ts";
import { DiskPaused, tryOn } from "./patience.ts";
import { dropRowQuietly } from "./rows.ts";
import { type DiskState, pathOfVolume } from "./state.ts";

/** The file of a volume that bodies are written to, pinned for the caller. @throws DiskPaused */
export function pinForWriting(state: DiskState, volume: Volume): OpenFile {
  const file = pinFile(state.descriptors, state.writes, pathOfVolume(state, volume), "write");
  if (file === undefined) throw new DiskPaused("all descriptors of the tier are in use");
  // A segment stays open, and so writable, until it is sealed.
  if (volume.kind === "segment" && !state.openSegments.has(volume.number)) {
    file.users += 1;
    state.openSegments.set(volume.number, file);
  }
  return file;
}

/** Closes the segments that accept no more bodies. */
export function closeSealed(state: DiskState): void {
  const { open } = state.layout;
  for (const [number, file] of state.openSegments) {
    if (open.small?.number === number || open.main?.number === number) continue;
    state.openSegments.delete(number);
    releaseFile(state.descriptors, file);
  }
}

/** @throws DiskPaused or the system's error; the segment then accepts no more bodies */
export async function writeBytes(
  state: DiskState,
  volume: Volume,
  file: OpenFile,
  offset: number,
  buffers: readonly Buffer[],
): Promise<void> {
  try {
    await file.opened;
    await tryOn(state.writes, () => state.files.write(file.descriptor, offset, buffers));
  } catch (error) {
    seal(state.layout, volume);
    throw error;
  }
}

/** Makes all objects of a volume unfindable, then removes its file. Readers that have it open keep its bytes. */
export async function dropVolume(state: DiskState, volume: Volume): Promise<void> {
  if (state.layout.volumes.get(volume.number) !== volume) return; // removed meanwhile
  const bytes = blocksOf(volume.bytes);
  for (const row of rowsOf(state.layout, volume)) {
    noteDropped(state.layout, volume, row);
    dropRowQuietly(state, row);
    state.counts.evictions += 1;
  }
  forgetVolume(state.layout, volume);
  addGone(state.journal.pending, volume.number);
  closeSealed(state);
  const path = pathOfVolume(state, volume);
  const closed = forgetFile(state.descriptors, path, bytes);
  await removeFile(state, path, bytes, closed);
}

/**
 * A file that can't be removed still counts in the sum, and its removal is retried.
 * @param closed of its descriptor: as long as a file is open, its removal frees nothing
 */
export async function removeFile(
  state: DiskState,
  path: string,
  bytes: number,
  closed: Promise<unknown>,
): Promise<void> {
  state.doomed.set(path, bytes);
  state.doomedBytes += bytes;
  await removeDoomed(state, path, closed);
}

/** Retries the removal of files that could not be removed. */
export async function retryRemovals(state: DiskState): Promise<void> {
  for (const path of Array.from(state.doomed.keys())) await removeDoomed(state, path);
}

async function removeDoomed(state: DiskState, path: string, closed?: Promise<unknown>): Promise<void> {
  try {
    await tryOn(state.removals, async () => {
      await closed;
      await state.files.unlink(path);
    });
    state.doomedBytes -= state.doomed.get(path) ?? 0;
    state.doomed.delete(path);
  } catch (error) {
    if (error instanceof DiskPaused) return;
    state.failures.warn(
      "REMOVE",
      { err: error, path },
      "a file of the disk cache could not be removed; its space stays used",
    );
  }
}

/** Removes the volumes in which nothing is left to be found. Returns whether there was one. */
export async function dropEmptyVolumes(state: DiskState): Promise<boolean> {
  const empty = [...state.layout.emptied].filter((volume) => isEmpty(state.layout, volume));
  for (const volume of empty) await dropVolume(state, volume);
  return empty.length > 0;
}
