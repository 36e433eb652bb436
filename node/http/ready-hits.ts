/**
 * Hits that need no decision: a ready response is sent again as long as nothing has changed that the decision depended
 * on.
 *
 *   hits.ts decides ──▶ offer() ── second time ──▶ table (front/ready/)
 *   next request    ──▶ answer() ── in the table, and current? ──▶ sent
 *
 * A ready response is no longer used when
 * - the fleet document changes, a purge arrives, or the node is not ready: one number, the stamp, covers these;
 * - what it was made of is replaced or removed: forget();
 * - it is not fresh, or was added ten minutes ago: then hits.ts decides again.
 *
 * Caches and peers learn of uses a little later, in batches.
 */
import type { PinnedFile } from "#base/body.ts";
import type { Clock } from "#base/clock.ts";
import type { Host } from "#document/schema/hosts.ts";
import type { Delivery, StoredResponse, Outcome } from "../deliver/outcome.ts";
import type { FrontRequest } from "../front/connection.ts";
import { joinedBytesMax } from "../front/lane-sink.ts";
import {
  createHeadEnds,
  headExtraBytes,
  type HeadEndsAt,
  judgeReady,
  newReadyAnswer,
  type ReadyAnswer,
  writeHead,
} from "../front/ready/ready-answer.ts";
import { hashOf } from "../front/ready/ready-key.ts";
import { lineBytes, type ReadyMemory } from "../front/ready/ready-memory.ts";
import { findReady } from "../front/ready/ready-reader.ts";
import { headWord, type ReadyBody, recordWord } from "../front/ready/ready-record.ts";
import { openReadyTable, type ReadyTable } from "../front/ready/ready-table.ts";
import { readyResponseOf } from "./ready-response.ts";

/** Larger bodies are not copied, if only the main thread sends them. */
const copiedBytesMax = 64 * 1024;
/** With lanes: larger bodies are sent from their file, because that copies nothing. */
const copiedForLanesBytesMax = 32 * 1024;
/** With lanes, where there is no file. */
const copiedWithoutFileBytesMax = 256 * 1024;
/** Larger bodies on disk are left to hits.ts, as is their reading. */
const fileBytesMax = 1024 * 1024;
/**
 * Bodies on disk that lanes may send: some 200 bytes each. Most share their file with many others. The oldest make room
 * for new ones.
 */
const pinnedMax = 65_536;
/**
 * After this time a response is decided on again, whatever happened to it. Shorter, and the many objects that are asked
 * for now and then would seldom have a ready response.
 */
const decidedAgainMs = 600_000;
const unpinnedEveryMs = 1000;
/** Requests that were seen once: hashes, each of which replaces another. */
const onceSlots = 65_536;
const usesReportedMs = 50;

/** Which response was sent, for counting. */
export interface ReadyAbout {
  readonly host: Host;
  readonly outcome: Outcome["word"];
  readonly stored: StoredResponse;
  uses: number;
}

/** A body on disk that lanes may send. */
interface Pinned {
  readonly file: PinnedFile;
  readonly untilMs: number;
}

export interface ReadySent {
  readonly about: ReadyAbout;
  readonly status: number;
  readonly bodyBytes: number;
  /** The buffer that holds what the system has not taken. */
  readonly kept: Buffer;
}

export interface ReadyHits {
  /** Sends the response, if there is one for this request. */
  readonly answer: (request: FrontRequest, wallMs: number) => ReadySent | undefined;
  /** A response was sent to this request: it may be used again. */
  readonly offer: (request: FrontRequest, host: Host, delivery: Delivery, wallMs: number) => void;
  /** All ready responses are out of date. */
  readonly outdate: () => void;
  /** While it is closed, no ready response is used. */
  readonly setOpen: (isOpen: boolean) => void;
  /** Another thread has sent a ready response. Undefined: it is unknown. */
  readonly noteSent: (number: number) => ReadyAbout | undefined;
  /** What is stored under this key or name is replaced or removed. */
  readonly forget: (key: string) => void;
  readonly counts: ReadyTable<ReadyAbout>["counts"];
  /** Gives up all files. Lanes have ended before. */
  readonly close: () => void;
}

interface Uses {
  readonly noteUses: (stored: StoredResponse, times: number) => void;
}

/** The share of the memory for cached bodies that ready responses take besides, and its limits. */
const readyShare = 1 / 8;
const [readyBytesLeast, readyBytesMost] = [16 * 1024 * 1024, 64 * 1024 * 1024];

export function readyBytesFor(memoryBytes: number): number {
  const bytes = Math.min(Math.max(readyBytesLeast, memoryBytes * readyShare), readyBytesMost);
  return Math.ceil(bytes / lineBytes) * lineBytes;
}

export interface ReadyHitsParts {
  readonly node: string;
  readonly memory: ReadyMemory;
  /** Lanes read the memory, and send bodies from files. */
  readonly hasLanes: boolean;
  /** Called before a response is forgotten, and often: tells what others have sent of them, by noteSent(). */
  readonly settle: () => void;
  /** Who stored the responses learns of their uses. */
  readonly used: { readonly images: Uses; readonly assets: Uses };
  readonly keepAliveSeconds: number;
  readonly clock: Clock;
}

interface State extends ReadyHitsParts {
  readonly table: ReadyTable<ReadyAbout>;
  readonly answer: ReadyAnswer;
  /** Numbers of records, by what they were made of. */
  readonly numbersOf: Map<string, Set<number>>;
  readonly seenOnce: Int32Array;
  readonly pinned: Map<number, Pinned>;
  /** Not to be found any more, and the mark from which nobody uses them. */
  unpinned: { readonly mark: number; readonly files: readonly PinnedFile[] }[];
  usedNow: ReadyAbout[];
  readonly endsAt: HeadEndsAt;
}

export function openReadyHits(parts: ReadyHitsParts): ReadyHits {
  const { memory, settle, clock } = parts;
  const numbersOf = new Map<string, Set<number>>();
  const pinned = new Map<number, Pinned>();
  const dropped = (about: ReadyAbout, number: number): void => {
    pinned.get(number)?.file.release();
    pinned.delete(number);
    for (const key of keysOf(about)) {
      const numbers = numbersOf.get(key);
      numbers?.delete(number);
      if (numbers?.size === 0) numbersOf.delete(key);
    }
  };
  const table = openReadyTable<ReadyAbout>(memory, { dropped, settle });
  const state: State = {
    ...parts,
    table,
    answer: newReadyAnswer(),
    numbersOf,
    seenOnce: new Int32Array(onceSlots),
    pinned,
    unpinned: [],
    usedNow: [],
    endsAt: createHeadEnds(parts.keepAliveSeconds),
  };
  const stops = [
    clock.every(usesReportedMs, () => {
      settle();
      reportUses(state);
    }),
    clock.every(unpinnedEveryMs, () => {
      unpin(state);
    }),
  ];
  return {
    answer: (request, wallMs) => answer(state, request, wallMs),
    offer(request, host, delivery, wallMs) {
      offer(state, request, host, delivery, wallMs);
    },
    outdate: table.outdate,
    setOpen: table.setOpen,
    noteSent(number) {
      const about = table.about(number);
      if (about !== undefined) noteUse(state, about);
      return about;
    },
    forget(key) {
      const numbers = numbersOf.get(key);
      if (numbers !== undefined) for (const number of numbers) table.unlink(number);
    },
    counts: table.counts,
    close() {
      for (const stop of stops) stop();
      for (const { file } of state.pinned.values()) file.release();
      for (const { files } of state.unpinned) for (const file of files) file.release();
      state.pinned.clear();
      state.unpinned = [];
    },
  };
}

function keysOf({ stored }: ReadyAbout): readonly string[] {
  return stored.key === stored.foundBy ? [stored.key] : [stored.key, stored.foundBy];
}

function answer(state: State, { bytes, head, sink }: FrontRequest, wallMs: number): ReadySent | undefined {
  const { table, answer: judged } = state;
  const { memory } = table;
  const line = findReady(memory, bytes, head, wallMs);
  if (line === 0 || !judgeReady(memory, line, bytes, head, judged)) return undefined;
  const at = (line * lineBytes) / 4;
  if (memory.words[at + recordWord.descriptor] !== -1) return undefined;
  const fieldsLength = memory.words[at + recordWord.whole + headWord.length] as number;
  if (fieldsLength + headExtraBytes + judged.bodyEnd - judged.bodyStart > joinedBytesMax) return undefined;
  const about = table.about(memory.words[at + recordWord.number] as number);
  if (about === undefined) return undefined;
  const { status, bodyStart, bodyEnd } = judged;
  const body = line * lineBytes + (memory.words[at + recordWord.bodyAt] as number);
  const kept = sink.endWith((target) => {
    const length = writeHead(memory, line, judged, wallMs, state.endsAt, target, 0);
    return length + memory.bytes.copy(target, length, body + bodyStart, body + bodyEnd);
  });
  noteUse(state, about);
  return { about, status, bodyBytes: bodyEnd - bodyStart, kept };
}

function noteUse({ usedNow }: State, about: ReadyAbout): void {
  if (about.uses === 0) usedNow.push(about);
  about.uses += 1;
}

function offer(state: State, { bytes, head }: FrontRequest, host: Host, delivery: Delivery, wallMs: number): void {
  const { stored, outcome } = delivery;
  const { table, seenOnce, node } = state;
  if (stored === undefined) return;
  const hash = hashOf(bytes, head, table.memory.seed);
  const slot = hash & (onceSlots - 1);
  if (seenOnce[slot] !== hash) {
    seenOnce[slot] = hash;
    return;
  }
  // Lanes have it, and leave some of its requests to the main thread.
  if (findReady(table.memory, bytes, head, wallMs) !== 0) return;
  const body = bodyOf(state, delivery);
  if (body === undefined) return;
  const endsAtMs = wallMs + decidedAgainMs;
  const response = readyResponseOf(delivery, stored, body.ready, { node, endsAtMs });
  const about = { host, outcome: outcome.word, stored, uses: 0 };
  const number = response === undefined ? 0 : table.add(bytes, head, response, about);
  if (number === 0) {
    body.file?.release();
    return;
  }
  if (body.file !== undefined) {
    state.pinned.set(number, { file: body.file, untilMs: state.clock.monotonicMs() + decidedAgainMs });
    if (state.pinned.size > pinnedMax) unpinOldest(state);
  }
  for (const key of keysOf(about)) {
    const numbers = state.numbersOf.get(key);
    if (numbers === undefined) state.numbersOf.set(key, new Set([number]));
    else numbers.add(number);
  }
}

/** The body as a ready response can have it: a small one is copied, a larger one is sent from its file. */
function bodyOf(
  { hasLanes }: State,
  { body, lengthBytes }: Delivery,
): { readonly ready: ReadyBody; readonly file?: PinnedFile } | undefined {
  const copied = (bytesMax: number): { readonly ready: ReadyBody } | undefined => {
    if (body.kind !== "bytes" || body.bytes.length > bytesMax) return undefined;
    return { ready: { kind: "inline", bytes: body.bytes } };
  };
  if (!hasLanes) return copied(copiedBytesMax);
  const small = copied(copiedForLanesBytesMax);
  if (small !== undefined) return small;
  if (body.kind === "stream" || lengthBytes === null || lengthBytes > fileBytesMax) return undefined;
  const file = body.pin?.();
  if (file === "soon") return undefined; // the next request asks again
  if (file === undefined) return copied(copiedWithoutFileBytesMax);
  const { descriptor, offset } = file;
  return { ready: { kind: "file", descriptor, offset, lengthBytes }, file };
}

/**
 * Gives up files that were removed, since they take space on disk, or that were pinned for long enough: they are closed
 * when no lane can be sending from them any more.
 */
function unpin(state: State): void {
  const { pinned, table, clock } = state;
  const nowMs = clock.monotonicMs();
  const over: number[] = [];
  for (const [number, { file, untilMs }] of pinned) if (untilMs <= nowMs || file.isRemoved()) over.push(number);
  unpinAll(state, over);
  while (state.unpinned[0] !== undefined && table.isOver(state.unpinned[0].mark)) {
    for (const file of state.unpinned[0].files) file.release();
    state.unpinned.shift();
  }
}

/** Some at a time: lanes have to pass a mark for each time. */
function unpinOldest(state: State): void {
  unpinAll(state, [...state.pinned.keys()].slice(0, pinnedMax / 16));
}

function unpinAll({ table, pinned, unpinned }: State, numbers: readonly number[]): void {
  if (numbers.length === 0) return;
  const files: PinnedFile[] = [];
  for (const number of numbers) {
    table.unlink(number);
    const file = pinned.get(number)?.file;
    if (file !== undefined) files.push(file);
    pinned.delete(number);
  }
  unpinned.push({ mark: table.mark(), files });
}

function reportUses(state: State): void {
  const { usedNow, used } = state;
  if (usedNow.length === 0) return;
  state.usedNow = [];
  for (const about of usedNow) {
    used[about.host.kind].noteUses(about.stored, about.uses);
    about.uses = 0;
  }
}
