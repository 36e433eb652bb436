/**
 * The groups that one client is steered by, the first to count first, each with the rule that put it there: what the
 * compiled tables hold for all clients at once, for people and one client. It takes the same steps as compiling does
 * (plan.ts, ranking.ts), but goes on where a chain ends (chains.ts): it also tells who would come next.
 */
import type { SteeredName } from "#document/document.ts";
import { valueAt, type GeoTables } from "../geo/tables.ts";
import { bitAt, type IpAddress } from "../wire/address.ts";
import { placeVector } from "./place-vectors.ts";
import { overridesOf, type OverrideKind, type Plan } from "./plan.ts";
import { rankingOf } from "./ranking.ts";

/** Why a group stands where it does. `order`: by the document's, where the client's place is not known. */
export type Rule = OverrideKind | "distance" | "order" | "weight" | "self";

export interface Preference {
  readonly rule: Rule;
  /** Index of the override, or -1. */
  readonly overrideIndex: number;
  /** Indices in fleet.sites. */
  readonly sites: readonly number[];
}

/** @param self name of the answering site, which names the rule of `local` */
export function preferencesOf(
  plan: Plan,
  steered: SteeredName,
  geo: GeoTables,
  self: string,
  client: IpAddress,
): Preference[] {
  const { candidates } = plan;
  const isUsed = new Uint8Array(candidates.length);
  const preferences: Preference[] = [];

  function add(rule: Rule, overrideIndex: number, members: readonly number[]): void {
    const left = members.filter((position) => isUsed[position] === 0);
    if (left.length === 0) return;
    for (const position of left) isUsed[position] = 1;
    preferences.push({ rule, overrideIndex, sites: left.map((position) => candidates[position] ?? 0) });
  }

  switch (plan.policy) {
    case "anycast":
      break;
    case "weighted":
      add(
        "weight",
        -1,
        plan.weights.flatMap((weight, position) => (weight > 0 ? [position] : [])),
      );
      break;
    case "fixed":
    case "local":
      for (const position of candidates.keys()) add(orderRule(plan, self, position), -1, [position]);
      break;
    case "geo":
      addGeo();
  }
  return preferences;

  function addGeo(): void {
    const overrides = overridesOf(steered.overrides, plan);
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
    const group = new Uint16Array(candidates.length);
    for (let count = ranking.nextGroup(isUsed, group); count > 0; count = ranking.nextGroup(isUsed, group)) {
      add(rule, -1, [...group.subarray(0, count)]);
    }
  }
}

function orderRule(plan: Plan, self: string, position: number): Rule {
  if (plan.policy === "fixed" || !plan.isSelfKnown) return "order";
  return plan.names[position] === self ? "self" : "distance";
}

function isInside(client: IpAddress, network: IpAddress, prefixLength: number): boolean {
  if (client.family !== network.family) return false;
  for (let bit = 0; bit < Math.min(prefixLength, 64); bit++) {
    if (bitAt(client, bit) !== bitAt(network, bit)) return false;
  }
  return true;
}
