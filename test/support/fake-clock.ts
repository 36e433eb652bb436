/** A clock that stands still until a test moves it; timers run in order while it moves. */
import type { Clock } from "#base/clock.ts";

export interface FakeClock extends Clock {
  /** Moves both readings on by `ms`, running what falls due on the way. */
  advance: (ms: number) => void;
}

export function fakeClock(startWallMs = Date.UTC(2026, 0, 1)): FakeClock {
  let passedMs = 0;
  let lastId = 0;
  const timers = new Map<number, { dueMs: number; intervalMs: number | null; action: () => void }>();
  const start = (delayMs: number, intervalMs: number | null, action: () => void): (() => void) => {
    const id = (lastId += 1);
    timers.set(id, { dueMs: passedMs + delayMs, intervalMs, action });
    return () => {
      timers.delete(id);
    };
  };
  return {
    wallMs: () => startWallMs + passedMs,
    monotonicMs: () => passedMs,
    after: (delayMs, action) => start(delayMs, null, action),
    every: (intervalMs, action) => start(intervalMs, intervalMs, action),
    advance(ms) {
      const endMs = passedMs + ms;
      for (;;) {
        const due = [...timers]
          .filter(([, timer]) => timer.dueMs <= endMs)
          .toSorted((a, b) => a[1].dueMs - b[1].dueMs)[0];
        if (due === undefined) break;
        const [id, timer] = due;
        passedMs = Math.max(passedMs, timer.dueMs);
        if (timer.intervalMs === null) timers.delete(id);
        else timer.dueMs += timer.intervalMs;
        timer.action();
      }
      passedMs = endMs;
    },
  };
}
