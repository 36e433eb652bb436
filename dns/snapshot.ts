/**
 * All that an answer depends on besides the query and the client: one immutable value, swapped whole.
 *
 *   fleet document + version ──compileFleet──▶ CompiledFleet      zones, sites, address sets: as long as the document
 *   CompiledFleet + site states + geo ──▶ Snapshot                choosers, made when first asked, and their memory
 *
 * A change of health makes a new snapshot over the same compiled fleet, so remembered decisions end with the state
 * that they rested on.
 */
import assert from "node:assert/strict";
import type { Fleet } from "#fleet/document.ts";
import type { SiteStates } from "#fleet/health.ts";
import type { GeoSource } from "./geo/place.ts";
import { makeChooser, type Choice, type Chooser } from "./steer/choose.ts";
import { newDecisionCache, type DecisionCache } from "./steer/decision-cache.ts";
import { compileSiteAnswers, type SiteAnswers } from "./steer/site-answers.ts";
import { compileSites, type SteerSite } from "./steer/sites.ts";
import type { Family, IpAddress } from "./wire/address.ts";
import { compileZones, type CompiledZones } from "./zone/compile.ts";

export interface CompiledFleet {
  readonly fleet: Fleet;
  readonly version: number;
  readonly zones: CompiledZones;
  readonly sites: readonly SteerSite[];
  readonly answers: SiteAnswers;
  /** For each steered name the index of its plan: names that are steered alike share one. */
  readonly planOf: readonly number[];
}

export interface Snapshot {
  readonly compiled: CompiledFleet;
  readonly states: SiteStates;
  readonly geo: GeoSource;
  /** The remembered or new choice for a client of this steered name. */
  choose: (steeredIndex: number, asked: Family, client: IpAddress) => Choice;
  chooserOf: (steeredIndex: number, asked: Family) => Chooser;
}

/** @param version becomes the serial of each zone's SOA, so it must grow */
export function compileFleet(fleet: Fleet, version: number): CompiledFleet {
  const sites = compileSites(fleet);
  const plans = new Map<string, number>();
  const planOf = fleet.steering.map(({ policy, sites: allowed, weights, overrides }) => {
    const settings = JSON.stringify([policy, allowed, weights, overrides]);
    const plan = plans.get(settings) ?? plans.size;
    plans.set(settings, plan);
    return plan;
  });
  return {
    fleet,
    version,
    zones: compileZones(fleet, version),
    sites,
    answers: compileSiteAnswers(fleet, sites),
    planOf,
  };
}

/** Decisions remembered for all plans of a snapshot together; one is some 200 octets, so about 50 MB when full. */
const decisionsMax = 262_144;
/** A fleet of thousands of differently steered names still remembers this many for each. */
const decisionsPerPlanMin = 64;

interface Plan {
  readonly chooser: Chooser;
  readonly decisions: DecisionCache;
}

/** @param self name of the site that answers, for the policy `local` */
export function takeSnapshot(compiled: CompiledFleet, states: SiteStates, geo: GeoSource, self: string): Snapshot {
  const { fleet, planOf, sites } = compiled;
  const plansCount = new Set(planOf).size;
  // Each plan has two sides, A and AAAA.
  const entriesMax = Math.max(decisionsPerPlanMin, Math.floor(decisionsMax / Math.max(1, 2 * plansCount)));
  const plans: { readonly [family in Family]: (Plan | undefined)[] } = { 4: [], 6: [] };

  const planFor = (steeredIndex: number, asked: Family): Plan => {
    const number = planOf[steeredIndex] ?? 0;
    const known = plans[asked][number];
    if (known !== undefined) return known;
    const steered = fleet.steering[steeredIndex];
    assert(steered !== undefined, "compiled zones name a steered name that the document does not have");
    const chooser = makeChooser({ steered, sites, states, self, geo, asked });
    const plan = { chooser, decisions: newDecisionCache(entriesMax) };
    plans[asked][number] = plan;
    return plan;
  };

  return {
    compiled,
    states,
    geo,
    choose(steeredIndex, asked, client) {
      const { chooser, decisions } = planFor(steeredIndex, asked);
      return decisions.get(client, chooser.choose);
    },
    chooserOf: (steeredIndex, asked) => planFor(steeredIndex, asked).chooser,
  };
}
