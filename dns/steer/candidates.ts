/**
 * Which sites a steered name may be answered with, and in which order: its plan.
 *
 * Candidates are the sites that the name may be answered with and that are up. If none is up, they are those that are
 * draining; if none is draining either, all of them: an answer that may work beats one that can't. For A, only sites
 * with an IPv4 address are candidates, since a client that has only IPv4 must reach something. For AAAA, the best site
 * counts even if it has no IPv6 address, and the answer is then NODATA: nearly every client has IPv4 as well, and is
 * better off at its best site than at a farther one that its preference for IPv6 would select.
 *
 * Clients are steered by *groups* of candidates, the best one first. Each next group is the one that would be first if
 * the sites of the groups before it did not exist. It counts only while a site before it sheds load.
 *
 * policies/ defines the groups of each policy.
 *
 * A site of weight 0 gets no clients where clients are shared: by `weighted`, by an override's `sites`, and by
 * `withinKm`, where it is used only if no other site is left.
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
  /** The kept share of each site, 0 to 1. A site that is not named keeps all of its clients. */
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

/** The sites that the name may be answered with and that suit the family. */
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

/**
 * The answering site first, then the others by distance from it. If the document does not contain the answering site,
 * the order stays as it is.
 */
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

/** Clamped to 0..1; NaN means that the site keeps all. */
export function keptShareOf(keptShares: ReadonlyMap<string, number>, name: string): number {
  const share = keptShares.get(name) ?? 1;
  return Number.isNaN(share) ? 1 : Math.min(1, Math.max(0, share));
}
