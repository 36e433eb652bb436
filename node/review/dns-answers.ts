/**
 * Which addresses DNS can give for each name of a fleet, and which of them lead to a live node; pure.
 *
 *   steered name     the addresses of its sites, or the anycast addresses
 *   A, AAAA, glue    as written
 *   CNAME, ALIAS     those of the target; a target outside our zones counts as live
 *
 * Probes don't matter here: this is about what a document makes possible, not about the answer of this second.
 * dangers.ts and diff.ts compare two fleets with it; warnings.ts checks one.
 */
import { aliasesMax } from "#record/zone-names.ts";
import { addressOfUrl, canonicalAddress } from "#base/ip-text.ts";
import { canonicalName, isAtOrBelow, nameAbove, ownerOf } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import type { SteeredName } from "#document/schema/steering.ts";
import { policies } from "#document/policies.ts";

/** Whether the node of this name serves now, as far as the caller knows. */
export type IsLive = (node: string) => boolean;

/** The records at one name: addresses, and targets that have more. */
interface Owned {
  readonly addresses: Set<string>;
  readonly targets: Set<string>;
}

export interface Answers {
  /** Every name that has an address or an alias, in the order of the document. */
  readonly names: () => IterableIterator<string>;
  /** The innermost zone that contains a name; undefined when none of ours does. */
  readonly zoneOf: (name: string) => string | undefined;
  /** Canonical addresses. A target that other servers answer for is listed by its name. */
  readonly addressesOf: (name: string) => ReadonlySet<string>;
}

/** @param fleet with its roster, where nodes that joined count */
export function answersOf(fleet: Fleet): Answers {
  const apexes = new Set(fleet.zones.map(({ name }) => canonicalName(name)));
  const zoneOf = (name: string): string | undefined => firstAtOrAbove(name, (above) => apexes.has(above));
  const owned = new Map<string, Owned>();
  const cuts = new Set<string>();
  const at = (name: string): Owned => {
    const there = owned.get(name) ?? { addresses: new Set(), targets: new Set() };
    owned.set(name, there);
    return there;
  };
  for (const steered of fleet.steering) {
    const there = at(canonicalName(steered.name));
    for (const address of addressesOfSteered(steered, fleet)) there.addresses.add(address);
  }
  for (const zone of fleet.zones) {
    const apex = canonicalName(zone.name);
    // Records of a name inside a nested zone are never served: the nested zone answers for it.
    const isOurs = (owner: string): boolean => zoneOf(owner) === apex;
    for (const { name, addresses } of zone.nameservers) {
      const owner = ownerOf(name, apex);
      if (addresses.length === 0 || !isOurs(owner)) continue;
      for (const address of addresses) at(owner).addresses.add(canonicalAddress(address));
    }
    for (const record of zone.records) {
      const owner = ownerOf(record.name, apex);
      if (!isOurs(owner)) continue;
      if (record.type === "A" || record.type === "AAAA") at(owner).addresses.add(canonicalAddress(record.address));
      else if (record.type === "CNAME" || record.type === "ALIAS") at(owner).targets.add(ownerOf(record.target, apex));
      else if (record.type === "DNAME") at(`*.${owner}`).addresses.add(ownerOf(record.target, apex));
      else if (record.type === "NS" && owner !== apex) cuts.add(owner);
    }
  }
  const isElsewhere = (name: string, zone: string | undefined): boolean =>
    zone === undefined ||
    (cuts.size > 0 && firstAtOrAbove(name, (above) => above === zone || cuts.has(above)) !== zone);

  const collect = (name: string, found: Set<string>, stepsLeft: number): void => {
    const zone = zoneOf(name);
    const there = owned.get(name) ?? (zone === undefined ? undefined : wildcardOf(name, zone, owned));
    if (there === undefined) {
      if (isElsewhere(name, zone)) found.add(name);
      return;
    }
    for (const address of there.addresses) found.add(address);
    if (stepsLeft > 0) for (const target of there.targets) collect(target, found, stepsLeft - 1);
  };
  return {
    names: () => owned.keys(),
    zoneOf,
    addressesOf(name) {
      const found = new Set<string>();
      collect(name, found, aliasesMax);
      return found;
    },
  };
}

/** RFC 4592 §3.3: the nearest wildcard above the name, within its zone. */
function wildcardOf(name: string, zone: string, owned: ReadonlyMap<string, Owned>): Owned | undefined {
  for (let above = nameAbove(name); above !== undefined && isAtOrBelow(above, zone); above = nameAbove(above)) {
    const there = owned.get(`*.${above}`);
    if (there !== undefined) return there;
  }
  return undefined;
}

function firstAtOrAbove(name: string, isWanted: (name: string) => boolean): string | undefined {
  for (let above: string | undefined = name; above !== undefined; above = nameAbove(above)) {
    if (isWanted(above)) return above;
  }
  return undefined;
}

function addressesOfSteered({ policy, sites, weights }: SteeredName, fleet: Fleet): string[] {
  if (policies[policy].isShared === true) return fleet.anycast.addresses.map(canonicalAddress);
  const allowed = fleet.sites.filter(
    ({ name }) => (sites?.includes(name) ?? true) && !(policies[policy].isWeighing === true && weights?.[name] === 0),
  );
  // DNS names a site with `state: down` only when all sites have it.
  const open = allowed.filter(({ state }) => state !== "down");
  return (open.length === 0 ? allowed : open).flatMap(addressesOfSite);
}

/** Service addresses: the site's shared ones, and each node's own. */
function addressesOfSite({ addresses, nodes }: Site): string[] {
  return [...addresses, ...nodes.flatMap((node) => node.addresses)].map(canonicalAddress);
}

/**
 * Every address of a node, a site or a cloud of the fleet, and whether a live node has it. An address that is absent
 * does not belong to this fleet.
 */
export function livesBehind(fleet: Fleet, isLive: IsLive): ReadonlyMap<string, boolean> {
  const lives = new Map<string, boolean>();
  const add = (address: string, isInhabited: boolean): void => {
    const canonical = canonicalAddress(address);
    lives.set(canonical, (lives.get(canonical) ?? false) || isInhabited);
  };
  const liveSites = new Set(
    fleet.sites.filter(({ nodes }) => nodes.some(({ name }) => isLive(name))).map(({ name }) => name),
  );
  for (const site of fleet.sites) {
    // The shared addresses of a site without nodes may belong to a load balancer that the fleet does not know.
    for (const address of site.addresses) add(address, liveSites.has(site.name) || site.nodes.length === 0);
    for (const node of site.nodes) {
      // DNS also answers at the address of the node's HTTP or peer listener.
      const own = [...node.addresses, addressOfUrl(node.http), node.peer?.host];
      for (const address of own) if (address !== undefined) add(address, isLive(node.name));
    }
  }
  const inClouds = new Set(fleet.anycast.clouds.flatMap(({ addresses }) => addresses.map(canonicalAddress)));
  for (const { addresses, sites } of fleet.anycast.clouds) {
    for (const address of addresses)
      add(
        address,
        sites.some((site) => liveSites.has(site)),
      );
  }
  for (const address of fleet.anycast.addresses) {
    // An address outside our clouds is announced by something else, which the fleet does not know.
    if (!inClouds.has(canonicalAddress(address))) add(address, liveSites.size > 0);
  }
  return lives;
}
