/**
 * The steering policies as DNS follows them: one entry each, with the order of its candidates, the outcome that is
 * compiled for all clients, and the groups by which one client is explained. What a policy means to the fleet document
 * is the entry of the same name in node/document/policies.ts.
 *
 *   geo       of the overrides, the longest CIDR, then the shorter ones, the AS number, the country; then by distance
 *   weighted  one group of all
 *   fixed     in the order of `sites`          local    the answering site, then by distance from it
 *   anycast   the shared addresses: no site is chosen, health is the business of the routes
 */
import type { PolicyName } from "#document/policies.ts";
import type { Override } from "#document/schema/steering.ts";
import { valueAt, type GeoTables } from "../geo/tables.ts";
import { bitAt, type IpAddress } from "../wire/address.ts";
import type { ChainBuilder } from "./chains.ts";
import { geoOutcomesOf } from "./geo-outcomes.ts";
import type { SweptRanges } from "./outcome-table.ts";
import { overridesOf, type OverrideKind } from "./overrides.ts";
import { placeVector } from "./place-vectors.ts";
import type { Plan } from "./plan.ts";
import { rankingOf } from "./ranking.ts";
import { sweep } from "./sweep.ts";

/** The same outcome for every client (a code), the shared addresses, nothing to answer with, or by address. */
export type Outcome = number | "shared" | "nothing" | { readonly v4: SweptRanges; readonly v6: SweptRanges };

/** Why a group stands where it does. `order`: by the document's, where the client's place is not known. */
export type Rule = OverrideKind | "distance" | "order" | "weight" | "self";

/** What the groups of one client are found by. */
export interface ClientView {
  readonly plan: Plan;
  readonly overrides: readonly Override[];
  readonly geo: GeoTables;
  readonly client: IpAddress;
  /** Name of the answering site. */
  readonly self: string;
  /** By position in Plan.candidates: 1 where the site is in a group already. */
  readonly isUsed: Uint8Array;
  /** Adds a group of positions; those that are used already are left out. */
  readonly add: (rule: Rule, overrideIndex: number, members: readonly number[]) => void;
}

interface Policy {
  /** Whether `sites` is an order of preference. */
  readonly isOrderOfSites?: true;
  /** Whether candidates go by the distance from the answering site. */
  readonly isOrderFromSelf?: true;
  /** The plan has a candidate, unless the policy is `anycast`. */
  readonly outcomeOf: (plan: Plan, overrides: readonly Override[], geo: GeoTables, builder: ChainBuilder) => Outcome;
  readonly addGroups: (view: ClientView) => void;
}

export const policies: Readonly<Record<PolicyName, Policy>> = {
  geo: { outcomeOf: geoOutcome, addGroups: addGeoGroups },
  anycast: { outcomeOf: () => "shared", addGroups: () => {} },
  local: {
    isOrderFromSelf: true,
    outcomeOf: orderedOutcome,
    addGroups({ plan, self, add }) {
      for (const [position, name] of plan.names.entries()) {
        add(!plan.isSelfKnown ? "order" : name === self ? "self" : "distance", -1, [position]);
      }
    },
  },
  weighted: {
    outcomeOf(plan, _overrides, _geo, builder) {
      const members = weighing(plan);
      if (members.length === 0) return "nothing";
      builder.begin();
      builder.add(members, members.length);
      return builder.finish();
    },
    addGroups({ plan, add }) {
      add("weight", -1, weighing(plan));
    },
  },
  fixed: {
    isOrderOfSites: true,
    outcomeOf: orderedOutcome,
    addGroups({ plan, add }) {
      for (const position of plan.candidates.keys()) add("order", -1, [position]);
    },
  },
};

/** Positions of the candidates that weigh something. */
function weighing({ weights }: Plan): number[] {
  return weights.flatMap((weight, position) => (weight > 0 ? [position] : []));
}

function orderedOutcome(plan: Plan, _overrides: readonly Override[], _geo: GeoTables, builder: ChainBuilder): number {
  builder.begin();
  for (const position of plan.candidates.keys()) if (builder.add([position], 1)) break;
  return builder.finish();
}

function geoOutcome(plan: Plan, written: readonly Override[], geo: GeoTables, builder: ChainBuilder): Outcome {
  if (plan.candidates.length === 1) return plan.candidates[0] ?? "nothing";
  const overrides = overridesOf(written, plan);
  const outcomes = geoOutcomesOf(plan, overrides, geo, builder);
  const v4 = sweep(overrides, 4, geo, outcomes);
  const v6 = sweep(overrides, 6, geo, outcomes);
  return v4.count === 1 && v6.count === 1 && v4.codes[0] === v6.codes[0] ? (v4.codes[0] ?? 0) : { v4, v6 };
}

function addGeoGroups({ plan, overrides: written, geo, client, isUsed, add }: ClientView): void {
  const overrides = overridesOf(written, plan);
  const networks = overrides.networks
    .filter(({ address, prefixLength }) => isInside(client, address, prefixLength))
    .toSorted((a, b) => b.prefixLength - a.prefixLength || a.index - b.index);
  for (const { index, members } of networks) add("cidr", index, members);
  const asn = geo.asns === undefined ? undefined : overrides.asns.get(valueAt(geo.asns, client));
  if (asn !== undefined) add("asn", asn.index, asn.members);
  const place = valueAt(geo.places, client);
  const country = overrides.countries.get(geo.countries[place] ?? 0);
  if (country !== undefined) add("country", country.index, country.members);
  const { x, y, z } = placeVector(geo, place);
  const rule = Number.isNaN(x) ? "order" : "distance";
  const ranking = rankingOf(plan);
  ranking.setPlace(x, y, z);
  const group = new Uint16Array(plan.candidates.length);
  for (let count = ranking.nextGroup(isUsed, group); count > 0; count = ranking.nextGroup(isUsed, group)) {
    add(rule, -1, [...group.subarray(0, count)]);
  }
}

function isInside(client: IpAddress, network: IpAddress, prefixLength: number): boolean {
  if (client.family !== network.family) return false;
  for (let bit = 0; bit < Math.min(prefixLength, 64); bit++) {
    if (bitAt(client, bit) !== bitAt(network, bit)) return false;
  }
  return true;
}
