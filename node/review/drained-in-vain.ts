/** The names that DNS still answers with a drained node, because nothing else is up for them; pure. */
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { policies } from "#document/policies.ts";
import { type NodeHealth, siteStates, unknownHealth } from "#health/health.ts";
import type { IsLive } from "./dns-answers.ts";

/**
 * The candidates for a steered name are those of dns/steer/candidates.ts: the sites that are up; if none is, the
 * draining ones; if none is, all. A drained node is answered when its site is a candidate and not up. Names with the
 * policy `anycast` are left out, since no site is chosen for them.
 * @param fleet with its roster, in which the node drains
 * @param isLive if it is false for all nodes, their state is unknown, and all count as live
 */
export function namesDrainedInVain(fleet: Fleet, node: string, isLive: IsLive): string[] {
  const nodes = fleet.sites.flatMap((site) => site.nodes);
  const isAnyLive = nodes.some(({ name }) => isLive(name));
  const healthOf = new Map(
    nodes.map(({ name, state }): [string, NodeHealth] => {
      if (isAnyLive && !isLive(name)) return [name, { ...unknownHealth, state: "down" }];
      return [name, { ...unknownHealth, state: state === "draining" ? "draining" : "up" }];
    }),
  );
  const states = siteStates(fleet, healthOf);
  const own = fleet.sites.find((site) => site.nodes.some(({ name }) => name === node));
  const hasAddress = own?.nodes.some(({ name, addresses }) => name === node && addresses.length > 0) === true;
  if (own === undefined || (own.addresses.length === 0 && !hasAddress)) return [];
  return fleet.steering.flatMap(({ name, policy, sites }) => {
    if (policies[policy].isShared === true || sites?.includes(own.name) === false) return [];
    const allowed = fleet.sites.filter((site) => sites?.includes(site.name) ?? true);
    const has = (state: string): boolean => allowed.some((site) => states.get(site.name) === state);
    if (has("up") || (has("draining") && states.get(own.name) !== "draining")) return [];
    return [canonicalName(name)];
  });
}
