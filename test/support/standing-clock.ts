/** A wall clock that stands still until a test moves it, so that ages are exact; timers and the monotonic clock run. */
import { type Clock, systemClock } from "#base/clock.ts";

export interface StandingClock extends Clock {
  /** Moves both readings on by `seconds`. */
  skip: (seconds: number) => void;
}

export function standingClock(): StandingClock {
  const startMs = systemClock.wallMs();
  let shiftMs = 0;
  return {
    ...systemClock,
    wallMs: () => startMs + shiftMs,
    monotonicMs: () => systemClock.monotonicMs() + shiftMs,
    skip(seconds) {
      shiftMs += seconds * 1000;
    },
  };
}
