/**
 * Members that are not asked for a while after a failure: a small state machine per member.
 *
 *   fine ──failure──▶ shunned ──its wait is over, and the member is needed──▶ knocking ──answers──▶ fine
 *                        ▲                                                             └──fails──▶ for twice as long
 *
 * The same happens if it fails again within a minute: then it answers knocks, but not what clients need.
 *
 * A background request (knock) finds out whether a member is back, never a client's request (client.ts). So a dead
 * member costs only the requests that were running when it died.
 *
 * A failure counts only when the member has sent nothing since that request began: a member that answers other requests
 * is alive, and a slow answer is no reason to lose its cache.
 */
import type { Clock } from "#base/clock.ts";

const waitMsMin = 1000;
const waitMsMax = 10_000;
/** Fine for this long, a member's earlier failures are forgotten. */
const steadyMs = 60_000;

export interface Shunning {
  isShunned: () => boolean;
  /** Whether it is time to knock; true only once: the caller must then knock. */
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
  let fineSinceMs = -Infinity;
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
      if (state !== "fine") fineSinceMs = answeredMs;
      state = "fine";
    },
    failed(begunMs) {
      // Already shunned, and this began before: it is no new information.
      if (begunMs < answeredMs || state === "shunned" || (state === "knocking" && begunMs < sinceMs)) return false;
      const nowMs = clock.monotonicMs();
      const isNew = state === "fine";
      const isSteady = isNew && nowMs - fineSinceMs >= steadyMs;
      waitMs = isSteady ? waitMsMin : Math.min(waitMs * 2, waitMsMax);
      state = "shunned";
      sinceMs = nowMs;
      return isNew;
    },
  };
}
