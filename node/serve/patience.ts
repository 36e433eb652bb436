/**
 * How long a request waits for an answer if it may get a stale one instead. Used by machine.ts and image-peers.ts.
 *
 *   first request ─── waits `staleWaitMs` of the host ──▶ gets the stale response; the revalidation goes on
 *        second request ──── waits for what is left ────▶ the same
 *                     later requests ───────────────────▶ the same, at once, while the revalidation runs
 *
 * A cache may decide when an origin is too late, which then counts as a 504 (RFC 5861 §4, RFC 9110 §15.6.5). Entries
 * whose directives forbid stale use (RFC 9111 §4.2.4) never get here: their windows are empty.
 *
 * Invariant: a key is in the table exactly while work for it is running, and all such work has a deadline.
 */
import type { Clock } from "#base/clock.ts";
import { isSettledWithin } from "#base/settled-within.ts";

export interface Patience {
  /** What is left of `waitMs`, counted from the first request for the key. 0: nothing. */
  readonly leftMs: (key: string, waitMs: number) => number;
  /** Notes work for the key, until it ends. */
  readonly follow: (key: string, work: Promise<unknown>) => void;
  /** Whether the work ends within this time, successfully or not. */
  readonly endsWithin: (work: Promise<unknown>, waitMs: number) => Promise<boolean>;
}

interface UnderWay {
  readonly sinceMs: number;
  works: number;
}

export function createPatience(clock: Clock): Patience {
  const underWay = new Map<string, UnderWay>();
  return {
    leftMs(key, waitMs) {
      const sinceMs = underWay.get(key)?.sinceMs;
      return sinceMs === undefined ? waitMs : Math.max(0, sinceMs + waitMs - clock.monotonicMs());
    },
    follow(key, work) {
      const asked = underWay.get(key) ?? { sinceMs: clock.monotonicMs(), works: 0 };
      asked.works += 1;
      underWay.set(key, asked);
      const ended = (): void => {
        asked.works -= 1;
        if (asked.works === 0) underWay.delete(key);
      };
      work.then(ended, ended);
    },
    endsWithin: (work, waitMs) => isSettledWithin(clock, work, waitMs),
  };
}
