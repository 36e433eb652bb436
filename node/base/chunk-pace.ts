/**
 * Paces bodies that arrive in tiny chunks. The parser calls back for each chunk (RFC 9112 §7.1): one read of 64 KiB
 * holds 11,000 chunks of a byte, and costs a hundred times as much as one chunk of the same size.
 *
 *   chunk ──▶ pay(): the smaller, the dearer ──▶ enough is saved: go on
 *                                          └──▶ not enough: the body is paused, and waits in line ──▶ its turn: resumed
 *
 * All bodies with the same pace share what is saved, and take turns, so a sender gains nothing by opening more of them.
 * They are the responses of one origin to an edge (body-watch.ts), or the requests of one connection to the origin
 * (origin/http/paced-body.ts). A chunk of `freeBytes` or more costs nothing and never waits, so the small chunks of
 * some bodies do not slow down the large chunks of others.
 */
import type { Cancel, Clock } from "./clock.ts";

/** A chunk of this size costs about as much as its bytes do. A smaller one pays in proportion to what it lacks. */
const freeBytes = 256;
/** How often waiting bodies get what has been saved meanwhile. */
const turnMs = 20;

/** Chunks of one byte. */
export interface PaceLimits {
  readonly perSecond: number;
  /** How many may arrive at once. */
  readonly savedMax: number;
}

export interface ChunkPace {
  readonly limits: PaceLimits;
  readonly clock: Clock;
  /** Below zero after the chunk that took the last of it. */
  saved: number;
  lastMs: number;
  /** Bodies in line, the one that has waited longest first. Bounded by the bodies in progress. */
  readonly waiting: Set<() => void>;
  cancel: Cancel | undefined;
}

export function createChunkPace(limits: PaceLimits, clock: Clock): ChunkPace {
  const { savedMax } = limits;
  return { limits, clock, saved: savedMax, lastMs: clock.monotonicMs(), waiting: new Set(), cancel: undefined };
}

/** Pays for a chunk that has arrived. @returns false: its body has to wait in line before the next one */
export function pay(pace: ChunkPace, chunkBytes: number): boolean {
  if (chunkBytes >= freeBytes) return true;
  pace.saved -= 1 - chunkBytes / freeBytes;
  if (pace.saved > 0) return true;
  save(pace);
  return pace.saved > 0;
}

/** @param resume called once, in its turn; chunks that arrive during the call are paid for in it */
export function waitInLine(pace: ChunkPace, resume: () => void): Cancel {
  pace.waiting.add(resume);
  pace.cancel ??= pace.clock.every(turnMs, () => {
    giveTurns(pace);
  });
  return () => {
    pace.waiting.delete(resume);
    stopIfIdle(pace);
  };
}

function save(pace: ChunkPace): void {
  const { perSecond, savedMax } = pace.limits;
  const nowMs = pace.clock.monotonicMs();
  const passedSeconds = (nowMs - pace.lastMs) / 1000;
  pace.saved = Math.min(savedMax, pace.saved + passedSeconds * perSecond);
  pace.lastMs = nowMs;
}

/** A body that uses up everything that is saved waits again, behind the others. */
function giveTurns(pace: ChunkPace): void {
  save(pace);
  for (const resume of pace.waiting) {
    if (pace.saved <= 0) return;
    pace.waiting.delete(resume);
    resume();
  }
  stopIfIdle(pace);
}

function stopIfIdle(pace: ChunkPace): void {
  if (pace.waiting.size > 0) return;
  pace.cancel?.();
  pace.cancel = undefined;
}
