/**
 * The fleet as DNS may answer it now: each site with the addresses behind which somebody is; pure.
 *
 *   a site's addresses = those that all its nodes share + those of its nodes that are up
 *                        without any that is up: of those that drain or were not probed yet; without these: of all
 *
 * An answer that may work beats none. The order is that of the document, and no address is there twice.
 */
import type { Fleet, Site } from "./document.ts";
import type { NodeHealth, NodeState } from "./health.ts";

/** Nodes in the first of these states that any node with addresses is in; then all. */
const preferred: readonly (readonly NodeState[])[] = [["up"], ["draining", "unknown"]];

/**
 * The same fleet with the addresses of now; itself when no node has any of its own.
 * @param healthOf health by node name; a node that is not named was not probed yet
 */
export function liveFleet(fleet: Fleet, healthOf: ReadonlyMap<string, NodeHealth>): Fleet {
  if (!fleet.sites.some(hasNodeAddresses)) return fleet;
  const sites = fleet.sites.map((site) =>
    hasNodeAddresses(site) ? { ...site, addresses: addressesOf(site, healthOf) } : site,
  );
  return Object.freeze({ ...fleet, sites });
}

function hasNodeAddresses({ nodes }: Site): boolean {
  return nodes.some(({ addresses }) => addresses.length > 0);
}

function addressesOf(site: Site, healthOf: ReadonlyMap<string, NodeHealth>): string[] {
  const withOwn = site.nodes.filter(({ addresses }) => addresses.length > 0);
  const those = preferred
    .map((states) => withOwn.filter(({ name }) => states.includes(healthOf.get(name)?.state ?? "unknown")))
    .find((nodes) => nodes.length > 0);
  return [...new Set([...site.addresses, ...(those ?? withOwn).flatMap(({ addresses }) => addresses)])];
}

/** Whether both give each of their sites the same addresses; of fleets with the same sites. */
export function haveSameAddresses(one: Fleet, other: Fleet): boolean {
  return one.sites.every((site, index) => {
    const others = other.sites[index]?.addresses ?? [];
    return site.addresses.length === others.length && site.addresses.every((address, at) => address === others[at]);
  });
}
