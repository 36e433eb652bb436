/**
 * Writes the index down, so that the next start finds everything: changes to a journal, and now and then the whole
 * index to a snapshot. journal-format.ts has the bytes, replay.ts reads them.
 *
 *   changes ─▶ pending ──flush: one write──▶ journal-G           snapshot-G+1 whole ─▶ G and older are removed
 *
 * A purge that was confirmed must hold after a restart. Where it can't be written down (a full disk), the files of the
 * index are removed instead: then the next start finds an empty cache. The index in memory stays in use, and is
 * written anew when the disk works again.
 */
import { join } from "node:path";
import { type Index, isRow } from "./index-table.ts";
import { addObject, addVolume, createEntries, type Entries, framesOf } from "./journal-format.ts";
import { blocksOf, type Layout } from "./layout.ts";
import type { Files } from "./files.ts";
import { DiskTooSlow, type Patience, tryOn } from "./patience.ts";

/** Changes that wait for a disk that can't be written. Beyond that the files of the index are removed. */
const pendingWordsMax = 1024 * 1024;
/** A snapshot is due when the journals are longer than it, and than this. */
const journalBytesLeast = 64 * 1024;
/** Rows between two writes of a snapshot. */
const snapshotRows = 8192;

export interface Journal {
  readonly files: Files;
  readonly patience: Patience;
  readonly directory: string;
  pending: Entries;
  generation: number;
  /** Of journal-G; −1: the next write opens the next one. */
  descriptor: number;
  /** The files of the index were given up: a journal alone would say too little. */
  isInvalid: boolean;
  /** They were given up, but could not be removed yet. */
  isLeftOver: boolean;
  /** Bytes and frames of journal-G. */
  bytes: number;
  frames: number;
  /** Bytes of all other files of the index. */
  otherBytes: number;
  snapshotBytes: number;
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
    last: Promise.resolve(),
    snapshotting: undefined,
  };
}

/** Bytes on disk, in whole blocks. */
export function journalBytes(journal: Journal): number {
  return blocksOf(journal.bytes) + journal.otherBytes;
}

/** About what the next snapshot takes. */
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
 * Resolves when all entries that were pending are in the file. One write for all who wait.
 * @throws DiskPaused or the system's error; the entries are then still pending
 */
export async function flush(journal: Journal): Promise<void> {
  await inTurn(journal, () => writePending(journal));
}

/** Whatever writes to the journal, or replaces it, waits for what does so already. */
async function inTurn(journal: Journal, work: () => Promise<void>): Promise<void> {
  const mine = journal.last.then(work, work);
  journal.last = mine;
  await mine;
}

async function writePending(journal: Journal): Promise<void> {
  if (journal.isInvalid && journal.descriptor === -1) {
    // There is nothing on disk that these entries would have to correct.
    journal.pending = createEntries();
    return;
  }
  if (journal.pending.end === 0) return;
  if (journal.descriptor === -1) await openNext(journal);
  const writing = journal.pending;
  journal.pending = createEntries();
  try {
    const { buffers, frames } = framesOf(writing, journal.frames);
    // At the same place again after a failure, so what was written of it is overwritten.
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

function putBack(journal: Journal, before: Entries): void {
  const { pending } = journal;
  const words = new Uint32Array(before.end + pending.end);
  words.set(before.words.subarray(0, before.end));
  words.set(pending.words.subarray(0, pending.end), before.end);
  journal.pending = { words, end: words.length };
}

/** Whether the files of the index have to go: too much is not in them, or an earlier try failed. */
export function mustInvalidate(journal: Journal): boolean {
  return journal.isLeftOver || journal.pending.end > pendingWordsMax;
}

/** Removes the files of the index, so that the next start finds nothing of what is now in it. @throws as files do */
export async function invalidate(journal: Journal): Promise<void> {
  const { files, patience, directory } = journal;
  journal.isInvalid = true;
  journal.isLeftOver = true;
  await inTurn(journal, () => {
    closeJournal(journal);
    return Promise.resolve();
  });
  // It sees that the journal is closed, and gives up. Its operations have deadlines.
  await journal.snapshotting?.catch(() => undefined);
  await tryOn({ ...patience, pauseMs: 0, underway: 0 }, async () => {
    const names = await files.list(directory);
    await Promise.all(names.map((name) => files.unlink(join(directory, name))));
  });
  journal.isLeftOver = false;
  journal.pending = createEntries();
  journal.bytes = 0;
  journal.otherBytes = 0;
  journal.snapshotBytes = 0;
}

function closeJournal(journal: Journal): void {
  if (journal.descriptor !== -1) journal.files.close(journal.descriptor);
  journal.descriptor = -1;
}

/** Writes what is pending, and closes the journal. Nothing may be written to it from then on. */
export async function endJournal(journal: Journal): Promise<void> {
  // Whoever began the snapshot tells of its failure.
  await journal.snapshotting?.catch(() => undefined);
  try {
    if (mustInvalidate(journal)) await invalidate(journal);
    await flush(journal);
  } finally {
    closeJournal(journal);
  }
}

/** Opens the journal of the next generation, when all that is pending is in the last one. @throws as files do */
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
  Object.assign(journal, { generation, descriptor, bytes: 0, frames: 0 });
}

/**
 * Writes the whole index to a snapshot, then removes what it replaces. Runs beside all changes of the index.
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
  let bytes = 0;
  try {
    let frame = 0;
    for (const entries of snapshotParts(index, layout)) {
      const { buffers, frames } = framesOf(entries, frame);
      const at = bytes;
      await tryOn(patience, () => files.write(descriptor, at, buffers));
      bytes += buffers.reduce((sum, { length }) => sum + length, 0);
      frame += frames;
    }
  } finally {
    files.close(descriptor);
  }
  // Invalidated meanwhile: what was written holds what must not come back.
  if (journal.isInvalid && journal.descriptor === -1) return;
  await tryOn(patience, () => files.rename(path, join(directory, `snapshot-${generation}`)));
  journal.isInvalid = false;
  journal.isLeftOver = false;
  await removeOlder(journal, generation);
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
  await tryOn(patience, async () => {
    await Promise.all(older.map((name) => files.unlink(join(directory, name))));
  });
}

/** Undefined: not a file of the index. */
export function generationOf(name: string): number | undefined {
  const number = /^(?:snapshot|journal)-(\d{1,12})$/.exec(name)?.[1];
  return number === undefined ? undefined : Number(number);
}
