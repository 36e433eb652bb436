/**
 * Which sites a steered name may be answered with, and in which order: its plan.
 *
 * Candidates are the sites that the name may be answered with and that are up; when none is, those that are draining;
 * when there are none of these either, all: an answer that may work beats one that can't. For A they are only those
 * that have an IPv4 address: a client that knows IPv4 alone must reach something. For AAAA the best site counts even
 * if it has no IPv6 address, and the answer is then NODATA: nearly every client speaks IPv4 as well and is better off
 * at its best site than at a farther one, to which it would be drawn by its preference for IPv6.
 *
 * Clients are steered by *groups* of candidates, the best one first; each next group is the one that would be first
 * if the sites of those before were not there. It counts only while a site before it sheds load.
 *
 * Which policy makes which groups: policies/.
 *
 * A site of weight 0 takes no part where clients are shared: by `weighted`, by an override's `sites`, and by
 * `withinKm`, where it is answered only when no other is left.
 */
import type { Fleet } from "#document/document.ts";
import type { SteeredName } from "#document/schema/steering.ts";
import type { SiteState, SiteStates } from "#health/health.ts";
import { parseIp, type Family } from "../wire/address.ts";
import { closeness, unitVector, type UnitVector } from "#base/great-circle.ts";
import type { Plan, Standing } from "./plan.ts";
import { policies } from "./policies.ts";

export interface PlanInputs {
  readonly fleet: Fleet;
  /** Name of the answering site, for the policy `local`. */
  readonly self: string;
  /** A site that is not named is up. */
  readonly states: SiteStates;
  /** Part of its clients that a site keeps, 0 to 1; a site that is not named keeps all. */
  readonly keptShares: ReadonlyMap<string, number>;
}

export function planOf({ fleet, self, states, keptShares }: PlanInputs, steered: SteeredName, asked: Family): Plan {
  const allowed = allowedSites(fleet, steered, asked);
  const { standing, candidates } = candidatesOf(fleet, allowed, states);
  if (policies[steered.policy].isOrderFromSelf === true) orderFromSelf(fleet, self, candidates);
  const names = candidates.map((at) => fleet.sites[at]?.name ?? "");
  return {
    policy: steered.policy,
    allowed,
    standing,
    candidates,
    names,
    vectors: candidates.map((at) => vectorOf(fleet, at)),
    weights: names.map((name) => steered.weights?.[name] ?? 1),
    keptShares: names.map((name) => keptShareOf(keptShares, name)),
    withinKm: steered.withinKm,
    isSelfKnown: fleet.sites.some((site) => site.name === self),
  };
}

/** The sites that the name may be answered with, fit for the family. */
function allowedSites(fleet: Fleet, steered: SteeredName, asked: Family): number[] {
  const indexOf = new Map(fleet.sites.map((site, index) => [site.name, index]));
  let allowed = [...fleet.sites.keys()];
  if (steered.sites !== undefined) {
    allowed = [...new Set(steered.sites)].map((name) => indexOf.get(name)).filter((index) => index !== undefined);
    if (policies[steered.policy].isOrderOfSites !== true) allowed.sort((a, b) => a - b);
  }
  if (asked === 6) return allowed;
  return allowed.filter((at) => fleet.sites[at]?.addresses.some((text) => parseIp(text)?.family === 4));
}

function candidatesOf(
  fleet: Fleet,
  allowed: readonly number[],
  states: SiteStates,
): { standing: Standing; candidates: number[] } {
  for (const state of ["up", "draining"] as const satisfies readonly SiteState[]) {
    const candidates = allowed.filter((at) => (states.get(fleet.sites[at]?.name ?? "") ?? "up") === state);
    if (candidates.length > 0) return { standing: state, candidates };
  }
  return { standing: "all", candidates: [...allowed] };
}

/** The answering site first, then the nearest to it. A site that is not in the document leaves the order as it is. */
function orderFromSelf(fleet: Fleet, self: string, candidates: number[]): void {
  const own = fleet.sites.findIndex((site) => site.name === self);
  if (own < 0) return;
  const home = vectorOf(fleet, own);
  const rank = (at: number): number => (at === own ? 2 : closeness(home, vectorOf(fleet, at)));
  candidates.sort((a, b) => rank(b) - rank(a) || a - b);
}

function vectorOf(fleet: Fleet, at: number): UnitVector {
  return unitVector(fleet.sites[at]?.place ?? { latitude: Number.NaN, longitude: Number.NaN });
}

/** Bounded to 0..1; what is no number keeps all. */
export function keptShareOf(keptShares: ReadonlyMap<string, number>, name: string): number {
  const share = keptShares.get(name) ?? 1;
  return Number.isNaN(share) ? 1 : Math.min(1, Math.max(0, share));
}
