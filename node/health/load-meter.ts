/**
 * Measures requests and bytes per second over about the last ten seconds.
 *
 *   second      ‥ 41 │ 42 │ 43 │ 44 │ 45 │ 46 │ 47 │ 48 │ 49 │ 50 │ 51 │ 52 (now, half over)
 *   requests     out │  8 │  9 │  7 │  0 │  4 │  4 │  9 │  9 │  8 │  8 │  4      70 in 10.5 s
 *
 * Two rings of eleven numbers, whatever the rate. A request costs two additions.
 */
import type { Clock } from "#base/clock.ts";

/** Whole seconds besides the current one. Short enough to notice a rush, long enough to ignore a hiccup. */
const wholeSeconds = 10;
const slots = wholeSeconds + 1;

export interface LoadMeter {
  /** Counts a request that was answered with this many bytes of body at `nowMs` of the monotonic clock. */
  count: (nowMs: number, bytes?: number) => void;
  requestsPerSecond: () => number;
  bytesPerSecond: () => number;
}

export function createLoadMeter(clock: Clock): LoadMeter {
  const counts = new Float64Array(slots);
  const bodies = new Float64Array(slots);
  const startedMs = clock.monotonicMs();
  let second = Math.floor(startedMs / 1000);

  /** Empties the slots of the seconds that began since the last call. */
  function moveTo(next: number): void {
    for (let at = Math.max(second + 1, next - slots + 1); at <= next; at++) {
      counts[at % slots] = 0;
      bodies[at % slots] = 0;
    }
    second = next;
  }

  function perSecond(numbers: Float64Array): number {
    const nowMs = clock.monotonicMs();
    moveTo(Math.max(second, Math.floor(nowMs / 1000)));
    const total = numbers.reduce((sum, one) => sum + one, 0);
    // A process that has just started has measured less than the window. Its first second counts as a whole one.
    const seenMs = Math.min(nowMs - startedMs, wholeSeconds * 1000 + (nowMs - second * 1000));
    return (total * 1000) / Math.max(seenMs, 1000);
  }

  return {
    count(nowMs, bytes = 0) {
      const at = Math.floor(nowMs / 1000);
      // A time slightly before the last one counts for the current second.
      if (at > second) moveTo(at);
      const slot = second % slots;
      counts[slot] = (counts[slot] ?? 0) + 1;
      bodies[slot] = (bodies[slot] ?? 0) + bytes;
    },
    requestsPerSecond: () => perSecond(counts),
    bytesPerSecond: () => perSecond(bodies),
  };
}
