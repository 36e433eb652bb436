/**
 * The memory of ready responses. The main thread writes it, and lanes read it, so it is shared memory when there are
 * lanes.
 *
 *   ┌ control ─────────────┬ index ──────────────────────────┬ ring ──────────────────────────────┐
 *   │ stamp, epochs        │ buckets of eight slots:         │ records, one after another,        │
 *   │                      │ [tag, place] …                  │ each beginning on a line of 64 B   │
 *   └──────────────────────┴─────────────────────────────────┴────────────────────────────────────┘
 *
 * A place is the number of a line. Line 0 is part of control, so place 0 means: none.
 */

/** Of a processor's cache. */
export const lineBytes = 64;
export const lanesMax = 32;
/** Word numbers in the control part. */
export const control = {
  /** What all decisions depend on. A record with another stamp is not used; 0: no record is. */
  stamp: 0,
  /** Counts what was unlinked from the index. */
  epoch: 1,
  /** Each lane has a line: the epoch in which it looks at records, or 0 while it looks at none. */
  lanes: 16,
  wordsPerLane: 16,
} as const;
const controlBytes = (control.lanes + lanesMax * control.wordsPerLane) * 4;

export const slotsPerBucket = 8;
const slotBytes = 8;
/**
 * A record whose body is in a file takes this much of the ring. If all are of that kind, a bucket is full on average;
 * records with their bodies are fewer.
 */
const bytesPerSlot = 1024;

export interface ReadyMemory {
  readonly bytes: Buffer;
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  /** A power of two. */
  readonly buckets: number;
  /** Word number of the first bucket. */
  readonly indexWord: number;
  readonly ringStartLine: number;
  readonly ringEndLine: number;
  /** Makes hashes unpredictable, so that nobody can choose targets that share a bucket. */
  readonly seed: number;
}

/** @param memory filled with zeros; its size is a multiple of a line */
export function openReadyMemory(memory: ArrayBufferLike, seed: number): ReadyMemory {
  const wanted = memory.byteLength / bytesPerSlot / slotsPerBucket;
  const buckets = 2 ** Math.max(0, Math.floor(Math.log2(wanted)));
  const indexBytes = buckets * slotsPerBucket * slotBytes;
  const ringStartLine = Math.ceil((controlBytes + indexBytes) / lineBytes);
  return {
    bytes: Buffer.from(memory as ArrayBuffer),
    words: new Int32Array(memory),
    doubles: new Float64Array(memory),
    buckets,
    indexWord: controlBytes / 4,
    ringStartLine,
    ringEndLine: Math.floor(memory.byteLength / lineBytes),
    seed: seed | 0,
  };
}

export function laneWord(lane: number): number {
  return control.lanes + lane * control.wordsPerLane;
}

/** A lane looks at records from now on: what it finds stays as it is until it leaves. */
export function enter({ words }: ReadyMemory, lane: number): void {
  const word = laneWord(lane);
  // The epoch may have changed between the two; then the lane counts as being in the earlier one, which is safe.
  Atomics.store(words, word, Atomics.load(words, control.epoch));
}

export function leave({ words }: ReadyMemory, lane: number): void {
  Atomics.store(words, laneWord(lane), 0);
}
