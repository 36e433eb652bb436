/** The sites of the fleet document as steering needs them: compiled once per document, in its order. */
import type { Fleet } from "#fleet/document.ts";
import { parseIp, type Family } from "../wire/address.ts";
import { unitVector, type UnitVector } from "./great-circle.ts";
import { hashSite } from "./rendezvous.ts";

export interface SteerSite {
  /** Its place in the fleet document. */
  readonly index: number;
  readonly name: string;
  readonly vector: UnitVector;
  readonly nameHash: number;
  readonly addresses: { readonly [family in Family]: readonly string[] };
}

export function compileSites(fleet: Fleet): readonly SteerSite[] {
  return fleet.sites.map((site, index) => ({
    index,
    name: site.name,
    vector: unitVector(site.place),
    nameHash: hashSite(site.name),
    addresses: byFamily(site.addresses),
  }));
}

export function byFamily(addresses: readonly string[]): { [family in Family]: readonly string[] } {
  return {
    4: addresses.filter((address) => parseIp(address)?.family === 4),
    6: addresses.filter((address) => parseIp(address)?.family === 6),
  };
}
