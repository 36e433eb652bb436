/** `geo`: first the overrides (the longest CIDR, shorter ones, the AS number, the country), then distance. */
import type { Override } from "#document/schema/steering.ts";
import { type GeoTables, valueAt } from "../../geo/tables.ts";
import { bitAt, type IpAddress } from "../../wire/address.ts";
import type { ChainBuilder } from "../chains.ts";
import { geoOutcomesOf } from "../geo-outcomes.ts";
import { overridesOf } from "../overrides.ts";
import { placeVector } from "../place-vectors.ts";
import type { Plan } from "../plan.ts";
import type { ClientView, Outcome, Policy } from "../policy.ts";
import { rankingOf } from "../ranking.ts";
import { sweep } from "../sweep.ts";

export const geo: Policy = { outcomeOf: geoOutcome, addGroups: addGeoGroups };

function geoOutcome(plan: Plan, written: readonly Override[], tables: GeoTables, builder: ChainBuilder): Outcome {
  if (plan.candidates.length === 1) return plan.candidates[0] ?? "nothing";
  const overrides = overridesOf(written, plan);
  const outcomes = geoOutcomesOf(plan, overrides, tables, builder);
  const v4 = sweep(overrides, 4, tables, outcomes);
  const v6 = sweep(overrides, 6, tables, outcomes);
  return v4.count === 1 && v6.count === 1 && v4.codes[0] === v6.codes[0] ? (v4.codes[0] ?? 0) : { v4, v6 };
}

function addGeoGroups({ plan, overrides: written, geo: tables, client, isUsed, add }: ClientView): void {
  const overrides = overridesOf(written, plan);
  const networks = overrides.networks
    .filter(({ address, prefixLength }) => isInside(client, address, prefixLength))
    .toSorted((a, b) => b.prefixLength - a.prefixLength || a.index - b.index);
  for (const { index, members } of networks) add("cidr", index, members);
  const asn = tables.asns === undefined ? undefined : overrides.asns.get(valueAt(tables.asns, client));
  if (asn !== undefined) add("asn", asn.index, asn.members);
  const place = valueAt(tables.places, client);
  const country = overrides.countries.get(tables.countries[place] ?? 0);
  if (country !== undefined) add("country", country.index, country.members);
  const { x, y, z } = placeVector(tables, place);
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
