/**
 * Warns when `state: down` or `state: draining` has no effect, because DNS has nothing else to answer with; pure.
 *
 * The candidates for a steered name (dns/steer/candidates.ts) are the sites that are up; if none is, the draining ones;
 * if none is, all: an answer that may work beats none.
 *
 * So when an operator holds down every site of a name, DNS still sends clients to all of them. Sites without an address
 * are left out: DNS never answers with them. So are names with the policy `anycast`: no site is chosen for them.
 */
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import type { SteeredName } from "#document/schema/steering.ts";
import { policies } from "#document/policies.ts";
import type { SiteState } from "#health/health.ts";
import { type FleetWarning, namesText } from "./fleet-warning.ts";

/** A steered name, its path in the document, and the sites it can be answered with. */
interface Steered {
  readonly name: string;
  readonly path: string;
  readonly sites: readonly Site[];
}

/**
 * One warning per set of sites, since names with the same sites would repeat it.
 * @param fleet with its roster: nodes that joined have addresses, and may drain
 */
export function stateWarnings(fleet: Fleet): FleetWarning[] {
  const steered = fleet.steering.flatMap((one, index) => {
    const sites = sitesOf(fleet, one);
    const isForced = sites.length > 0 && sites.every((site) => forcedStateOf(site) !== undefined);
    return isForced ? [{ name: canonicalName(one.name), path: `steering[${index}].name`, sites }] : [];
  });
  const alike = Map.groupBy(steered, ({ sites }) => sites.map(({ name }) => name).join(" "));
  return [...alike.values()].map(warningOf);
}

function sitesOf(fleet: Fleet, { policy, sites }: SteeredName): Site[] {
  if (policies[policy].isShared === true) return [];
  return fleet.sites.filter((site) => (sites?.includes(site.name) ?? true) && hasAddress(site));
}

function hasAddress({ addresses, nodes }: Site): boolean {
  return addresses.length > 0 || nodes.some((node) => node.addresses.length > 0);
}

/** The state that keeps a site from being up whatever the probes say; undefined if probes decide, or `up` is forced. */
function forcedStateOf({ state, addresses, nodes }: Site): Exclude<SiteState, "up"> | undefined {
  if (state === "down" || state === "draining") return state;
  if (state === "up") return undefined;
  // Without shared addresses, clients reach only the nodes with their own (health.ts).
  const serving = addresses.length > 0 ? nodes : nodes.filter((node) => node.addresses.length > 0);
  return serving.length > 0 && serving.every((node) => node.state === "draining") ? "draining" : undefined;
}

function warningOf(steered: readonly Steered[]): FleetWarning {
  const [first = { name: "", path: "", sites: [] }] = steered;
  const { name, path, sites } = first;
  const draining = sites.filter((site) => forcedStateOf(site) === "draining");
  const names = namesText(steered.map((one) => one.name));
  const all = `every site for ${names} (${namesText(sites.map((site) => site.name))})`;
  if (draining.length === 0) {
    return {
      path,
      value: name,
      message: `${all} has \`state: down\`, which has no effect: when no site is up, DNS answers as if none were down`,
      advice:
        "set one of the sites to `state: auto`; " +
        "if the name should get no answer, remove it from steering and hosts",
    };
  }
  const drained = namesText(draining.map((site) => site.name));
  const those = draining.length === sites.length ? "is draining" : "is down or draining";
  return {
    path,
    value: name,
    message: `${all} ${those}, so draining has no effect: when no site is up, DNS sends new clients to ${drained}`,
    advice: "keep one of the sites up: `state: auto`, and a node that is not draining",
  };
}
