/** The active overrides of a steered name: those with at least one candidate among their sites. Pure. */
import type { Override } from "#document/schema/steering.ts";
import { parsePrefix, type IpAddress } from "../wire/address.ts";
import type { Plan } from "./plan.ts";

export type OverrideKind = "cidr" | "asn" | "country";

/** An active override: at least one of its sites is a candidate. */
export interface PlanOverride {
  /** Index in the fleet document. */
  readonly index: number;
  /** Positions in Plan.candidates. */
  readonly members: readonly number[];
}

export interface PlanNetwork extends PlanOverride {
  readonly address: IpAddress;
  readonly prefixLength: number;
}

export interface PlanOverrides {
  readonly networks: readonly PlanNetwork[];
  readonly asns: ReadonlyMap<number, PlanOverride>;
  /** By country in the form of the geo tables: two letters in 16 bits. */
  readonly countries: ReadonlyMap<number, PlanOverride>;
}

/** The active overrides for these candidates. */
export function overridesOf(overrides: readonly Override[], { names, weights }: Plan): PlanOverrides {
  const positionOf = new Map(names.map((name, position) => [name, position]));
  const networks: PlanNetwork[] = [];
  const asns = new Map<number, PlanOverride>();
  const countries = new Map<number, PlanOverride>();
  for (const [index, { cidr, asn, country, site, sites }] of overrides.entries()) {
    const members: number[] = [];
    for (const name of sites ?? (site === undefined ? [] : [site])) {
      const position = positionOf.get(name);
      if (position === undefined || members.includes(position)) continue;
      if (sites === undefined || (weights[position] ?? 1) > 0) members.push(position);
    }
    if (members.length === 0) continue;
    members.sort((a, b) => a - b);
    const one: PlanOverride = { index, members };
    const network = cidr === undefined ? undefined : parsePrefix(cidr);
    if (network !== undefined) networks.push({ ...one, ...network });
    // The document's check rejects equal keys. If there were any, the first would count.
    if (asn !== undefined && !asns.has(asn)) asns.set(asn, one);
    if (country !== undefined && !countries.has(countryCode(country))) countries.set(countryCode(country), one);
  }
  return { networks, asns, countries };
}

/** @param country two ASCII letters */
function countryCode(country: string): number {
  return (country.charCodeAt(0) << 8) | country.charCodeAt(1);
}
