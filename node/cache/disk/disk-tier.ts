/**
 * The disk tier of an edge's cache: objects on disk, bounded by bytes, verified, warm after a restart.
 *
 *   DIR/index/snapshot-7, journal-7    the index, which is in memory as a whole          (journal-format.ts)
 *   DIR/heads/12                       heads: facts and header block, one after the other    (head-record.ts)
 *   DIR/segments/31                    bodies, one after the other                                (layout.ts)
 *   DIR/bodies/32                      one large body
 *
 * Invariants
 * - A body is written once, to a place that is never written again. Space is freed only by removing a whole file, and a
 * reader that has it open keeps it.
 * - An object is findable when its bytes are written, not before. `kill -9` loses what was not in the journal.
 * - No byte of a body leaves before its block was verified by this process.
 * - The files never take more than `bytesMax`, in blocks of 4 KiB, with removed files that are still open. On a disk
 * that is full earlier, they take less (space-limit.ts).
 * - No store and no look-up rejects. A disk that fails or is slow causes misses, and is left alone for a while
 * (patience.ts).
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { CachedObject, ObjectFacts } from "../object.ts";
import type { SweepVisitor } from "../purge-sweep.ts";
import { type BodyWriter, openBodyWriter } from "./body-writer.ts";
import { closeAll } from "./descriptors.ts";
import { descriptorsForDisk } from "#base/open-files.ts";
import { type Files, realFiles } from "./files.ts";
import type { Head } from "./head-record.ts";
import { indexBytes } from "./index-table.ts";
import { endJournal } from "./journal.ts";
import { openState } from "./open-state.ts";
import { isWorking } from "./patience.ts";
import { type DiskObject, find, load } from "./reading.ts";
import { replaceHead } from "./replace-head.ts";
import { bytesOnDisk, giveBack, makeRoom, tellIndexFailure, tidy } from "./room.ts";
import { noteFrequencies, rowOf } from "./rows.ts";
import { grow } from "./space-limit.ts";
import type { DiskCounts, DiskState } from "./state.ts";
import { clear, makeDurable, syncRemovals, walk } from "./sweeping.ts";
import { forget, store } from "./writer.ts";

/** How often the use of objects is recorded on disk (a crash loses what came after), and housekeeping is done. */
const tickIntervalMs = 10_000;

export interface DiskTier {
  /** According to the index alone. */
  contains: (key: string) => boolean;
  /** The object with its head; its body is not read. At once when the head is in memory. Counts as a use. */
  find: (key: string) => DiskObject | undefined | Promise<DiskObject | undefined>;
  /** Head and body together, for small objects on their way to memory. Never rejects. */
  load: (key: string) => CachedObject | undefined | Promise<CachedObject | undefined>;
  /** Returns at once whether the object was accepted. It is written in the background, and can be found meanwhile. */
  store: (object: CachedObject) => boolean;
  /** A place for a body that is arriving. Undefined: no room, paused, or off. @param lengthBytes null: unknown */
  write: (key: string, lengthBytes: number | null) => BodyWriter | undefined;
  /**
   * Stores a new head for the same body, after a 304. Resolves to false if the object is gone, another one has replaced
   * it, or the disk refuses.
   */
  replaceHead: (before: Pick<Head, "key" | "facts">, facts: ObjectFacts, headerBlock: Buffer) => Promise<boolean>;
  /** Removal is in force at once; resolves when it holds after a kill too. For a power failure, see sync(). */
  remove: (key: string) => Promise<void>;
  /** Drops everything. Resolves when that holds after a power failure too. */
  clear: () => Promise<void>;
  /** Resolves to whether all removals so far hold after a power failure too; false: the disk refuses. Never rejects. */
  sync: () => Promise<boolean>;
  /** For the sweep. */
  walk: (visitor: SweepVisitor) => Promise<void>;
  /** Resolves when everything that was accepted is written. */
  flushed: () => Promise<void>;
  stats: () => DiskStats;
  close: () => Promise<void>;
}

export interface DiskStats extends Readonly<DiskCounts> {
  readonly entries: number;
  /** The size of all files of the tier, in blocks of 4 KiB. */
  readonly bytes: number;
  readonly bytesMax: number;
  /** How much they may take now: less than `bytesMax` after the disk was full. */
  readonly limitBytes: number;
  /** Memory that the index takes, outside the heap. */
  readonly indexBytes: number;
  readonly openFiles: number;
  readonly canRead: boolean;
  readonly canWrite: boolean;
}

/**
 * @param options `bytesMax`: 0 turns the tier off: nothing is stored or found, and older files are removed.
 *   `descriptorsMax`: files that it keeps open. `files`: for tests
 * @throws the system's error if the directory can't be created or read
 */
export async function openDiskTier(options: {
  directory: string;
  bytesMax: number;
  clock: Clock;
  log: Log;
  descriptorsMax?: number;
  files?: Files;
}): Promise<DiskTier> {
  const { clock, log } = options;
  const startedMs = clock.monotonicMs();
  const state = await openState({
    ...options,
    files: options.files ?? realFiles(),
    descriptorsMax: options.descriptorsMax ?? descriptorsForDisk(),
  });
  tidy(state);
  await state.tidying;
  const cancel = clock.every(tickIntervalMs, () => {
    noteFrequencies(state);
    grow(state.space, clock.monotonicMs(), state.writes.succeededAtMs);
    tidy(state);
  });
  log.info(
    { entries: state.index.count, bytes: bytesOnDisk(state), tookMs: Math.round(clock.monotonicMs() - startedMs) },
    "the disk cache is open",
  );
  return tierOf(state, cancel);
}

function tierOf(state: DiskState, cancel: () => void): DiskTier {
  return {
    contains: (key) => state.waiting.has(key) || (!state.isClosed && rowOf(state, key) !== 0),
    find: (key) => find(state, key),
    load: (key) => load(state, key),
    store: (object) => store(state, object),
    write: (key, lengthBytes) => openBodyWriter(state, key, lengthBytes),
    replaceHead: (before, facts, headerBlock) => replaceHead(state, before, facts, headerBlock),
    async remove(key) {
      if (forget(state, key)) await makeDurable(state);
    },
    clear: () => clear(state),
    sync: () => syncRemovals(state),
    walk: (visitor) => walk(state, visitor),
    flushed: () => flushed(state),
    stats: () => ({
      entries: state.index.count,
      bytes: bytesOnDisk(state),
      bytesMax: state.space.bytesMax,
      limitBytes: state.space.limitBytes,
      indexBytes: indexBytes(state.index),
      openFiles: state.descriptors.open.size + state.descriptors.forgotten,
      canRead: isWorking(state.reads),
      canWrite: !state.isReadOnly && isWorking(state.writes) && isWorking(state.removals),
      ...state.counts,
    }),
    close: () => close(state, cancel),
  };
}

async function flushed(state: DiskState): Promise<void> {
  while (state.writer !== undefined) await state.writer;
  if (await makeRoom(state, 0)) giveBack(state, 0);
}

async function close(state: DiskState, cancel: () => void): Promise<void> {
  if (state.isClosed) return;
  cancel();
  await flushed(state);
  state.isClosed = true;
  state.isReadOnly = true;
  await state.tidying;
  noteFrequencies(state);
  try {
    await endJournal(state.journal);
  } catch (error) {
    tellIndexFailure(state, error);
  }
  for (const file of state.openSegments.values()) file.users -= 1;
  state.openSegments.clear();
  closeAll(state.descriptors);
}
