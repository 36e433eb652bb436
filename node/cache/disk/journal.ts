/**
 * Writes the index to disk, so that the next start finds everything: changes to a journal, and from time to time the
 * whole index to a snapshot. journal-format.ts has the bytes, replay.ts reads them.
 *
 *   changes ─▶ pending ──flush: one write──▶ journal-G           snapshot-G+1 whole ─▶ G and older are removed
 *
 * A confirmed removal must hold after a restart. If it can't be written (a full disk), the files of the index are
 * removed instead: then the next start finds an empty cache. The index in memory stays in use, and is written again
 * from scratch when the disk works.
 *
 * Power failures: what was written may be lost, except for what syncIndex() has confirmed. It confirms changes in
 * order: all earlier ones are safe too. These rules ensure that:
 * - A journal counts as unsynced from its first write after a sync, even when it is closed, and also if it was found at
 * the start. syncIndex() syncs all unsynced journals, and their names.
 * - A snapshot is synced before it gets its name, and its name is synced before the older files go. So an older index
 *   can't come back, and a power failure can't leave an empty snapshot.
 * - After a failed sync, it is unknown what the disk has (the kernel may have dropped the pages): the files of the
 * index are removed, and written again.
 */
import { join } from "node:path";
import { type Index, isRow } from "./index-table.ts";
import { addObject, addVolume, createEntries, type Entries, framesOf } from "./journal-format.ts";
import { blocksOf, type Layout } from "./layout.ts";
import type { Files } from "./files.ts";
import { DiskPaused, DiskTooSlow, type Patience, tryOn } from "./patience.ts";

/** Changes that wait for a disk that can't be written to. Beyond that, the files of the index are removed. */
const pendingWordsMax = 1024 * 1024;
/** A snapshot is due when the journals are longer than the last one, and than this. */
const journalBytesLeast = 64 * 1024;
/** Rows between two writes of a snapshot. */
const snapshotRows = 8192;
/** How much of a snapshot is synced at a time: each sync has to meet the deadline of the disk. */
const syncBytes = 8 * 1024 * 1024;

export interface Journal {
  readonly files: Files;
  readonly patience: Patience;
  readonly directory: string;
  pending: Entries;
  generation: number;
  /** The descriptor of journal-G; −1: the next write opens the next journal. */
  descriptor: number;
  /** The files of the index were given up: a journal alone would say too little. */
  isInvalid: boolean;
  /** The files were given up, but could not be removed yet. */
  isLeftOver: boolean;
  /** Bytes and frames of journal-G. */
  bytes: number;
  frames: number;
  /** Bytes of all other files of the index. */
  otherBytes: number;
  snapshotBytes: number;
  /** Generations whose journals were written since their last sync. */
  readonly unsynced: Set<number>;
  /** The directory has got a new name since its last sync. */
  isNameUnsynced: boolean;
  /** Writes, and changes of the file, run one after the other. */
  last: Promise<void>;
  snapshotting: Promise<void> | undefined;
}

export function createJournal(files: Files, patience: Patience, directory: string): Journal {
  return {
    files,
    patience,
    directory,
    pending: createEntries(),
    generation: 0,
    descriptor: -1,
    isInvalid: false,
    isLeftOver: false,
    bytes: 0,
    frames: 0,
    otherBytes: 0,
    snapshotBytes: 0,
    unsynced: new Set(),
    isNameUnsynced: false,
    last: Promise.resolve(),
    snapshotting: undefined,
  };
}

/** Bytes on disk, in whole blocks. */
export function journalBytes(journal: Journal): number {
  return blocksOf(journal.bytes) + journal.otherBytes;
}

/** The approximate size of the next snapshot. */
export function snapshotBytesFor(index: Index): number {
  return blocksOf(index.count * 60 + index.tags.end * 4 + 4096);
}

/** Also after the files of the index were removed: then nothing of it is on disk. */
export function isSnapshotDue(journal: Journal): boolean {
  if (journal.isInvalid) return true;
  return (
    journal.bytes + journal.otherBytes - journal.snapshotBytes > Math.max(journalBytesLeast, journal.snapshotBytes)
  );
}

/**
 * Resolves when all entries that were pending are in the file. One write serves all callers that wait.
 * @throws DiskPaused or the system's error; the entries are then still pending
 */
export async function flush(journal: Journal): Promise<void> {
  await inTurn(journal, () => writePending(journal));
}

/** Whatever writes to the journal, or replaces it, waits for what is already doing so. */
async function inTurn(journal: Journal, work: () => Promise<void>): Promise<void> {
  const mine = journal.last.then(work, work);
  journal.last = mine;
  await mine;
}

async function writePending(journal: Journal): Promise<void> {
  if (journal.isLeftOver) throw new DiskPaused("the files of the index have to be removed first");
  if (isGivenUp(journal)) {
    // Nothing on disk needs to be corrected by these entries.
    journal.pending = createEntries();
    return;
  }
  if (journal.pending.end === 0) return;
  if (journal.descriptor === -1) await openNext(journal);
  const writing = journal.pending;
  journal.pending = createEntries();
  try {
    const { buffers, frames } = framesOf(writing, journal.frames);
    journal.unsynced.add(journal.generation);
    // In the same place again after a failure, so a partial write is overwritten.
    await tryOn(journal.patience, () => journal.files.write(journal.descriptor, journal.bytes, buffers));
    journal.bytes += buffers.reduce((sum, { length }) => sum + length, 0);
    journal.frames += frames;
  } catch (error) {
    putBack(journal, writing);
    // The write may still be carried out, over whatever is written there by then.
    if (error instanceof DiskTooSlow) closeJournal(journal);
    throw error;
  }
}

/**
 * Resolves when all changes so far survive a power failure. One sync serves all callers that wait; none if nothing was
 * written since the last one.
 * @throws DiskPaused or the system's error
 */
export async function syncIndex(journal: Journal): Promise<void> {
  await inTurn(journal, async () => {
    await writePending(journal);
    try {
      await syncWritten(journal);
    } catch (error) {
      // A sync that did not begin has lost nothing.
      if (error instanceof DiskTooSlow || !(error instanceof DiskPaused)) giveUp(journal);
      throw error;
    }
  });
}

async function syncWritten(journal: Journal): Promise<void> {
  const { files, patience, directory, unsynced } = journal;
  for (const generation of Array.from(unsynced)) {
    const isOpen = generation === journal.generation && journal.descriptor !== -1;
    await tryOn(patience, async () => {
      if (isOpen) await files.sync(journal.descriptor);
      else await syncClosed(files, join(directory, `journal-${generation}`));
    });
    unsynced.delete(generation);
  }
  if (!journal.isNameUnsynced) return;
  await tryOn(patience, () => files.syncDirectory(directory));
  journal.isNameUnsynced = false;
}

/** A sync concerns the file, whoever wrote to it. */
async function syncClosed(files: Files, path: string): Promise<void> {
  const descriptor = await files.open(path, "read");
  try {
    await files.sync(descriptor);
  } finally {
    void files.close(descriptor);
  }
}

function putBack(journal: Journal, before: Entries): void {
  const { pending } = journal;
  const words = new Uint32Array(before.end + pending.end);
  words.set(before.words.subarray(0, before.end));
  words.set(pending.words.subarray(0, pending.end), before.end);
  journal.pending = { words, end: words.length };
}

/** Whether the files of the index have to be removed: too much is missing from them, or an earlier try failed. */
export function mustInvalidate(journal: Journal): boolean {
  return journal.isLeftOver || journal.pending.end > pendingWordsMax;
}

/** Removes the files of the index, so that the next start finds none of its current entries. @throws as files do */
export async function invalidate(journal: Journal): Promise<void> {
  const { files, patience, directory } = journal;
  journal.isInvalid = true;
  journal.isLeftOver = true;
  await inTurn(journal, () => {
    giveUp(journal);
    return Promise.resolve();
  });
  // It sees that the journal is closed, and gives up. Its operations have deadlines.
  await journal.snapshotting?.catch(() => undefined);
  await tryOn({ ...patience, pauseMs: 0, underway: 0 }, async () => {
    const names = await files.list(directory);
    await Promise.all(names.map((name) => files.unlink(join(directory, name))));
    await files.syncDirectory(directory);
  });
  journal.isLeftOver = false;
  journal.isNameUnsynced = false;
  journal.unsynced.clear();
  journal.pending = createEntries();
  journal.bytes = 0;
  journal.otherBytes = 0;
  journal.snapshotBytes = 0;
}

/** Nothing more is written to the files of the index, and they have to be removed. */
function giveUp(journal: Journal): void {
  journal.isInvalid = true;
  journal.isLeftOver = true;
  closeJournal(journal);
}

function isGivenUp({ isInvalid, descriptor }: Journal): boolean {
  return isInvalid && descriptor === -1;
}

function closeJournal(journal: Journal): void {
  if (journal.descriptor !== -1) void journal.files.close(journal.descriptor);
  journal.descriptor = -1;
}

/** Writes what is pending, and closes the journal. Nothing may be written to it from then on. */
export async function endJournal(journal: Journal): Promise<void> {
  // The caller that began the snapshot reports its failure.
  await journal.snapshotting?.catch(() => undefined);
  try {
    if (mustInvalidate(journal)) await invalidate(journal);
    await flush(journal);
  } finally {
    closeJournal(journal);
  }
}

/** Opens the journal of the next generation, when everything pending is in the last one. @throws as files do */
async function beginGeneration(journal: Journal): Promise<void> {
  await inTurn(journal, async () => {
    await writePending(journal);
    await openNext(journal);
  });
}

async function openNext(journal: Journal): Promise<void> {
  const { files, patience, directory } = journal;
  const generation = journal.generation + 1;
  const descriptor = await tryOn(patience, () => files.open(join(directory, `journal-${generation}`), "write"));
  closeJournal(journal);
  journal.otherBytes += blocksOf(journal.bytes);
  journal.isNameUnsynced = true;
  Object.assign(journal, { generation, descriptor, bytes: 0, frames: 0 });
}

/**
 * Writes the whole index to a snapshot, then removes what it replaces. The index may change meanwhile.
 * @throws as files do; the older files then stay in force
 */
export function writeSnapshot(journal: Journal, index: Index, layout: Layout): Promise<void> {
  journal.snapshotting ??= writeSnapshotNow(journal, index, layout).finally(() => {
    journal.snapshotting = undefined;
  });
  return journal.snapshotting;
}

async function writeSnapshotNow(journal: Journal, index: Index, layout: Layout): Promise<void> {
  const { files, patience, directory } = journal;
  await beginGeneration(journal);
  const { generation } = journal;
  const path = join(directory, "snapshot.tmp");
  await tryOn(patience, () => files.unlink(path));
  const descriptor = await tryOn(patience, () => files.open(path, "write"));
  let [bytes, syncedBytes] = [0, 0];
  const sync = async (): Promise<void> => {
    await tryOn(patience, () => files.sync(descriptor));
    syncedBytes = bytes;
  };
  try {
    let frame = 0;
    for (const entries of snapshotParts(index, layout)) {
      const { buffers, frames } = framesOf(entries, frame);
      const at = bytes;
      await tryOn(patience, () => files.write(descriptor, at, buffers));
      bytes += buffers.reduce((sum, { length }) => sum + length, 0);
      frame += frames;
      if (bytes - syncedBytes >= syncBytes) await sync();
    }
    await sync();
  } finally {
    void files.close(descriptor);
  }
  // Given up meanwhile: what was written contains objects that must not come back.
  if (isGivenUp(journal)) return;
  await tryOn(patience, () => files.rename(path, join(directory, `snapshot-${generation}`)));
  await tryOn(patience, () => files.syncDirectory(directory));
  // The snapshot goes too: invalidate() waits for this.
  if (isGivenUp(journal)) return;
  journal.isInvalid = false;
  journal.isLeftOver = false;
  await inTurn(journal, () => removeOlder(journal, generation));
  journal.snapshotBytes = blocksOf(bytes);
  journal.otherBytes = journal.snapshotBytes;
}

function* snapshotParts(index: Index, layout: Layout): Generator<Entries> {
  const volumes = createEntries();
  for (const queue of [layout.queues.small, layout.queues.main]) {
    for (const volume of queue.values()) addVolume(volumes, volume);
  }
  yield volumes;
  for (let row = 1; row < index.rowsEnd;) {
    const entries = createEntries();
    for (const end = Math.min(index.rowsEnd, row + snapshotRows); row < end; row += 1) {
      if (isRow(index, row)) addObject(entries, index, row);
    }
    yield entries;
  }
}

async function removeOlder(journal: Journal, generation: number): Promise<void> {
  const { files, patience, directory } = journal;
  const names = await tryOn(patience, () => files.list(directory));
  const older = names.filter((name) => (generationOf(name) ?? generation) < generation);
  for (const one of Array.from(journal.unsynced)) if (one < generation) journal.unsynced.delete(one);
  await tryOn(patience, async () => {
    await Promise.all(older.map((name) => files.unlink(join(directory, name))));
  });
}

/** Undefined: not a file of the index. */
export function generationOf(name: string): number | undefined {
  const number = /^(?:snapshot|journal)-(\d{1,12})$/.exec(name)?.[1];
  return number === undefined ? undefined : Number(number);
}
