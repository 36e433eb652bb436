/**
 * Limits how often the nodes at one address may introduce themselves. Reading an introduction takes milliseconds, and a
 * node needs one per connection to the feed, and one more per change of the fleet secret.
 */
import type { Clock } from "#base/clock.ts";

const windowMs = 60_000;

export interface IntroductionBudget {
  /** Counts one introduction. @returns false when it exceeds the limit */
  readonly take: (network: string) => boolean;
}

/** @param perMinuteMax introductions of one network within a minute */
export function openIntroductionBudget(perMinuteMax: number, clock: Clock): IntroductionBudget {
  // Cleared every minute; only subscribers of the feed are counted.
  const taken = new Map<string, number>();
  let sinceMs = clock.monotonicMs();
  return {
    take(network) {
      const nowMs = clock.monotonicMs();
      if (nowMs - sinceMs >= windowMs) {
        taken.clear();
        sinceMs = nowMs;
      }
      const count = (taken.get(network) ?? 0) + 1;
      taken.set(network, count);
      return count <= perMinuteMax;
    },
  };
}
