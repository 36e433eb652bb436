/**
 * Measures the delay of the event loop: a timer should fire ten times a second; the result is its mean delay over the
 * last ten seconds. A delayed loop delays every answer by about as much.
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
    // A loop that was blocked for a second missed ten timers, each of them later than the next one.
    const missed = Math.min(samples, 1 + Math.floor(lateMs / intervalMs));
    for (let n = 0; n < missed; n++) {
      late[at] = lateMs - n * intervalMs;
      at = (at + 1) % samples;
    }
    dueMs = nowMs + intervalMs;
  });
  return { delayMs: () => late.reduce((sum, one) => sum + one, 0) / samples, close };
}
