/**
 * Computes how long a steered answer may be cached: until the earliest moment at which it could change.
 *
 *   now ──────────── soonest possible change of a site that the name may be answered with
 *    │◀── TTL ──────▶│            never below ttlFloorSeconds, never above ttlSeconds
 *
 * A site that failed one probe can be down after the next few; a site that answers steadily stays up for longer. So
 * TTLs are short only while a change is near. All allowed sites count, not only the chosen one: a better site that
 * comes up changes the answer as well.
 */
import type { SteeredName } from "#document/schema/steering.ts";
import { policies } from "#document/policies.ts";

export interface Ttl {
  readonly seconds: number;
  /** One phrase, for people. */
  readonly reason: string;
}

const longest = "the longest allowed (ttlSeconds)";

/**
 * @param allowed names of the sites that the name may be answered with, in any state
 * @param soonestChangeMs milliseconds from now until a site's state may change at the earliest; a site that is absent
 *   can't change by itself, because its state is forced
 */
export function ttlOf(
  steered: Pick<SteeredName, "policy" | "ttlSeconds" | "ttlFloorSeconds">,
  allowed: readonly string[],
  soonestChangeMs: ReadonlyMap<string, number>,
): Ttl {
  const ceiling = steered.ttlSeconds;
  if (policies[steered.policy].isShared === true)
    return { seconds: ceiling, reason: `${longest}: with anycast no site's state counts` };
  const floor = Math.min(steered.ttlFloorSeconds, ceiling);
  let soonestMs = Number.POSITIVE_INFINITY;
  let soonestSite = "";
  for (const site of allowed) {
    const ms = soonestChangeMs.get(site);
    if (ms !== undefined && ms < soonestMs) {
      soonestMs = ms;
      soonestSite = site;
    }
  }
  if (soonestSite === "") return { seconds: ceiling, reason: `${longest}: no site's state can change by itself` };
  // Round down: an answer must not outlive the states that it depends on.
  const seconds = Math.floor(Math.max(soonestMs, 0) / 1000);
  const change =
    seconds === 0
      ? `the answer can change with the state of site ${soonestSite} at any time`
      : `the answer can change with the state of site ${soonestSite} in ${seconds} s at the earliest`;
  if (seconds > ceiling) return { seconds: ceiling, reason: `${longest}: ${change}` };
  if (seconds < floor) return { seconds: floor, reason: `the shortest allowed (ttlFloorSeconds): ${change}` };
  return { seconds, reason: `since ${change}` };
}
