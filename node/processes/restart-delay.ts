/**
 * When to restart an ended process, and when that is pointless. Pure.
 *
 *   a run ends                      next start after
 *   it had been ready for ≥ 60 s    0.2 s
 *   otherwise                       twice the previous delay: 0.2, 0.4, 0.8 … 30 s
 *
 * A run that ended before it was ready is a false start. Restarting is hopeless, and the supervisor ends with the
 * processes' own status, when no process has had anything but false starts, and either all of them reported that the
 * configuration must be corrected (status 2), or each has tried five times in a row.
 */

const delayMinMs = 200;
const delayMaxMs = 30_000;
/** A process that was ready for this long was healthy. */
const wellAfterMs = 60_000;
const falseStartsMax = 5;
const statusFailed = 1;
const statusMend = 2;

/** The recorded runs of one process. */
export interface Runs {
  /** Runs in a row that ended before a minute of being ready. */
  readonly short: number;
  /** Runs in a row that ended before they were ready. */
  readonly falseStarts: number;
  /** The last run's exit status; null if there was none, or a signal ended it. */
  readonly status: number | null;
}

export const noRuns: Runs = { short: 0, falseStarts: 0, status: null };

export function atReady(runs: Runs): Runs {
  return { ...runs, falseStarts: 0 };
}

/** @param run.readyMs how long it had been ready; null: it never was */
export function afterRun(runs: Runs, run: { readyMs: number | null; status: number | null }): Runs {
  const isWell = run.readyMs !== null && run.readyMs >= wellAfterMs;
  return {
    short: isWell ? 0 : runs.short + 1,
    falseStarts: run.readyMs === null ? runs.falseStarts + 1 : 0,
    status: run.status,
  };
}

/** How long to wait before the next run of a process. */
export function restMs({ short }: Runs): number {
  return Math.min(delayMinMs * 2 ** Math.max(0, short - 1), delayMaxMs);
}

/** The exit status to end with when restarting is hopeless; undefined: continue. */
export function hopelessStatus(all: readonly Runs[]): number | undefined {
  if (all.some(({ falseStarts }) => falseStarts === 0)) return undefined;
  if (all.every(({ status }) => status === statusMend)) return statusMend;
  return all.every(({ falseStarts }) => falseStarts >= falseStartsMax) ? statusFailed : undefined;
}
