/** Durations and times as people write them on a command line. */
import { InvalidArgumentError } from "commander";

const unitsMs = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function lengthMsOf(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * unitsMs[unit as keyof typeof unitsMs];
}

/** A duration such as `45m`, `2h`, `7d`. @returns milliseconds */
export function readLength(text: string): number {
  const lengthMs = lengthMsOf(text);
  if (lengthMs !== undefined) return lengthMs;
  throw new InvalidArgumentError("It must be a duration such as 45m, 2h or 7d.");
}

/**
 * A duration before now, or a date in this machine's time zone.
 * @returns a function from the current time to milliseconds since 1970
 */
export function readSince(text: string): (nowMs: number) => number {
  const lengthMs = lengthMsOf(text);
  if (lengthMs !== undefined) return (nowMs) => nowMs - lengthMs;
  // JavaScript reads a date without a zone as UTC, but a date and time as local: people mean their own day.
  const timeMs = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00`) : Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(timeMs)) return () => timeMs;
  throw new InvalidArgumentError("It must be a duration (45m, 2h, 7d) or a date (2026-11-01, 2026-11-01T08:30).");
}
