/**
 * The RRsets that steered names are answered with: the addresses of each site, and the anycast ones, per TTL that
 * occurs in the fleet document. Compiled once per document; health changes only change which one is taken.
 */
import type { Fleet } from "#fleet/document.ts";
import { addressBytes } from "../zone/rdata.ts";
import { buildRRset, type RRset } from "../zone/rrset.ts";
import { nameFromLabels } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import type { Family } from "../wire/address.ts";
import { byFamily, type SteerSite } from "./sites.ts";

type FamilySets = { readonly [family in Family]: RRset | undefined };

export interface SiteAnswers {
  /** The set of the site (by its index) or of the anycast addresses (undefined); undefined when there are none. */
  setOf: (site: SteerSite | undefined, ttlSeconds: number, family: Family) => RRset | undefined;
}

const root = nameFromLabels([]);

export function compileSiteAnswers(fleet: Fleet, sites: readonly SteerSite[]): SiteAnswers {
  const anycast = byFamily(fleet.anycast.addresses);
  const byTtl = new Map<number, { anycast: FamilySets; sites: readonly FamilySets[] }>();
  for (const { ttlSeconds } of fleet.steering) {
    if (byTtl.has(ttlSeconds)) continue;
    byTtl.set(ttlSeconds, {
      anycast: setsOf(anycast, ttlSeconds),
      sites: sites.map((site) => setsOf(site.addresses, ttlSeconds)),
    });
  }
  return {
    setOf(site, ttlSeconds, family) {
      const sets = byTtl.get(ttlSeconds);
      return (site === undefined ? sets?.anycast : sets?.sites[site.index])?.[family];
    },
  };
}

function setsOf(addresses: { readonly [family in Family]: readonly string[] }, ttlSeconds: number): FamilySets {
  return { 4: setOfAddresses(4, addresses[4], ttlSeconds), 6: setOfAddresses(6, addresses[6], ttlSeconds) };
}

function setOfAddresses(family: Family, addresses: readonly string[], ttlSeconds: number): RRset | undefined {
  const rdatas = addresses.flatMap((address) => {
    const bytes = addressBytes(address);
    return bytes === undefined ? [] : [[{ bytes }]];
  });
  if (rdatas.length === 0 || root === undefined) return undefined;
  return buildRRset(family === 4 ? recordTypes.A : recordTypes.AAAA, ttlSeconds, root, rdatas);
}
