/** The delegation that a zone of the fleet document needs at its parent; pure. */
import { canonicalName, ownerOf } from "#record/domain-names.ts";
import type { Zone } from "#record/zone.ts";
import { isIPv6 } from "node:net";

export interface Nameserver {
  /** A fully qualified name in lower case, without the final dot. */
  readonly name: string;
  /** Glue for a name inside the zone; empty for others, whose addresses are in their own zone. */
  readonly addresses: readonly string[];
  readonly isInside: boolean;
}

export interface Delegation {
  readonly zone: string;
  readonly nameservers: readonly Nameserver[];
}

/** Reads `nameservers` of the zone and its NS, A and AAAA records: a zone from a file has only the records. */
export function delegationOf(zone: Zone): Delegation {
  const apex = canonicalName(zone.name);
  const addresses = new Map<string, Set<string>>();
  const of = (server: string): Set<string> => {
    const known = addresses.get(server) ?? new Set<string>();
    addresses.set(server, known);
    return known;
  };
  for (const { name, addresses: glue } of zone.nameservers) {
    for (const address of glue) of(ownerOf(name, apex)).add(address);
    of(ownerOf(name, apex));
  }
  for (const record of zone.records) {
    if (record.type === "NS" && ownerOf(record.name, apex) === apex) of(ownerOf(record.target, apex));
  }
  for (const record of zone.records) {
    if (record.type !== "A" && record.type !== "AAAA") continue;
    addresses.get(ownerOf(record.name, apex))?.add(record.address);
  }
  const nameservers = [...addresses].map(([name, all]) => {
    const isInside = isBelow(name, apex);
    return { name, isInside, addresses: isInside ? [...all] : [] };
  });
  return { zone: apex, nameservers };
}

/** The records to enter at the parent, in zone file format. */
export function recordLines({ zone, nameservers }: Delegation): string[] {
  const rows = [
    ...nameservers.map(({ name }) => [`${zone}.`, "NS", `${name}.`] as const),
    ...nameservers.flatMap(({ name, addresses }) =>
      addresses.map((address) => [`${name}.`, isIPv6(address) ? "AAAA" : "A", address] as const),
    ),
  ];
  const width = Math.max(...rows.map(([owner]) => owner.length));
  return rows.map(([owner, type, value]) => `${owner.padEnd(width)}  ${type.padEnd(4)}  ${value}`);
}

function isBelow(name: string, apex: string): boolean {
  return name === apex || name.endsWith(`.${apex}`);
}
