/**
 * How late the event loop is: a timer that should fire ten times a second, and by how much it misses, as the mean over
 * the last ten seconds. A loop that is late by so much answers everything late by about as much.
 */
import type { Clock } from "#base/clock.ts";

const intervalMs = 100;
const samples = 100;

export interface LoopMeter {
  /** Milliseconds, 0 for a loop that is on time. */
  delayMs: () => number;
  close: () => void;
}

export function openLoopMeter(clock: Clock): LoopMeter {
  const late = new Float64Array(samples);
  let at = 0;
  let dueMs = clock.monotonicMs() + intervalMs;
  const close = clock.every(intervalMs, () => {
    const nowMs = clock.monotonicMs();
    const lateMs = Math.max(0, nowMs - dueMs);
    // A loop that stood still for a second missed ten timers, each of them later than the one after it.
    const missed = Math.min(samples, 1 + Math.floor(lateMs / intervalMs));
    for (let n = 0; n < missed; n++) {
      late[at] = lateMs - n * intervalMs;
      at = (at + 1) % samples;
    }
    dueMs = nowMs + intervalMs;
  });
  return { delayMs: () => late.reduce((sum, one) => sum + one, 0) / samples, close };
}
