/**
 * Whether a body can be read from its file without a wait for the disk: a lane waits for nothing.
 *
 * The system keeps what was read lately. So a record whose whole body was in the page cache a moment ago is not looked
 * at again: two system calls fewer for a hit.
 */
import { type ArenaView, RWF_NOWAIT, type StreamCalls } from "#base/system-calls.ts";
import { layout } from "./layout.ts";

/** The system's usual read-ahead: it reads files into the page cache in pieces of at least this length. */
const pieceBytes = 128 * 1024;
/** How long a look is good for. */
const seenMs = 1000;
const slots = 1024;

/** Records whose body was in the page cache: their numbers, each of which replaces another. */
export interface SeenBodies {
  readonly numbers: Int32Array;
  /** On the lane's clock. */
  readonly atMs: Float64Array;
}

/** What of a lane takes part. */
interface Looking {
  readonly calls: StreamCalls;
  readonly memory: ArenaView;
  readonly seenBodies: SeenBodies;
  readonly nowMs: number;
}

export function newSeenBodies(): SeenBodies {
  return { numbers: new Int32Array(slots), atMs: new Float64Array(slots) };
}

/**
 * Looks at a byte of each piece.
 * @param number of the record whose body this is
 * @param isWhole the range is the whole body
 */
export function isInPageCache(
  looking: Looking,
  number: number,
  isWhole: boolean,
  file: number,
  start: number,
  end: number,
): boolean {
  const { seenBodies, nowMs } = looking;
  const slot = number % slots;
  if (seenBodies.numbers[slot] === number && nowMs - (seenBodies.atMs[slot] as number) < seenMs) return true;
  for (let at = start; at < end; at += pieceBytes) if (!hasByte(looking, file, at)) return false;
  if (!hasByte(looking, file, end - 1)) return false;
  if (isWhole) {
    seenBodies.numbers[slot] = number;
    seenBodies.atMs[slot] = nowMs;
  }
  return true;
}

function hasByte({ calls, memory }: Looking, file: number, offset: number): boolean {
  return calls.readAt(file, memory.address + layout.probeVector, 1, offset, RWF_NOWAIT) === 1;
}
