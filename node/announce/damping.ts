/**
 * When a node may announce: only after its own answers have been correct for a while, and for longer after each
 * withdrawal. Each change of a route breaks connections of clients, whether a node joins or leaves, and routers
 * elsewhere suppress prefixes that flap (RFC 2439).
 *
 *            right ≥ 3 times in a row, over ≥ 10 s                    wrong 3 times in a row
 *   down ──────────────────────────────────────────▶ up ──────────────────────────────────────▶ down, strike n
 *     ▲                                               │ heartbeat stalled, thread died                   │
 *     └── right in a row over 10 s · 2ⁿ⁻¹, ≤ 5 min ───┴──────────────────────────────────────────────────┘
 *
 * - One wrong answer during the wait restarts it: back-off counts from recovery, not from the withdrawal.
 * - A check starts every second, after a wrong one every half second, and takes at most half a second. So three wrong
 *   ones in a row take 1 to 2.5 s from the failure: the node is silent within 3 s, and one hiccup is never enough.
 * - Ten minutes announced without a withdrawal remove one strike.
 * - The first stall is free: when the heartbeat was missing for less than 2 s, and there was no withdrawal in the last
 *   ten minutes, there is no strike, and two correct answers in a row (about a second) are enough. A long garbage
 *   collection should not cost ten seconds of service.
 * - A withdrawn node does not wait when no other site is healthy: `rise` brings it up after one correct answer. Its
 *   caller asks the other sites, as it does before it withdraws a failing node (the last healthy site stays).
 */

export interface DampingSettings {
  /** How long answers must be correct at first, and after a first withdrawal. */
  readonly upMs: number;
  readonly upMsMost: number;
  readonly rightsMin: number;
  readonly wrongsMin: number;
  /** Time announced without a withdrawal that removes one strike. */
  readonly forgiveMs: number;
  /** A stall shorter than this is free once. */
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
  /** The current run of correct answers: how many, and the time of the first. */
  readonly rights: number;
  readonly rightSinceMs: number;
  /** The current run of wrong answers. */
  readonly wrongs: number;
  /** What a run of correct answers needs to bring the node up. */
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

/** The state after one self-check. The check may bring the node up, but never takes it down: see isWrong(). */
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

/** Whether enough answers in a row were wrong: the node should withdraw, if it may. */
export function isWrong(damping: Damping, settings: DampingSettings): boolean {
  return damping.wrongs >= settings.wrongsMin;
}

/** Up at once, without the rest of the wait. */
export function rise(damping: Damping, nowMs: number): Damping {
  return damping.isUp ? damping : { ...damping, isUp: true, upSinceMs: nowMs };
}

/** @param stalledForMs how long the heartbeat was missing, if that is the reason; otherwise null */
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
