/**
 * Log lines about failures that other people cause: requests, questions of peers, queries, pictures. Whoever sends a
 * million bad requests must not fill the disk with a million lines.
 *
 *   the first lines of a code within a second ──▶ logged as they come
 *   all further ones ──▶ counted; one line with their number when the second is over
 */
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";

/** Enough to see what a failure looks like. Five lines of 400 bytes a second are 170 MB a day for each code. */
const linesPerSecond = 5;
const windowMs = 1000;

export interface FailureLog {
  /** @param code a word of ours, such as an error's code; never one that a client chooses */
  warn: (code: string, facts: Readonly<Record<string, unknown>>, message: string) => void;
  error: (code: string, facts: Readonly<Record<string, unknown>>, message: string) => void;
}

/** Windows of codes; those that end are removed, so there are at most as many as there are codes. */
interface Window {
  lines: number;
  omitted: number;
}

export function openFailureLog(log: Log, clock: Clock): FailureLog {
  const windows = new Map<string, Window>();

  function mayLog(level: "warn" | "error", code: string): boolean {
    let window = windows.get(code);
    if (window === undefined) {
      const opened = { lines: 0, omitted: 0 };
      window = opened;
      windows.set(code, opened);
      clock.after(windowMs, () => {
        windows.delete(code);
        if (opened.omitted > 0) log[level]({ code, omitted: opened.omitted, windowMs }, "more failures of this code");
      });
    }
    if (window.lines < linesPerSecond) {
      window.lines += 1;
      return true;
    }
    window.omitted += 1;
    return false;
  }

  return {
    warn(code, facts, message) {
      if (mayLog("warn", code)) log.warn({ code, ...facts }, message);
    },
    error(code, facts, message) {
      if (mayLog("error", code)) log.error({ code, ...facts }, message);
    },
  };
}
