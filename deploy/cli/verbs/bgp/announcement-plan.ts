/**
 * What one node announces, to whom and how, derived from the fleet document. All configuration texts in this folder are
 * made from it, and `nearcast bgp check` compares a machine with it. Pure.
 *
 *   fleet document + site, node ──announcementPlan()──▶ AnnouncementPlan ──▶ bird.conf of the node
 *                                                                        ├─▶ its router's configuration
 *                                                                        └─▶ addresses for lo, daisy chain
 */
import type { Fleet } from "#document/document.ts";
import type { Cloud } from "#document/schema/anycast.ts";
import type { Site, SiteNode } from "#document/schema/sites.ts";
import { isIP, isIPv4 } from "node:net";

export type Family = 4 | 6;

export const families: readonly Family[] = [4, 6];

export interface PlannedRouter {
  /** `router1` and so on, in the document's order: the protocol's name in BIRD. */
  readonly name: string;
  readonly address: string;
  readonly as: number;
  /** File on the node that BIRD includes; one line: `password "…";`. */
  readonly passwordFile: string | undefined;
  /** What is announced over this session; empty: nothing. */
  readonly families: readonly Family[];
}

export interface PlannedNode {
  readonly name: string;
  /** The node's own unicast addresses, if the document has them. */
  readonly addresses: Readonly<Record<Family, string | undefined>>;
}

export interface AnnouncementPlan {
  readonly as: number;
  readonly site: string;
  /** Undefined: the text is for every node of the site. */
  readonly node: string | undefined;
  /** Undefined: BIRD takes the lowest IPv4 address of the interfaces. */
  readonly routerId: string | undefined;
  /** Edge processes of the node, each with a session of its own. */
  readonly processes: number;
  /** Names of the clouds that the site announces. */
  readonly clouds: readonly string[];
  readonly prefixes: Readonly<Record<Family, readonly string[]>>;
  /** The service addresses within these prefixes, for lo. */
  readonly addresses: Readonly<Record<Family, readonly string[]>>;
  readonly routers: readonly PlannedRouter[];
  readonly holdSeconds: number;
  readonly bfd: { readonly intervalMs: number; readonly multiplier: number };
  /** All nodes of the site: the router has a session with each. */
  readonly nodes: readonly PlannedNode[];
}

export interface WantedPlan {
  readonly site: string;
  readonly node?: string | undefined;
  readonly processes?: number | undefined;
  readonly routerId?: string | undefined;
}

export type Planned =
  | { readonly ok: true; readonly plan: AnnouncementPlan }
  /** `hints`: what to do about it, one line each. */
  | { readonly ok: false; readonly reason: string; readonly hints: readonly string[] };

/** The plan of a node, or of every node of a site, or why there is none. */
export function announcementPlan(fleet: Fleet, wanted: WantedPlan): Planned {
  const site = fleet.sites.find(({ name }) => name === wanted.site);
  if (site === undefined) {
    return not(`there is no site "${wanted.site}"`, `sites: ${listOf(fleet.sites)}`);
  }
  const node = site.nodes.find(({ name }) => name === wanted.node);
  if (wanted.node !== undefined && node === undefined) {
    const other = fleet.sites.find(({ nodes }) => nodes.some(({ name }) => name === wanted.node));
    const where = other === undefined ? "" : `; it is in site ${other.name}`;
    return not(`site ${site.name} has no node "${wanted.node}"${where}`, `its nodes: ${listOf(site.nodes)}`);
  }
  const { as } = fleet.anycast;
  if (as === undefined) {
    return not(
      "the fleet document has no anycast.as",
      "set it to the AS number of your nodes: your own or a private one",
    );
  }
  const clouds = cloudsOf(fleet, site.name);
  if (clouds.length === 0) {
    const known = fleet.anycast.clouds.length === 0 ? "there are no clouds" : `clouds: ${listOf(fleet.anycast.clouds)}`;
    return not(`site ${site.name} is in no cloud`, `add it to anycast.clouds[].sites; ${known}`);
  }
  const { bgp } = site;
  if (bgp === undefined) {
    return not(
      `site ${site.name} has no bgp section`,
      "list the routers that its nodes peer with: bgp.routers, each with address and as",
    );
  }
  const prefixes = byFamily(clouds.flatMap((cloud) => cloud.prefixes));
  const nodes = site.nodes.map((one) => plannedNode(one, fleet, site));
  const own = nodes.find(({ name }) => name === wanted.node);
  const routerId = wanted.routerId ?? own?.addresses[4];
  if (own !== undefined && routerId === undefined) {
    return not(
      `BGP needs a router id, and the fleet document has no IPv4 address that only ${own.name} uses`,
      "set one: --router-id 192.0.2.10 (any value in this form that no other router of the site uses)",
    );
  }
  return {
    ok: true,
    plan: {
      as,
      site: site.name,
      node: wanted.node,
      routerId,
      processes: wanted.processes ?? 1,
      clouds: clouds.map(({ name }) => name),
      prefixes,
      addresses: byFamily(clouds.flatMap((cloud) => cloud.addresses)),
      routers: plannedRouters(bgp.routers, prefixes),
      holdSeconds: bgp.holdSeconds,
      bfd: bgp.bfd,
      nodes,
    },
  };
}

function not(reason: string, ...hints: string[]): Planned {
  return { ok: false, reason, hints };
}

function listOf(named: readonly { readonly name: string }[]): string {
  return named.length === 0 ? "none" : named.map(({ name }) => name).join(", ");
}

/** The clouds that a site announces. */
function cloudsOf(fleet: Fleet, site: string): Cloud[] {
  return fleet.anycast.clouds.filter(({ sites }) => sites.includes(site));
}

/** Addresses or prefixes by family, each once, in their order. */
function byFamily(texts: readonly string[]): Record<Family, string[]> {
  const once = [...new Set(texts)];
  const familyOf = (text: string): number => isIP(text.split("/", 1)[0] ?? "");
  return { 4: once.filter((text) => familyOf(text) === 4), 6: once.filter((text) => familyOf(text) === 6) };
}

/**
 * A session carries the prefixes of its own family. If all routers of the site have the same family, it carries both
 * (RFC 4760): many networks use one session for IPv4 and IPv6.
 */
function plannedRouters(
  routers: NonNullable<Site["bgp"]>["routers"],
  prefixes: AnnouncementPlan["prefixes"],
): PlannedRouter[] {
  const announced = families.filter((family) => prefixes[family].length > 0);
  const isMixed = new Set(routers.map(({ address }) => isIP(address))).size > 1;
  return routers.map(({ address, as, passwordFile }, index) => ({
    name: `router${index + 1}`,
    address,
    as,
    passwordFile,
    families: announced.filter((family) => !isMixed || family === isIP(address)),
  }));
}

/**
 * The node's unicast addresses: of the peer listener, of the base URL, its own service addresses; none that are shared.
 */
function plannedNode(node: SiteNode, fleet: Fleet, site: Site): PlannedNode {
  const shared = new Set([
    ...fleet.anycast.addresses,
    ...fleet.anycast.clouds.flatMap(({ addresses }) => addresses),
    ...(site.nodes.length > 1 ? site.addresses : []),
  ]);
  const host = new URL(node.http).hostname.replace(/^\[(.*)\]$/, "$1");
  const told = [...(node.peer === undefined ? [] : [node.peer.host]), host, ...node.addresses];
  const own = told.filter((address) => isIP(address) !== 0 && !shared.has(address) && !/^127\.|^::1$/.test(address));
  return {
    name: node.name,
    addresses: { 4: own.find((address) => isIPv4(address)), 6: own.find((address) => isIP(address) === 6) },
  };
}
