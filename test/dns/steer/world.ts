/** A small world: what a fleet, its sites and one client network are like. worlds.ts makes random ones. */
import type { Fleet } from "#document/document.ts";
import type { SiteState } from "#health/health.ts";
import type { GeoTables } from "../../../dns/geo/tables.ts";
import type { Family } from "../../../dns/wire/address.ts";

export interface WorldPlace {
  /** NaN where it is not known. */
  readonly latitude: number;
  readonly longitude: number;
  readonly country?: string | undefined;
}

export interface World {
  readonly fleet: Fleet;
  readonly self: string;
  readonly states: ReadonlyMap<string, SiteState>;
  readonly keptShares: ReadonlyMap<string, number>;
  readonly geo: GeoTables;
  placeAt: (family: Family, key: bigint) => WorldPlace;
  asnAt: (family: Family, key: bigint) => number;
  sitePlace: (at: number) => WorldPlace;
  /** Keys at which anything can change, in order, the first is 0. */
  edges: (family: Family) => readonly bigint[];
}
