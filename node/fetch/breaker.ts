/**
 * A circuit breaker in front of something that may be down; a small state machine over a clock.
 *
 *   closed ──failuresOpen failures in a row──▶ open ──after its wait──▶ half open ──success──▶ closed
 *                                                ▲                          └──failure──▶ open, twice the wait
 *
 * Open: work is refused at once, so that a dead origin costs its waiters nothing and is not hammered when it comes
 * back. Half open: one piece of work goes through and decides.
 */
import type { Clock } from "#base/clock.ts";

const failuresOpen = 5;
const waitMsMin = 500;
const waitMsMax = 15_000;

export interface Breaker {
  /** Whether work may go through now; taking a half-open turn counts as that turn. */
  tryPass: () => boolean;
  succeeded: () => void;
  failed: () => void;
  state: () => "closed" | "open" | "half-open";
}

export function createBreaker(clock: Clock): Breaker {
  let failures = 0;
  let waitMs = waitMsMin;
  let openedAtMs = 0;
  let state: "closed" | "open" | "half-open" = "closed";
  return {
    tryPass() {
      if (state === "closed") return true;
      // A half-open turn that never reported back (it was aborted) must not close the way for ever.
      if (clock.monotonicMs() - openedAtMs < waitMs) return false;
      state = "half-open";
      openedAtMs = clock.monotonicMs();
      return true;
    },
    succeeded() {
      failures = 0;
      waitMs = waitMsMin;
      state = "closed";
    },
    failed() {
      // Open already: this was asked before, and says nothing about now.
      if (state === "open") return;
      failures += 1;
      if (state === "closed" && failures < failuresOpen) return;
      if (state === "half-open") waitMs = Math.min(waitMs * 2, waitMsMax);
      state = "open";
      openedAtMs = clock.monotonicMs();
    },
    state: () => state,
  };
}
