/**
 * The names of all zones of a document, with the types at each as bits, for the rules in zone-checks.ts. Built in one
 * pass over the records; the parts that few documents need are built on first use.
 *
 * Names are compared in the form of canonicalName().
 */
import { isIP } from "node:net";
import { canonicalName, isAtOrBelow, nameAbove, ownerOf } from "./domain-names.ts";
import { bitOfKind, bitOf, soaBit } from "./type-bits.ts";
import type { ReadZone } from "./written-zones.ts";

/** The longest chain of aliases that is followed, which also bounds loops. No zone needs more. */
export const aliasesMax = 12;

const aBit = bitOfKind("A");
const aaaaBit = bitOfKind("AAAA");
const nsBit = bitOfKind("NS");
const cnameBit = bitOfKind("CNAME");
const dnameBit = bitOfKind("DNAME");
const aliasBit = bitOfKind("ALIAS");

export interface ZoneNames {
  readonly read: ReadZone;
  readonly apex: string;
  /** Types at each owner, as bits. */
  readonly types: Map<string, number>;
  /** Owners of the zone's records, in the same order. */
  readonly owners: readonly string[];
  /** All types at all names. */
  all: number;
  /** Names that exist, with empty non-terminals; built on first use. */
  existing: Set<string> | undefined;
  /** Targets of CNAME, ALIAS and DNAME; built on first use. */
  targets: Map<string, string> | undefined;
}

/** The names of all zones. */
export interface NamesOfZones {
  readonly zones: readonly ZoneNames[];
  readonly byApex: ReadonlyMap<string, ZoneNames>;
  readonly steered: ReadonlySet<string>;
}

export function namesOfZones(read: readonly ReadZone[], steering: readonly { readonly name: string }[]): NamesOfZones {
  const zones = read.map(namesOfZone);
  const steered = new Set(steering.map((one) => canonicalName(one.name)));
  return { zones, byApex: new Map(zones.map((one) => [one.apex, one])), steered };
}

function namesOfZone(read: ReadZone): ZoneNames {
  const { zone } = read;
  const apex = canonicalName(zone.name);
  const types = new Map<string, number>([[apex, soaBit]]);
  const owners = read.owners ?? zone.records.map((record) => ownerOf(record.name, apex));
  let all = 0;
  const add = (owner: string, bit: number): void => {
    types.set(owner, (types.get(owner) ?? 0) | bit);
    all |= bit;
  };
  for (const server of zone.nameservers) {
    add(apex, nsBit);
    for (const address of server.addresses) add(ownerOf(server.name, apex), isIP(address) === 4 ? aBit : aaaaBit);
  }
  for (const [r, record] of zone.records.entries()) add(owners[r] ?? apex, bitOf(record));
  return { read, apex, types, owners, all, existing: undefined, targets: undefined };
}

/** The zone that answers for a name. Of nested zones it is the innermost (RFC 1034 §4.3.2). */
export function homeOf({ byApex }: NamesOfZones, name: string): ZoneNames | undefined {
  for (let above: string | undefined = name; above !== undefined; above = nameAbove(above)) {
    const zone = byApex.get(above);
    if (zone !== undefined) return zone;
  }
  return undefined;
}

export function typesAt(names: NamesOfZones, name: string): number {
  return homeOf(names, name)?.types.get(name) ?? 0;
}

/** The nearest ancestor of `name` in its zone that has one of these types: a zone cut or a DNAME. */
export function aboveWith(zone: ZoneNames, name: string, types: number): string | undefined {
  if ((zone.all & types) === 0) return undefined;
  for (let above = nameAbove(name); above !== undefined && above !== zone.apex; above = nameAbove(above)) {
    if (((zone.types.get(above) ?? 0) & types) !== 0) return above;
  }
  // The NS records of the apex are not a zone cut.
  const atApex = (zone.types.get(zone.apex) ?? 0) & types & ~nsBit;
  return atApex !== 0 && name !== zone.apex ? zone.apex : undefined;
}

/** Why an ALIAS to `start` has no addresses to answer with; undefined when it has some. */
export function whyNoAddresses(names: NamesOfZones, start: string): string | undefined {
  let name = start;
  for (let steps = 0; steps < aliasesMax; steps++) {
    const zone = homeOf(names, name);
    if (zone === undefined) return `leads to ${name}, which lies in none of these zones`;
    if (names.steered.has(name)) return undefined;
    const isCut = name !== zone.apex && ((zone.types.get(name) ?? 0) & nsBit) !== 0;
    if (isCut || aboveWith(zone, name, nsBit) !== undefined) {
      return `leads to ${name}, which is delegated to other nameservers`;
    }
    const renamed = aboveWith(zone, name, dnameBit);
    if (renamed !== undefined) {
      name = name.slice(0, -renamed.length) + (targetsOf(zone).get(renamed) ?? "");
      continue;
    }
    const owner = ownerFor(zone, name, names.steered);
    const types = zone.types.get(owner) ?? 0;
    if ((types & (aBit | aaaaBit)) !== 0) return undefined;
    const next = (types & (cnameBit | aliasBit)) === 0 ? undefined : targetsOf(zone).get(owner);
    if (next === undefined) return `leads to ${name}, which has no addresses`;
    name = next;
  }
  return `leads through a loop, or through more than ${aliasesMax} aliases`;
}

/** The owner whose records answer for `name`: `name` itself, or a wildcard (RFC 4592 §3.3). */
function ownerFor(zone: ZoneNames, name: string, steered: ReadonlySet<string>): string {
  if (zone.types.has(name)) return name;
  if (zone.existing === undefined) {
    const existing = new Set<string>();
    const add = (owner: string): void => {
      for (let one: string | undefined = owner; one !== undefined && !existing.has(one); one = nameAbove(one)) {
        existing.add(one);
        if (one === zone.apex) return;
      }
    };
    for (const owner of zone.types.keys()) add(owner);
    for (const owner of steered) if (isAtOrBelow(owner, zone.apex)) add(owner);
    zone.existing = existing;
  }
  if (zone.existing.has(name)) return name;
  let above = nameAbove(name);
  while (above !== undefined && !zone.existing.has(above)) above = nameAbove(above);
  return `*.${above ?? zone.apex}`;
}

function targetsOf(zone: ZoneNames): ReadonlyMap<string, string> {
  if (zone.targets === undefined) {
    zone.targets = new Map();
    for (const [r, one] of zone.read.zone.records.entries()) {
      if (one.type !== "CNAME" && one.type !== "ALIAS" && one.type !== "DNAME") continue;
      zone.targets.set(zone.owners[r] ?? zone.apex, ownerOf(one.target, zone.apex));
    }
  }
  return zone.targets;
}
