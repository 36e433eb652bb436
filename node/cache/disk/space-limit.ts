/**
 * How many bytes the files of the tier may take now: `bytesMax`, or less on a disk that is full before the tier is.
 *
 *   bytesMax ──disk full──▶ 95 % of the bytes in use ──full again──▶ 95 % of these ──▶ … ──▶ floor: it gives up
 *      ▲                                │
 *      └──── 1 % more for every 10 minutes in which writes succeed
 *
 * Pure arithmetic over one record: room.ts evicts what is above the limit, and shrinks it when a write fails. The limit
 * does not survive a restart; the next process finds it again with one failed write.
 *
 * Invariant: floor ≤ limit ≤ bytesMax.
 */
const shrunkShare = 0.95;
const growthIntervalMs = 10 * 60_000;
/** Small, so that a disk that stays full causes one failed write an hour. */
const growthShare = 0.01;

export interface SpaceLimit {
  /** As configured. */
  readonly bytesMax: number;
  /** A tier that uses no more than this does not fill the disk, something else does: it removes nothing. */
  readonly floorBytes: number;
  limitBytes: number;
  /** The disk was full at least once. */
  wasFull: boolean;
  /** Of the last change of the limit or the last failure, on the monotonic clock. */
  changedAtMs: number;
}

export function createSpaceLimit(bytesMax: number, floorBytes: number, nowMs: number): SpaceLimit {
  return {
    bytesMax,
    floorBytes: Math.min(floorBytes, bytesMax),
    limitBytes: bytesMax,
    wasFull: false,
    changedAtMs: nowMs,
  };
}

/** Whether a write failed because the disk, or the user's quota, is exhausted. */
export function saysFull(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "ENOSPC" || code === "EDQUOT";
}

/** After a write that failed because the disk is full. Returns whether the limit changed. */
export function shrink(space: SpaceLimit, usedBytes: number, nowMs: number): boolean {
  space.changedAtMs = nowMs;
  if (usedBytes <= space.floorBytes) return false;
  space.wasFull = true;
  // It has not yet removed what it has to, so it is not known whether that suffices.
  if (usedBytes > space.limitBytes) return false;
  space.limitBytes = Math.max(space.floorBytes, Math.floor(shrunkShare * usedBytes));
  return true;
}

/** To be called now and then. @param succeededAtMs of the last write, on the monotonic clock */
export function grow(space: SpaceLimit, nowMs: number, succeededAtMs: number): void {
  if (space.limitBytes === space.bytesMax) return;
  if (nowMs - space.changedAtMs < growthIntervalMs || succeededAtMs <= space.changedAtMs) return;
  space.limitBytes = Math.min(space.bytesMax, Math.ceil((1 + growthShare) * space.limitBytes));
  space.changedAtMs = nowMs;
}

/**
 * Whether the tier has to make room without writing, because a copy would fail too. A tier that takes too much for
 * another reason, a lower `bytesMax` since the last start, may copy.
 */
export function mustOnlyRemove({ wasFull, limitBytes }: SpaceLimit, usedBytes: number): boolean {
  return wasFull && usedBytes > limitBytes;
}
