/**
 * When a node may announce: only after its own answers were right for a while, and for a longer while each time that
 * it fell. Routes that come and go cost clients their connections (a node that joins breaks as many as one that
 * leaves), and routers elsewhere punish prefixes that flap (RFC 2439).
 *
 *            right ≥ 3 times in a row, over ≥ 10 s                    wrong 3 times in a row
 *   down ──────────────────────────────────────────▶ up ──────────────────────────────────────▶ down, strike n
 *     ▲                                               │ heartbeat stalled, thread died                   │
 *     └── right in a row over 10 s · 2ⁿ⁻¹, ≤ 5 min ───┴──────────────────────────────────────────────────┘
 *
 * - One wrong answer while it waits begins the wait anew: back-off counts from when it is well, not from the fall.
 * - A check comes each second, after a wrong one each half second, and takes half a second at most. So three wrong
 *   ones in a row take 1 to 2.5 s from the moment when the node breaks: it is silent before 3 s are over, and a
 *   single hiccup never is enough.
 * - Each ten minutes announced without a fall forgive one strike.
 * - The first stall is pardoned: when the heartbeat stood still for less than 2 s and nothing fell in the last ten
 *   minutes, there is no strike, and two right answers in a row (about a second) are enough. A long garbage collection
 *   shall not cost ten seconds of service; what stalls twice is ill.
 * - A node that fell waits for nothing when no other site is well: `rise` is for that, after one right answer. Its
 *   caller asks the others; so it does before it lets a node fall that answers wrongly (the last healthy site stays).
 */

export interface DampingSettings {
  /** Length of the first run of right answers, and of the one after a first fall. */
  readonly upMs: number;
  readonly upMsMost: number;
  readonly rightsMin: number;
  readonly wrongsMin: number;
  /** So long announced without a fall forgives one strike. */
  readonly forgiveMs: number;
  /** A stall shorter than this is pardoned once. */
  readonly pardonMs: number;
}

export const usualDamping: DampingSettings = {
  upMs: 10_000,
  upMsMost: 300_000,
  rightsMin: 3,
  wrongsMin: 3,
  forgiveMs: 600_000,
  pardonMs: 2000,
};

export interface Damping {
  readonly isUp: boolean;
  readonly upSinceMs: number;
  /** The present run of right answers: how many, and when the first of them came. */
  readonly rights: number;
  readonly rightSinceMs: number;
  /** The present run of wrong ones. */
  readonly wrongs: number;
  /** What a run of right answers must have to bring it up. */
  readonly needsRights: number;
  readonly needsMs: number;
  readonly strikes: number;
  readonly falls: number;
  readonly fellAtMs: number | null;
}

export function firstDamping(settings: DampingSettings): Damping {
  return {
    isUp: false,
    upSinceMs: 0,
    rights: 0,
    rightSinceMs: 0,
    wrongs: 0,
    needsRights: settings.rightsMin,
    needsMs: settings.upMs,
    strikes: 0,
    falls: 0,
    fellAtMs: null,
  };
}

/** After one self-check. It may come up by it; it never falls by itself: see isWrong. */
export function checked(damping: Damping, isRight: boolean, nowMs: number): Damping {
  if (!isRight) return { ...damping, rights: 0, wrongs: damping.wrongs + 1 };
  const next = {
    ...damping,
    wrongs: 0,
    rights: damping.rights + 1,
    rightSinceMs: damping.rights === 0 ? nowMs : damping.rightSinceMs,
  };
  const isEnough = next.rights >= next.needsRights && nowMs - next.rightSinceMs >= next.needsMs;
  return isEnough ? rise(next, nowMs) : next;
}

/** Whether its answers are wrong for good: it should fall, if it may. */
export function isWrong(damping: Damping, settings: DampingSettings): boolean {
  return damping.wrongs >= settings.wrongsMin;
}

/** Up at once, whatever it should have waited for. */
export function rise(damping: Damping, nowMs: number): Damping {
  return damping.isUp ? damping : { ...damping, isUp: true, upSinceMs: nowMs };
}

/** @param stalledForMs how long the heartbeat stood still, when that is why; null for any other reason */
export function fall(damping: Damping, stalledForMs: number | null, nowMs: number, settings: DampingSettings): Damping {
  const { upMs, upMsMost, rightsMin, forgiveMs, pardonMs } = settings;
  const forgiven = damping.isUp ? Math.floor((nowMs - damping.upSinceMs) / forgiveMs) : 0;
  const strikesLeft = Math.max(0, damping.strikes - forgiven);
  const isQuiet = damping.fellAtMs === null || nowMs - damping.fellAtMs >= forgiveMs;
  const isPardoned = stalledForMs !== null && stalledForMs < pardonMs && strikesLeft === 0 && isQuiet;
  const strikes = isPardoned ? 0 : strikesLeft + 1;
  return {
    ...damping,
    isUp: false,
    rights: 0,
    needsRights: isPardoned ? 2 : rightsMin,
    needsMs: isPardoned ? 0 : Math.min(upMs * 2 ** (strikes - 1), upMsMost),
    strikes,
    falls: damping.falls + 1,
    fellAtMs: nowMs,
  };
}
