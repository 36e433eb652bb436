/** All state of an open disk tier, in one record. The other files of this folder are functions over it. */
import type { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import type { FailureLog } from "#base/failure-log.ts";
import type { CachedObject, ObjectFacts } from "../object.ts";
import type { Descriptors, OpenFile } from "./descriptors.ts";
import type { Files } from "./files.ts";
import type { StoredHead } from "./head-record.ts";
import type { Index } from "./index-table.ts";
import type { Journal } from "./journal.ts";
import type { Key } from "./key.ts";
import type { Layout, Volume } from "./layout.ts";
import type { Patience } from "./patience.ts";
import type { SpaceLimit } from "./space-limit.ts";

/** A file of heads. Heads that were replaced or removed leave dead bytes, until the file is compacted. */
export interface HeadSegment {
  readonly number: number;
  bytes: number;
  liveBytes: number;
}

/** A head that is being written: found by purges and removals, which cancel it. */
export interface Coming {
  readonly key: string;
  readonly facts: ObjectFacts;
  isCancelled: boolean;
}

export interface DiskState {
  readonly directory: string;
  readonly space: SpaceLimit;
  readonly clock: Clock;
  readonly failures: FailureLog;
  readonly files: Files;
  readonly index: Index;
  readonly layout: Layout;
  readonly journal: Journal;
  readonly descriptors: Descriptors;
  readonly reads: Patience;
  readonly writes: Patience;
  /** Of its own: a disk that is too full to be written to gets room by removals. */
  readonly removals: Patience;
  readonly headSegmentBytes: number;
  readonly headSegments: Map<number, HeadSegment>;
  openHeads: { readonly segment: HeadSegment; readonly file: OpenFile } | undefined;
  nextHeadSegment: number;
  /** Size of all head segments, on disk in whole blocks. */
  headBytes: number;
  /** Size of heads without a body: source records and markers. */
  bodilessBytes: number;
  /** The pins of segments that take more bodies. */
  readonly openSegments: Map<number, OpenFile>;
  /** Files that could not be removed, with the bytes that they take. */
  readonly doomed: Map<string, number>;
  doomedBytes: number;
  /** Room that was granted to a caller that has not used it yet. */
  grantedBytes: number;
  roomTurn: Promise<unknown>;
  /** Objects that wait to be written, and are found meanwhile. */
  readonly waiting: Map<string, CachedObject>;
  waitingBytes: number;
  /** The task that writes them. */
  writer: Promise<void> | undefined;
  readonly coming: Set<Coming>;
  /** Bodies that are being written as they arrive. */
  bodyWriters: number;
  /** Bytes of bodies of unknown length that are still in memory. */
  gatheredBytes: number;
  tidying: Promise<void> | undefined;
  /** Decoded heads by place. */
  readonly heads: LRUCache<number, StoredHead>;
  /** Bodies of several blocks of which some were verified: a bit for each block. */
  readonly verified: LRUCache<string, Uint8Array>;
  /** Rows whose frequency is to be written to disk. */
  dirtyRows: number[];
  /** A word array for look-ups, used within one function only. */
  readonly scratch: Key;
  readonly counts: DiskCounts;
  /** Nothing is written, for example while the files of an older layout are removed. */
  isReadOnly: boolean;
  isClosed: boolean;
}

export interface DiskCounts {
  evictions: number;
  corrupt: number;
  writeFailures: number;
  refused: number;
  readFailures: number;
  /** Bytes of bodies and of heads that were read from files, and of bodies copied from reclaimed volumes. */
  bodyBytesRead: number;
  headBytesRead: number;
  copiedBytes: number;
}

export function pathOfVolume(state: DiskState, { kind, number }: Pick<Volume, "kind" | "number">): string {
  return `${state.directory}/${kind === "segment" ? "segments" : "bodies"}/${number}`;
}

export function pathOfHeads(state: DiskState, segment: number): string {
  return `${state.directory}/heads/${segment}`;
}
