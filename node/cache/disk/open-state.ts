/** Opens the state of a disk tier: directories, the index that the last process left, files of older releases. */
import { LRUCache } from "lru-cache";
import { join } from "node:path";
import type { Clock } from "#base/clock.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import { createDescriptors } from "./descriptors.ts";
import type { Files } from "./files.ts";
import type { StoredHead } from "./head-record.ts";
import { createIndex } from "./index-table.ts";
import { createJournal } from "./journal.ts";
import { keyWords } from "./key.ts";
import { blockBytes, createLayout } from "./layout.ts";
import { createPatience, type Patience } from "./patience.ts";
import { replay } from "./replay.ts";
import { noteFullDisk, reserveBytes } from "./room.ts";
import { createSpaceLimit, saysFull } from "./space-limit.ts";
import type { DiskState } from "./state.ts";

/** A disk that needs longer for 4 MiB, or to remove a file, does not help clients. */
const deadlineMs = 5000;
/** The maximum of reads that hang: each holds a buffer of up to 1 MiB. */
const readsMax = 512;
const writesMax = 512;
/** Few files are removed at a time. */
const removalsMax = 64;
/** Objects of 1 KiB and more fill the tier before the index, which takes at most 4 GiB. */
const bytesPerRow = 1024;
const rowsMost = 2 ** 26;
const rowsLeast = 4096;
const headSegmentBytesMost = 8 * 1024 * 1024;
const headSegmentBytesLeast = 16 * 1024;
/** Of the tier. Two of them are in the reserve. */
const headSegmentPart = 256;
/** A full disk makes the tier no smaller than this many times its reserve: two thirds of it still hold objects. */
const floorReserves = 3;
/** Decoded heads: a head takes about twice its bytes, and some objects. */
const headsBytesMax = 8 * 1024 * 1024;
const headOverheadBytes = 512;
/** Bodies of several blocks that were read in part; of others, blocks are verified again. */
const partlyVerifiedMax = 4096;
const failureOf = {
  reads: "the disk cache can't be read",
  writes: "the disk cache can't be written",
  removals: "files of the disk cache can't be removed",
};
const folders = ["index", "heads", "segments", "bodies"];
/** The files and directories of the previous layout. */
const olderNames = ["objects", "tmp", "purges"];

export interface StateOptions {
  readonly directory: string;
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly files: Files;
  readonly descriptorsMax: number;
}

/** @throws the system's error when the directory can't be made or read */
export async function openState(options: StateOptions): Promise<DiskState> {
  const { directory, files, log } = options;
  const state = createState(options);
  if (options.bytesMax === 0) {
    state.isReadOnly = true;
    void removeOlder(state, [...folders, ...olderNames]);
    return state;
  }
  await makeFolders(state);
  try {
    await replay(state, log);
  } catch (error) {
    return beginEmpty(options, error);
  }
  const older = (await files.list(directory)).filter((name) => olderNames.includes(name));
  if (older.length > 0) {
    log.info({ directory }, "the disk cache has the layout of an older release; it is deleted, and starts empty");
    // Their bytes are not accounted for, so nothing is written before they are gone.
    state.isReadOnly = true;
    void removeOlder(state, older);
  }
  return state;
}

async function makeFolders({ directory, files }: DiskState): Promise<void> {
  for (const folder of folders) await files.makeDirectory(join(directory, folder));
}

/** For an index that can't be read: it may contain purged objects, so none of it is used. */
function beginEmpty(options: StateOptions, error: unknown): DiskState {
  const state = createState(options);
  state.failures.error("START", { err: error }, "the disk cache could not be read; it is deleted, and starts empty");
  state.isReadOnly = true;
  void removeOlder(state, folders);
  return state;
}

async function removeOlder(state: DiskState, names: readonly string[]): Promise<void> {
  try {
    for (const name of names) await state.files.removeTree(join(state.directory, name));
    if (state.space.bytesMax > 0) await makeFolders(state);
    state.isReadOnly = state.isClosed || state.space.bytesMax === 0;
  } catch (error) {
    state.failures.error(
      "REMOVE",
      { err: error },
      "older files of the disk cache could not be deleted; the disk cache is not used",
    );
  }
}

function createState({ directory, bytesMax, clock, log, files, descriptorsMax }: StateOptions): DiskState {
  const failures = openFailureLog(log, clock);
  const reads = patienceFor("reads", readsMax);
  const writes = patienceFor("writes", writesMax, (error) => {
    if (saysFull(error)) noteFullDisk(state);
  });
  const index = createIndex(Math.min(rowsMost, Math.max(rowsLeast, Math.floor(bytesMax / bytesPerRow))));
  const layout = createLayout(index, bytesMax);
  const headSegmentBytes = headSegmentBytesFor(bytesMax);
  const state: DiskState = {
    directory,
    space: createSpaceLimit(bytesMax, floorReserves * reserveBytes({ layout, headSegmentBytes }), clock.monotonicMs()),
    clock,
    failures,
    files,
    index,
    layout,
    journal: createJournal(files, writes, join(directory, "index")),
    descriptors: createDescriptors(files, descriptorsMax),
    reads,
    writes,
    removals: patienceFor("removals", removalsMax),
    headSegmentBytes,
    headSegments: new Map(),
    openHeads: undefined,
    nextHeadSegment: 1,
    headBytes: 0,
    bodilessBytes: 0,
    openSegments: new Map(),
    doomed: new Map(),
    doomedBytes: 0,
    grantedBytes: 0,
    roomTurn: Promise.resolve(),
    waiting: new Map(),
    waitingBytes: 0,
    writer: undefined,
    coming: new Set(),
    bodyWriters: 0,
    gatheredBytes: 0,
    tidying: undefined,
    heads: new LRUCache<number, StoredHead>({
      maxSize: headsBytesMax,
      sizeCalculation: (head) => headOverheadBytes + 2 * head.headerBlock.buffer.byteLength,
    }),
    verified: new LRUCache({ max: partlyVerifiedMax }),
    dirtyRows: [],
    scratch: new Uint32Array(keyWords),
    counts: {
      evictions: 0,
      corrupt: 0,
      writeFailures: 0,
      refused: 0,
      readFailures: 0,
      bodyBytesRead: 0,
      headBytesRead: 0,
      copiedBytes: 0,
    },
    isReadOnly: false,
    isClosed: false,
  };
  return state;

  function patienceFor(
    what: "reads" | "writes" | "removals",
    underwayMax: number,
    then: (error: unknown) => void = () => undefined,
  ): Patience {
    return createPatience(what, {
      clock,
      deadlineMs,
      underwayMax,
      failed(error, pauseMs) {
        failures.warn("PAUSE", { err: error, pauseMs }, `${failureOf[what]}; it is tried again after a pause`);
        then(error);
      },
    });
  }
}

function headSegmentBytesFor(bytesMax: number): number {
  const bytes = Math.min(headSegmentBytesMost, bytesMax / headSegmentPart);
  return Math.max(headSegmentBytesLeast, Math.floor(bytes / blockBytes) * blockBytes);
}
