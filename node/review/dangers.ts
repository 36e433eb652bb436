/**
 * What a new fleet document would take away from clients at once; pure. The origin refuses such a document unless it is
 * forced (`--force`).
 *
 *   zone   it is served and would no longer be
 *   site   it has live nodes and would have none
 *   name   it has a live address and would have none
 *   host   it is served and would disappear or change its kind, so its URLs would fail
 *   word   a live node of another release does not understand it (not judged here: origin/channel/understanding.ts)
 *
 * A fleet without a live node serves no clients, so no document is a danger to it.
 */
import { canonicalName, isAtOrBelow } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import { answersOf, type IsLive, livesBehind } from "./dns-answers.ts";

export const dangerKinds = ["zone", "site", "name", "host", "word"] as const;

export interface FleetDanger {
  readonly kind: (typeof dangerKinds)[number];
  /** Name of the zone, the site, the domain name, the host or the node. */
  readonly name: string;
  /** A sentence for people. */
  readonly message: string;
}

/** How many addresses or nodes a message lists. */
const listedMax = 4;

/**
 * @param before the current fleet, with its roster
 * @param after the fleet of the new document, with the same roster
 */
export function dangersOf(before: Fleet, after: Fleet, isLive: IsLive): FleetDanger[] {
  if (!before.sites.some((site) => liveNodesOf(site, isLive).length > 0)) return [];
  const lostZones = zonesLost(before, after);
  return [
    ...lostZones.map((name): FleetDanger => {
      return { kind: "zone", name, message: `zone ${name} would no longer be answered` };
    }),
    ...sitesEmptied(before, after, isLive),
    ...namesLost(before, after, lostZones, isLive),
    ...hostsLost(before, after, lostZones),
  ];
}

/** Hosts inside a lost zone are part of that danger. */
function hostsLost(before: Fleet, after: Fleet, lostZones: readonly string[]): FleetDanger[] {
  const kindsAfter = new Map(after.hosts.map(({ name, kind }) => [canonicalName(name), kind]));
  return before.hosts.flatMap((host): FleetDanger[] => {
    const name = canonicalName(host.name);
    const kind = kindsAfter.get(name);
    if (kind === host.kind || lostZones.some((zone) => isAtOrBelow(name, zone))) return [];
    const fate =
      kind === undefined
        ? "would no longer be served: its URLs would get 421"
        : `would become a host of kind ${kind}: its URLs would fail`;
    return [{ kind: "host", name, message: `host ${name} (${host.kind}) ${fate}` }];
  });
}

function zonesLost(before: Fleet, after: Fleet): string[] {
  const kept = new Set(after.zones.map(({ name }) => canonicalName(name)));
  return before.zones.map(({ name }) => canonicalName(name)).filter((name) => !kept.has(name));
}

function sitesEmptied(before: Fleet, after: Fleet, isLive: IsLive): FleetDanger[] {
  const sitesAfter = new Map(after.sites.map((site) => [site.name, site]));
  return before.sites.flatMap((site): FleetDanger[] => {
    const serving = liveNodesOf(site, isLive);
    const then = sitesAfter.get(site.name);
    if (serving.length === 0 || (then !== undefined && liveNodesOf(then, isLive).length > 0)) return [];
    const serve = serving.length === 1 ? "serves" : "serve";
    const fate = then === undefined ? "would be removed" : "would be left without a live node";
    return [
      { kind: "site", name: site.name, message: `site ${site.name} ${fate}: ${listed(serving)} ${serve} there now` },
    ];
  });
}

function liveNodesOf({ nodes }: Site, isLive: IsLive): string[] {
  return nodes.map(({ name }) => name).filter((name) => isLive(name));
}

/** Names inside a lost zone are part of that danger. */
function namesLost(before: Fleet, after: Fleet, lostZones: readonly string[], isLive: IsLive): FleetDanger[] {
  const [livesBefore, livesAfter] = [livesBehind(before, isLive), livesBehind(after, isLive)];
  const [answersBefore, answersAfter] = [answersOf(before), answersOf(after)];
  // An address that never belonged to a node is unknown here and counts as live.
  const leadsSomewhere = (address: string): boolean => livesBefore.get(address) ?? true;
  const stillLeads = (address: string): boolean => livesAfter.get(address) ?? !livesBefore.has(address);
  const lost: FleetDanger[] = [];
  for (const name of answersBefore.names()) {
    if (lostZones.some((zone) => isAtOrBelow(name, zone))) continue;
    const live = [...answersBefore.addressesOf(name)].filter(leadsSomewhere);
    if (live.length === 0 || [...answersAfter.addressesOf(name)].some(stillLeads)) continue;
    const addresses = live.length === 1 ? "last live address" : "last live addresses";
    lost.push({ kind: "name", name, message: `${name} would lose its ${addresses}, ${listed(live)}` });
  }
  return lost;
}

function listed(words: readonly string[]): string {
  const more = words.length - listedMax;
  return words.slice(0, listedMax).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
