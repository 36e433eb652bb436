/**
 * How the tier treats a disk that fails or is slow: it leaves the disk alone for a while.
 *
 *   working ──failure, or no result by the deadline──▶ paused ──time is over──▶ one operation tries
 *      ▲                                                 ▲ fails: twice as long     │
 *      └──────────────────────── succeeds ───────────────┴──────────────────────────┘
 *
 * Reads, writes and removals have one record each: a full disk can't be written to, but it can be read, and removals
 * make room on it. A hanging operation can't be cancelled, so the number of operations in progress is bounded; beyond
 * the bound, further ones are refused at once.
 */
import type { Clock } from "#base/clock.ts";

const firstPauseMs = 1000;
const pauseMaxMs = 60_000;

export interface Patience {
  readonly clock: Clock;
  /** An operation that takes longer has failed. */
  readonly deadlineMs: number;
  readonly underwayMax: number;
  /** Errors that say nothing about the disk, and cause no pause. */
  readonly harmless: ReadonlySet<string>;
  underway: number;
  /** 0: working. */
  pauseMs: number;
  /** On the monotonic clock; until then, nothing is tried. */
  pausedUntilMs: number;
  /** One operation tries whether the disk works again. */
  isTrying: boolean;
  /** Called for each failure that begins or prolongs a pause. */
  readonly failed: (error: unknown, pauseMs: number) => void;
  failures: number;
  /** Of the last operation that succeeded, on the monotonic clock. */
  succeededAtMs: number;
}

/** Too many open files. */
const ofTheProcess = ["EMFILE", "ENFILE"];

/** @param what a missing file can't be read; one that can't be created has lost its directory */
export function createPatience(
  what: "reads" | "writes" | "removals",
  parts: Pick<Patience, "clock" | "deadlineMs" | "underwayMax" | "failed">,
): Patience {
  const harmless = new Set(what === "reads" ? ["ENOENT", ...ofTheProcess] : ofTheProcess);
  return {
    ...parts,
    harmless,
    underway: 0,
    pauseMs: 0,
    pausedUntilMs: 0,
    isTrying: false,
    failures: 0,
    succeededAtMs: 0,
  };
}

/** The operation was not begun, or has no result: the disk was left alone. */
export class DiskPaused extends Error {}

/** The operation had no result by its deadline. It may still be carried out. */
export class DiskTooSlow extends DiskPaused {}

/** Whether an operation would be begun now. */
export function isWorking(patience: Patience): boolean {
  if (patience.underway >= patience.underwayMax) return false;
  return patience.pauseMs === 0 || (!patience.isTrying && patience.clock.monotonicMs() >= patience.pausedUntilMs);
}

/**
 * Runs an operation under the deadline.
 * @throws DiskPaused, or the system's error. A harmless error causes no pause.
 */
export async function tryOn<Result>(patience: Patience, begin: () => Promise<Result>): Promise<Result> {
  if (!isWorking(patience)) throw new DiskPaused("the disk is left alone after a failure");
  const isTrial = patience.pauseMs > 0;
  patience.isTrying ||= isTrial;
  try {
    const result = await byDeadline(patience, begin);
    patience.pauseMs = 0;
    patience.succeededAtMs = patience.clock.monotonicMs();
    return result;
  } catch (error) {
    if (!patience.harmless.has((error as NodeJS.ErrnoException).code ?? "")) pause(patience, error, isTrial);
    throw error;
  } finally {
    if (isTrial) patience.isTrying = false;
  }
}

/** Failures of operations that began before the pause don't prolong it. */
function pause(patience: Patience, error: unknown, isTrial: boolean): void {
  patience.failures += 1;
  if (patience.pauseMs > 0 && !isTrial) return;
  patience.pauseMs = patience.pauseMs === 0 ? firstPauseMs : Math.min(patience.pauseMs * 2, pauseMaxMs);
  patience.pausedUntilMs = patience.clock.monotonicMs() + patience.pauseMs;
  patience.failed(error, patience.pauseMs);
}

async function byDeadline<Result>(patience: Patience, begin: () => Promise<Result>): Promise<Result> {
  const { clock, deadlineMs } = patience;
  patience.underway += 1;
  // It is counted until it ends, however late.
  const operation = begin().finally(() => {
    patience.underway -= 1;
  });
  return await new Promise<Result>((resolve, reject) => {
    const cancel = clock.after(deadlineMs, () => {
      reject(new DiskTooSlow(`no result of the disk within ${deadlineMs} ms`));
    });
    operation.finally(cancel).then(resolve, reject);
  });
}
