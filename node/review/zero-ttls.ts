/**
 * Warns of TTLs of 0: resolvers then cache nothing, and every lookup of their clients reaches the nameservers; pure.
 *
 *   one warning per zone for its TTL, its negative TTL and its records, and one per steered name
 */
import { canonicalName, ownerOf } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { Zone } from "#record/zone.ts";
import { type FleetWarning, namesText } from "./fleet-warning.ts";

const advice = "use 300 s for records and 60 s for names that do not exist; 10 s is enough to move clients quickly";

export function zeroTtlWarnings(fleet: Fleet): FleetWarning[] {
  return [
    ...fleet.zones.flatMap((zone, index) => warningsOfZone(zone, `zones[${index}]`)),
    ...fleet.steering.flatMap(({ name, ttlSeconds }, index) =>
      ttlSeconds === 0 ? [warningOf(`steering[${index}].ttlSeconds`, `ttlSeconds of ${canonicalName(name)}`)] : [],
    ),
  ];
}

function warningsOfZone(zone: Zone, path: string): FleetWarning[] {
  const apex = canonicalName(zone.name);
  // Values of a zone file have no path of their own in the document.
  const isFile = zone.soa !== undefined;
  const at = (key: string): string => (isFile ? path : `${path}.${key}`);
  const own = isFile ? `the SOA's TTL in the zone ${apex}` : `ttlSeconds of the zone ${apex}`;
  const negative = isFile ? `the SOA's minimum in the zone ${apex}` : `negativeTtlSeconds of the zone ${apex}`;
  const owners = zone.records.flatMap((one) => (one.ttlSeconds === 0 ? [ownerOf(one.name, apex)] : []));
  return [
    ...(zone.ttlSeconds === 0 ? [warningOf(at("ttlSeconds"), own)] : []),
    ...(zone.negativeTtlSeconds === 0 ? [warningOf(at("negativeTtlSeconds"), negative)] : []),
    ...(owners.length === 0 ? [] : [warningOf(at("records"), `the TTL of ${namesText([...new Set(owners)])}`)]),
  ];
}

function warningOf(path: string, what: string): FleetWarning {
  return {
    path,
    value: "0",
    message: `${what} is 0: resolvers cache no answer, so every lookup of their clients reaches the nameservers`,
    advice,
  };
}
