/**
 * The main thread's side of the ready responses: it alone adds and removes them.
 *
 * The ring is filled in one direction, and the oldest records make room. A record's memory is used again only when
 * nobody can be reading it:
 *
 *   unlink from the index ──▶ next epoch ──▶ every lane is idle, or entered in that epoch or later ──▶ write
 *
 * A lane that entered earlier may have found the record, and reads it until it leaves. So room is made in advance, and
 * a response that finds no room is not added. Nobody waits.
 *
 *        freed, in order of epochs      used
 *   ─────┬──────────┬───────────────────┬──────────────────────────────────┬─────▶
 *        next       ahead               oldest                             newest = next (a ring)
 */
import type { RequestHead } from "../request-head.ts";
import { bucketOf, hashOf, keyBytes, writeKey } from "./ready-key.ts";
import { control, lanesMax, laneWord, lineBytes, type ReadyMemory, slotsPerBucket } from "./ready-memory.ts";
import { linesFor, type ReadyResponse, recordWord, writeRecord } from "./ready-record.ts";

/** Records that are larger than this part of the ring are not added. */
const recordShareMax = 1 / 16;
/** How much of the ring is unlinked ahead of its use. */
const aheadShare = 1 / 16;

export interface ReadyTable<About> {
  readonly memory: ReadyMemory;
  /**
   * Adds a response for this request. The caller's record about it is returned by about() until its memory is used
   * again.
   * @returns the record's number; 0: there was no room
   */
  readonly add: (bytes: Buffer, head: RequestHead, response: ReadyResponse, about: About) => number;
  /** From now on, this record is not found. Whoever has found it before may still use it. */
  readonly unlink: (number: number) => void;
  /** Resolves the question whether anybody may still use what was unlinked before: ask isOver() with the result. */
  readonly mark: () => number;
  readonly isOver: (mark: number) => boolean;
  readonly about: (number: number) => About | undefined;
  /** From now on, no record that was added before is used. */
  readonly outdate: () => void;
  /** While it is closed, no record is used and none is added. */
  readonly setOpen: (isOpen: boolean) => void;
  readonly counts: () => { records: number; usedBytes: number; sizeBytes: number; added: number; refused: number };
}

export interface TableEvents<About> {
  readonly dropped: (about: About, number: number) => void;
  readonly settle: () => void;
}

interface Kept<About> {
  readonly line: number;
  readonly lines: number;
  readonly number: number;
  /** Word of the slot that named it. */
  readonly slot: number;
  readonly about: About;
}

interface State<About> {
  readonly memory: ReadyMemory;
  readonly events: TableEvents<About>;
  /** Records in the index, the oldest first. */
  readonly linked: Queue<Kept<About>>;
  /** Unlinked ones, and the epoch from which nobody can read them. */
  readonly unlinked: Queue<Kept<About> & { epoch: number }>;
  readonly kept: Map<number, Kept<About>>;
  nextLine: number;
  nextNumber: number;
  stamp: number;
  isOpen: boolean;
  usedLines: number;
  added: number;
  refused: number;
}

/**
 * @param events.dropped a record's memory is about to be used again: nobody reads it any more
 * @param events.settle called before that, to count what is known about uses of records
 */
export function openReadyTable<About>(memory: ReadyMemory, events: TableEvents<About>): ReadyTable<About> {
  const state: State<About> = {
    memory,
    events,
    linked: newQueue(),
    unlinked: newQueue(),
    kept: new Map(),
    nextLine: memory.ringStartLine,
    nextNumber: 1,
    stamp: 1,
    isOpen: true,
    usedLines: 0,
    added: 0,
    refused: 0,
  };
  Atomics.store(memory.words, control.epoch, 1);
  const publish = (): void => {
    Atomics.store(memory.words, control.stamp, state.isOpen ? state.stamp : 0);
  };
  publish();
  return {
    memory,
    add: (bytes, head, response, about) => add(state, bytes, head, response, about),
    about: (number) => state.kept.get(number)?.about,
    unlink(number) {
      const kept = state.kept.get(number);
      if (kept !== undefined) unlink(memory, kept);
    },
    mark: () => nextEpoch(memory),
    isOver: (mark) => hasPassed(memory, mark),
    outdate() {
      state.stamp = state.stamp === 0x7fffffff ? 1 : state.stamp + 1;
      publish();
    },
    setOpen(isOpen) {
      state.isOpen = isOpen;
      publish();
    },
    counts: () => ({
      records: state.linked.length(),
      usedBytes: state.usedLines * lineBytes,
      sizeBytes: memory.bytes.length,
      added: state.added,
      refused: state.refused,
    }),
  };
}

function add<About>(
  state: State<About>,
  bytes: Buffer,
  head: RequestHead,
  response: ReadyResponse,
  about: About,
): number {
  const { memory } = state;
  const { words, ringStartLine, ringEndLine } = memory;
  const keyLength = keyBytes(head);
  const lines = linesFor(response, keyLength);
  const ringLines = ringEndLine - ringStartLine;
  const line = state.isOpen && lines <= ringLines * recordShareMax ? makeRoom(state, lines) : 0;
  if (line === 0) {
    state.refused += 1;
    return 0;
  }
  const number = state.nextNumber;
  state.nextNumber = number === 0x7fffffff ? 1 : number + 1;
  const hash = hashOf(bytes, head, memory.seed);
  writeRecord(memory, line, response, { lines, number, stamp: state.stamp, hash, keyLength });
  writeKey(memory, (line * lineBytes) / 4, bytes, head);
  const slot = slotFor(memory, hash);
  // Readers check the record's own hash, so the order of these two does not matter.
  Atomics.store(words, slot, hash);
  Atomics.store(words, slot + 1, line);
  const kept = { line, lines, number, slot, about };
  state.linked.push(kept);
  state.kept.set(number, kept);
  state.nextLine = line + lines;
  state.usedLines += lines;
  state.added += 1;
  unlinkAhead(state, Math.floor(ringLines * aheadShare));
  return number;
}

/** The word of the slot for a new record: that of the same request, an empty one, or that of the oldest record. */
function slotFor({ words, buckets, indexWord }: ReadyMemory, hash: number): number {
  const first = indexWord + bucketOf(hash, buckets) * slotsPerBucket * 2;
  let best = first;
  let bestRank = Infinity;
  for (let slot = first; slot < first + slotsPerBucket * 2; slot += 2) {
    const line = words[slot + 1] as number;
    // The same hash is nearly always the same request; if it is another, that one is added again.
    const rank =
      words[slot] === hash ? -2 : line === 0 ? -1 : (words[(line * lineBytes) / 4 + recordWord.number] as number);
    if (rank >= bestRank) continue;
    best = slot;
    bestRank = rank;
  }
  return best;
}

/** A place for a record, or 0: lanes may still be reading what was there. */
function makeRoom<About>(state: State<About>, lines: number): number {
  const { ringStartLine, ringEndLine } = state.memory;
  const isAtEnd = state.nextLine + lines > ringEndLine;
  const start = isAtEnd ? ringStartLine : state.nextLine;
  // What lies between here and the end of the ring is skipped, so its records go, too.
  if (isAtEnd) unlinkWhile(state, ({ line }) => line >= state.nextLine);
  unlinkWhile(state, (kept) => kept.line < start + lines && kept.line + kept.lines > start);
  return reuse(state, start, lines) ? start : 0;
}

function unlinkAhead<About>(state: State<About>, lines: number): void {
  const { ringStartLine, ringEndLine } = state.memory;
  const end = state.nextLine + lines;
  unlinkWhile(state, ({ line }) => line >= state.nextLine && line < end);
  if (end > ringEndLine) {
    const wrapped = ringStartLine + (end - ringEndLine);
    unlinkWhile(state, ({ line }) => line < wrapped && line < state.nextLine);
  }
}

/** Unlinks the oldest records while they are such. */
function unlinkWhile<About>(state: State<About>, isSuch: (kept: Kept<About>) => boolean): void {
  let oldest = state.linked.first();
  if (oldest === undefined || !isSuch(oldest)) return;
  const unlinkedNow: Kept<About>[] = [];
  while (oldest !== undefined && isSuch(oldest)) {
    state.linked.shift();
    unlink(state.memory, oldest);
    unlinkedNow.push(oldest);
    oldest = state.linked.first();
  }
  const epoch = nextEpoch(state.memory);
  for (const kept of unlinkedNow) state.unlinked.push({ ...kept, epoch });
}

function unlink<About>({ words }: ReadyMemory, { slot, line }: Kept<About>): void {
  if (words[slot + 1] === line) Atomics.store(words, slot + 1, 0);
}

function nextEpoch({ words }: ReadyMemory): number {
  const before = Atomics.load(words, control.epoch);
  const epoch = before === 0x7fffffff ? 1 : before + 1;
  Atomics.store(words, control.epoch, epoch);
  return epoch;
}

/** Gives up what was unlinked here. False: a lane may still read some of it. */
function reuse<About>(state: State<About>, start: number, lines: number): boolean {
  const { events } = state;
  const oldest = state.unlinked.first();
  // Readers have told of their uses before they left.
  if (oldest !== undefined && hasPassed(state.memory, oldest.epoch)) events.settle();
  for (let kept = state.unlinked.first(); kept !== undefined; kept = state.unlinked.first()) {
    if (!hasPassed(state.memory, kept.epoch)) break;
    state.unlinked.shift();
    state.kept.delete(kept.number);
    state.usedLines -= kept.lines;
    events.dropped(kept.about, kept.number);
  }
  return !state.unlinked.some((kept) => kept.line < start + lines && kept.line + kept.lines > start);
}

/** Whether no lane looks at records that were unlinked in this epoch. */
function hasPassed({ words }: ReadyMemory, epoch: number): boolean {
  for (let lane = 0; lane < lanesMax; lane += 1) {
    const entered = Atomics.load(words, laneWord(lane));
    if (entered !== 0 && isBefore(entered, epoch)) return false;
  }
  return true;
}

/** Epochs wrap around. */
function isBefore(entered: number, epoch: number): boolean {
  const difference = epoch - entered;
  return difference > 0 ? difference < 0x40000000 : difference < -0x40000000;
}

interface Queue<Item> {
  readonly push: (item: Item) => void;
  readonly first: () => Item | undefined;
  readonly shift: () => void;
  readonly some: (isSuch: (item: Item) => boolean) => boolean;
  readonly length: () => number;
}

/** First in, first out, each in constant time. */
function newQueue<Item>(): Queue<Item> {
  let items: Item[] = [];
  let start = 0;
  return {
    push(item) {
      items.push(item);
    },
    first: () => items[start],
    shift() {
      start += 1;
      if (start < 1024 || start * 2 < items.length) return;
      items = items.slice(start);
      start = 0;
    },
    some(isSuch) {
      for (let index = start; index < items.length; index += 1) if (isSuch(items[index] as Item)) return true;
      return false;
    },
    length: () => items.length - start,
  };
}
