/**
 * The machine's monotonic clock. The lab's processes tell each other moments, so they need a clock that all of them
 * share: `Clock.monotonicMs` begins with each process, CLOCK_MONOTONIC with the machine.
 */
import { systemClock, type Clock } from "#base/clock.ts";

/** CLOCK_MONOTONIC in milliseconds, with a fraction. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export const machineClock: Clock = { ...systemClock, monotonicMs: machineMs };
