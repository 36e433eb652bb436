/**
 * How much of something a connection may do: a token bucket with a burst and a refill rate. Pure.
 */
export interface Allowance {
  left: number;
  readonly burst: number;
  readonly perSecond: number;
  sinceMs: number;
}

export function openAllowance(burst: number, perSecond: number, nowMs: number): Allowance {
  return { left: burst, burst, perSecond, sinceMs: nowMs };
}

/** @returns false: that was more than is allowed */
export function spend(allowance: Allowance, amount: number, nowMs: number): boolean {
  const { left, burst, perSecond, sinceMs } = allowance;
  const granted = ((nowMs - sinceMs) / 1000) * perSecond;
  allowance.left = Math.min(burst, left + granted) - amount;
  allowance.sinceMs = nowMs;
  return allowance.left >= 0;
}

/** Gives back a part of the burst. */
export function grant(allowance: Allowance, amount: number): void {
  allowance.left = Math.min(allowance.burst, allowance.left + amount);
}
