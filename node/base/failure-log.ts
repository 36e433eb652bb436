/**
 * Logs failures that others cause: requests from clients and peers, DNS queries, pictures. A million bad requests must
 * not fill the disk with a million lines.
 *
 *   the first lines of a code within a second ──▶ logged at once
 *   all others ──▶ counted; one line with their number at the end of the second
 *
 * Where the sender matters, the limit is per address, so that one sender can't hide the failures of another.
 */
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";

/** Enough to see what a failure looks like. Five lines of 400 bytes a second are 170 MB a day for each code. */
const linesPerSecond = 5;
const windowMs = 1000;
/** Per address: enough for a machine with many processes, and 12 MB a day. */
const linesPerMinute = 20;
const minuteMs = 60_000;
/** Maximum number of addresses with their own limit at a time; the others share one. */
const addressesMax = 64;

export interface FailureLog {
  /** @param code one of our own names, such as an error's code; never text that a client chooses */
  warn: (code: string, facts: Readonly<Record<string, unknown>>, message: string) => void;
  /** The same at level info or warn, with a separate limit for each address. */
  of: (
    address: string,
    level: "info" | "warn",
    code: string,
    facts: Readonly<Record<string, unknown>>,
    message: string,
  ) => void;
  error: (code: string, facts: Readonly<Record<string, unknown>>, message: string) => void;
}

/**
 * Windows are removed when they end, so there is at most one per code, each with 64 addresses and one entry for the
 * rest.
 */
interface Window {
  lines: number;
  omitted: number;
}

export function openFailureLog(log: Log, clock: Clock): FailureLog {
  const windows = new Map<string, Window>();
  const addresses = new Map<string, number>();

  function mayLog(level: "info" | "warn" | "error", code: string, address?: string): boolean {
    const isOfAddress = address !== undefined;
    const key = isOfAddress ? `${code} ${address}` : code;
    let window = windows.get(key);
    if (window === undefined) {
      const opened = { lines: 0, omitted: 0 };
      window = opened;
      windows.set(key, opened);
      const lastsMs = isOfAddress ? minuteMs : windowMs;
      clock.after(lastsMs, () => {
        windows.delete(key);
        if (isOfAddress) leave(address);
        if (opened.omitted === 0) return;
        const whose = isOfAddress ? { address: address === "" ? "others" : address } : {};
        log[level](
          { code, ...whose, omitted: opened.omitted, windowMs: lastsMs },
          isOfAddress ? "more lines like these were left out" : "more failures with this code were left out",
        );
      });
      if (isOfAddress) addresses.set(address, (addresses.get(address) ?? 0) + 1);
    }
    if (window.lines < (isOfAddress ? linesPerMinute : linesPerSecond)) {
      window.lines += 1;
      return true;
    }
    window.omitted += 1;
    return false;
  }

  function leave(address: string): void {
    const left = (addresses.get(address) ?? 1) - 1;
    if (left === 0) addresses.delete(address);
    else addresses.set(address, left);
  }

  return {
    of(address, level, code, facts, message) {
      const own = addresses.has(address) || addresses.size < addressesMax ? address : "";
      if (mayLog(level, code, own)) log[level]({ code, address, ...facts }, message);
    },
    warn(code, facts, message) {
      if (mayLog("warn", code)) log.warn({ code, ...facts }, message);
    },
    error(code, facts, message) {
      if (mayLog("error", code)) log.error({ code, ...facts }, message);
    },
  };
}
