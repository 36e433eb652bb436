/**
 * Keeps the files of the tier within its bound, and makes room before anything is written.
 *
 *   limit = bodies + heads + index (with the next snapshot) + removed files that are still open + reserve
 *
 * The reserve is for copying: wanted bodies and live heads are written again before their old file is removed. The
 * limit is `bytesMax`, or less after the disk was full (space-limit.ts). As long as the tier takes more than a limit
 * that has shrunk, it only removes: whole volumes, oldest first, without copying what is wanted in them.
 */
import { pinFile, releaseFile } from "./descriptors.ts";
import { compactHeads, isCompactionDue } from "./heads.ts";
import { type RowFacts, rowFacts } from "./index-table.ts";
import {
  flush,
  invalidate,
  isSnapshotDue,
  journalBytes,
  mustInvalidate,
  snapshotBytesFor,
  writeSnapshot,
} from "./journal.ts";
import { assign, blocksOf, bytesOfBodies, chooseReclaim, type Reclaim, takeUse, type Volume } from "./layout.ts";
import { DiskPaused, isWorking, tryOn } from "./patience.ts";
import { moveBody, noteMoved } from "./rows.ts";
import { mustOnlyRemove, shrink } from "./space-limit.ts";
import { type DiskState, pathOfVolume } from "./state.ts";
import { closeSealed, dropEmptyVolumes, dropVolume, pinForWriting, retryRemovals, writeBytes } from "./volumes.ts";

/** Copies are written in portions of about this size. */
const copyBytes = 4 * 1024 * 1024;
/** Rows that stay free for objects that are being written. */
const rowsReserve = 1024;
/** Steps for one request for room. A step frees a good part of a volume, or compacts one head segment. */
const stepsMax = 10_000;

interface Copy {
  readonly row: number;
  readonly facts: RowFacts;
  readonly body: Buffer;
}

export function bytesOnDisk(state: DiskState): number {
  return (
    bytesOfBodies(state.layout) +
    state.headBytes +
    journalBytes(state.journal) +
    state.doomedBytes +
    state.descriptors.heldBytes
  );
}

/** The reserve, without the next snapshot. */
export function reserveBytes({ layout, headSegmentBytes }: Pick<DiskState, "layout" | "headSegmentBytes">): number {
  return layout.segmentBytes + 2 * headSegmentBytes;
}

function bytesMaxNow(state: DiskState): number {
  return state.space.limitBytes - reserveBytes(state) - snapshotBytesFor(state.index);
}

/** After a write that failed because the disk is full: from now on, the tier takes less than it does. */
export function noteFullDisk(state: DiskState): void {
  const { space, clock, failures } = state;
  const usedBytes = bytesOnDisk(state);
  if (!shrink(space, usedBytes, clock.monotonicMs())) return;
  failures.warn(
    "DISK_FULL",
    { usedBytes, limitBytes: space.limitBytes, diskBytes: space.bytesMax },
    "the disk is full, so the disk cache gets smaller; lower cache.diskBytes, or free space on the disk",
  );
}

function hasRoom(state: DiskState, bytes: number): boolean {
  const { index } = state;
  if (index.count + Math.min(rowsReserve, index.rowsMax / 2) > index.rowsMax) return false;
  return bytesOnDisk(state) + state.grantedBytes + bytes <= bytesMaxNow(state);
}

/**
 * Makes room for `bytes` more, and grants it to the caller, who calls giveBack() when it has used it or gives it up.
 * False: everything that can be removed is gone, or the disk fails.
 */
export async function makeRoom(state: DiskState, bytes: number): Promise<boolean> {
  if (bytes > bytesMaxNow(state)) return false;
  const turn = state.roomTurn.then(() => makeRoomInTurn(state, bytes));
  state.roomTurn = turn;
  return await turn;
}

export function giveBack(state: DiskState, bytes: number): void {
  state.grantedBytes -= bytes;
}

async function makeRoomInTurn(state: DiskState, bytes: number): Promise<boolean> {
  try {
    for (let step = 0; !hasRoom(state, bytes); step += 1) {
      // While files can't be removed, dropping more objects frees nothing.
      await retryRemovals(state);
      if (state.doomed.size > 0 || step > stepsMax || !(await freeSome(state))) return false;
    }
  } catch (error) {
    if (!(error instanceof DiskPaused))
      state.failures.warn("MAKE_ROOM", { err: error }, "the disk cache could not make room for new objects");
    return false;
  }
  state.grantedBytes += bytes;
  return true;
}

/** Returns whether there was something to free. */
async function freeSome(state: DiskState): Promise<boolean> {
  if (await dropEmptyVolumes(state)) return true;
  if (mustOnlyRemove(state.space, bytesOnDisk(state))) {
    const oldest = chooseReclaim(state.layout);
    if (oldest !== undefined) {
      await reclaim(state, { volume: oldest.volume, keep: [] });
      return true;
    }
  }
  if (isCompactionDue(state) && (await compactHeads(state))) return true;
  if (isSnapshotDue(state.journal) && !state.isClosed) {
    await writeSnapshot(state.journal, state.index, state.layout);
    return true;
  }
  const chosen = chooseReclaim(state.layout);
  if (chosen !== undefined) {
    await reclaim(state, chosen);
    return true;
  }
  return state.index.count > 0 && (await compactHeads(state));
}

/** Copies the wanted objects of a volume to main, then removes the volume. */
async function reclaim(state: DiskState, { volume, keep }: Reclaim): Promise<void> {
  noteMoved(state);
  if (keep.length > 0 && isWorking(state.reads) && isWorking(state.writes)) {
    try {
      await copyBodies(state, { volume, keep });
      // After a crash, the index must not point to a volume that is gone.
      await flush(state.journal);
    } catch (error) {
      // Objects that were not copied are removed with the volume: they can be fetched again.
      if (!(error instanceof DiskPaused))
        state.failures.warn(
          "COPY",
          { err: error },
          "objects could not be moved on in the disk cache; they are dropped",
        );
    }
  }
  await dropVolume(state, volume);
}

async function copyBodies(state: DiskState, { volume, keep }: Reclaim): Promise<void> {
  const file = pinFile(state.descriptors, state.reads, pathOfVolume(state, volume), "read");
  if (file === undefined) throw new DiskPaused("all descriptors of the tier are in use");
  try {
    await file.opened;
    for (let from = 0; from < keep.length;) {
      const portion: Copy[] = [];
      let bytes = 0;
      for (; from < keep.length && bytes < copyBytes; from += 1) {
        const row = keep[from] ?? 0;
        const facts = rowFacts(state.index, row);
        if (facts.volume !== volume.number) continue; // removed or replaced meanwhile
        const { offset, lengthBytes } = facts;
        const body =
          state.files.readNow(file.descriptor, offset, lengthBytes) ??
          (await tryOn(state.reads, () => state.files.read(file.descriptor, offset, lengthBytes)));
        if (body.length !== lengthBytes) continue;
        bytes += lengthBytes;
        portion.push({ row, facts, body });
      }
      await writeCopies(state, volume, portion);
    }
  } finally {
    releaseFile(state.descriptors, file);
  }
}

async function writeCopies(state: DiskState, from: Volume, portion: readonly Copy[]): Promise<void> {
  for (const { row, facts, body } of portion) {
    const to = assign(state.layout, "main", body.length);
    closeSealed(state);
    const target = pinForWriting(state, to.volume);
    to.volume.writers += 1;
    try {
      await writeBytes(state, to.volume, target, to.offset, [body]);
    } finally {
      to.volume.writers -= 1;
      releaseFile(state.descriptors, target);
    }
    state.counts.copiedBytes += body.length;
    // Removed or replaced while it was copied.
    const now = rowFacts(state.index, row);
    if (now.volume !== from.number || now.offset !== facts.offset) continue;
    takeUse(state.layout, from, row);
    moveBody(state, row, { ...now, volume: to.volume.number, offset: to.offset });
  }
}

/** Housekeeping that nobody waits for: one task at a time. Failures are logged, and retried the next time. */
export function tidy(state: DiskState): void {
  state.tidying ??= tidyNow(state)
    .catch((error: unknown) => {
      tellIndexFailure(state, error);
    })
    .finally(() => {
      state.tidying = undefined;
    });
}

/** Writes changes of the index to disk. After a failure they stay pending, and are in force until a restart. */
export async function writeIndex(state: DiskState): Promise<void> {
  try {
    await flush(state.journal);
  } catch (error) {
    tellIndexFailure(state, error);
  }
}

/** Logs a failure, unless the disk is left alone: then its first failure was logged. */
export function tellIndexFailure(state: DiskState, error: unknown): void {
  if (error instanceof DiskPaused) return;
  state.failures.warn("INDEX", { err: error }, "the index of the disk cache could not be written");
}

async function tidyNow(state: DiskState): Promise<void> {
  if (state.isReadOnly) return;
  await retryRemovals(state);
  await dropEmptyVolumes(state);
  if (mustInvalidate(state.journal)) await invalidate(state.journal);
  const { journal } = state;
  if (isSnapshotDue(journal)) {
    const bytes = snapshotBytesFor(state.index);
    if (blocksOf(bytes) + bytesOnDisk(state) <= state.space.limitBytes)
      await writeSnapshot(journal, state.index, state.layout);
  }
  if (await makeRoom(state, 0)) giveBack(state, 0);
  await flush(journal);
}
