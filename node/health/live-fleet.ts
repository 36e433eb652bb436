/**
 * The fleet as DNS may answer it now: each site with its live addresses; pure.
 *
 *   a site's addresses = those that all its nodes share + those of its nodes that are up
 *                        if there are none: those of nodes that drain or were not probed yet; else those of all
 *
 * An answer that may work beats none. Addresses are in the order of the document, each once.
 */
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import type { NodeHealth, NodeState } from "./health.ts";

/** Without shared addresses, and without nodes in any of these states, the answer has the addresses of all nodes. */
const preferred: readonly (readonly NodeState[])[] = [["up"], ["draining", "unknown"]];

/**
 * The same fleet with its current addresses; the same object if no node has an address of its own.
 * @param healthOf health by node name; an absent node was not probed yet
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
  const isIn = (states: readonly NodeState[], name: string): boolean =>
    states.includes(healthOf.get(name)?.state ?? "unknown");
  const choices = [...preferred.map((states) => site.nodes.filter(({ name }) => isIn(states, name))), site.nodes].map(
    (nodes) => nodes.flatMap(({ addresses }) => addresses),
  );
  const own = site.addresses.length > 0 ? choices[0] : choices.find((addresses) => addresses.length > 0);
  return [...new Set([...site.addresses, ...(own ?? [])])];
}

/** Whether both give each of their sites the same addresses; of fleets with the same sites. */
export function haveSameAddresses(one: Fleet, other: Fleet): boolean {
  return one.sites.every((site, index) => {
    const others = other.sites[index]?.addresses ?? [];
    return site.addresses.length === others.length && site.addresses.every((address, at) => address === others[at]);
  });
}
