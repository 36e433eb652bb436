/**
 * Whom not to ask for a while; a small state machine for each member, over a clock.
 *
 *   fine ──failure──▶ shunned ──its wait is over, and somebody wants the member──▶ knocking ──answers──▶ fine
 *                        ▲                                                            └──fails──▶ for twice as long
 *
 * No request finds out whether a member is back: a knock does, behind everybody's back (client.ts). So a dead member
 * costs those who were asking when it died, and after that nobody.
 *
 * A failure counts only when nothing came from the member since that request began: one that answers others lives, and
 * a slow answer is not a reason to lose its cache.
 */
import type { Clock } from "#base/clock.ts";

const waitMsMin = 1000;
const waitMsMax = 10_000;

export interface Shunning {
  isShunned: () => boolean;
  /** Whether it is time to knock; true once, the one who hears it must knock. */
  mayKnock: () => boolean;
  answered: () => void;
  /**
   * Something that began at `begunMs` of the monotonic clock failed. Returns true when the member is shunned from now
   * on.
   */
  failed: (begunMs: number) => boolean;
}

export function createShunning(clock: Clock): Shunning {
  let state: "fine" | "shunned" | "knocking" = "fine";
  let waitMs = waitMsMin;
  let sinceMs = 0;
  let answeredMs = -Infinity;
  return {
    isShunned: () => state !== "fine",
    mayKnock() {
      if (state !== "shunned" || clock.monotonicMs() - sinceMs < waitMs) return false;
      state = "knocking";
      sinceMs = clock.monotonicMs();
      return true;
    },
    answered() {
      answeredMs = clock.monotonicMs();
      state = "fine";
      waitMs = waitMsMin;
    },
    failed(begunMs) {
      // Shunned already, and this began before: it says nothing new.
      if (begunMs < answeredMs || state === "shunned" || (state === "knocking" && begunMs < sinceMs)) return false;
      waitMs = state === "knocking" ? Math.min(waitMs * 2, waitMsMax) : waitMsMin;
      const isNew = state === "fine";
      state = "shunned";
      sinceMs = clock.monotonicMs();
      return isNew;
    },
  };
}
