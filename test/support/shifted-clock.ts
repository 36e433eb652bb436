/** The machine's clock with an offset that a test moves: timers are real, ages and lifetimes jump. */
import { type Clock, systemClock } from "#base/clock.ts";

export interface ShiftedClock extends Clock {
  /** Moves both readings on by `seconds`. */
  skip: (seconds: number) => void;
}

export function shiftedClock(): ShiftedClock {
  let shiftMs = 0;
  return {
    ...systemClock,
    wallMs: () => systemClock.wallMs() + shiftMs,
    monotonicMs: () => systemClock.monotonicMs() + shiftMs,
    skip(seconds) {
      shiftMs += seconds * 1000;
    },
  };
}
