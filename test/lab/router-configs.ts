/**
 * bird.conf of everybody, as text. Pure.
 *
 * Nodes get what `nearcast bgp config` writes, and the routers of sites what `nearcast bgp config --router bird` writes
 * for them; what stands here is the rest of the internet: transit networks with one eBGP session per cable that carries
 * both families, a longer path over expensive cables, and RFC 8326 (a route that its owner is about to withdraw is the
 * last choice).
 *
 * Not as out there: no route-advertisement delays (MRAI), no flap damping, tables of ten routes. So what the lab
 * measures is detection and withdrawal; how long the internet then takes to agree is not in it.
 */
import type { Fleet } from "#document/document.ts";
import { nodeConfig } from "../../deploy/cli/verbs/bgp/node-config.ts";
import { type AnnouncementPlan, announcementPlan } from "../../deploy/cli/verbs/bgp/announcement-plan.ts";
import { routerConfig } from "../../deploy/cli/verbs/bgp/router-config.ts";
import { type Cable, cables, type End, routers, siteNetworks, siteNumberOf, sites, transits } from "./plan.ts";

/**
 * @param passwordFile holds the key of the edge's session
 * @throws Error when the document has no such announcement
 */
export function nodeBird(fleet: Fleet, site: string, node: string, passwordFile: string): string {
  return nodeConfig(planned(fleet, site, node), { passwordFile });
}

export function routerBird(fleet: Fleet, router: string): string {
  const site = sites.find((each) => each.router === router);
  return [
    "log stderr all;",
    "debug protocols { states };",
    `router id 10.255.0.${1 + routers.indexOf(router)};`,
    "protocol device { scan time 10; }",
    "protocol kernel { merge paths yes; ipv4 { import none; export all; }; }",
    "protocol kernel { merge paths yes; ipv6 { import none; export all; }; }",
    "filter from_neighbour {",
    "  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;",
    "  accept;",
    "}",
    ...leafLines(router),
    ...cables.flatMap((cable) => neighbourLines(router, cable)),
    ...(site === undefined
      ? []
      : [...siteLines(siteNumberOf(site.name)), routerConfig(planned(fleet, site.name), "bird")]),
    "",
  ].join("\n");
}

function planned(fleet: Fleet, site: string, node?: string): AnnouncementPlan {
  const found = announcementPlan(fleet, { site, node });
  if (!found.ok) throw new Error(found.reason);
  return found.plan;
}

/** What a transit network reaches directly: its customers without BGP. */
function leafLines(router: string): string[] {
  const leaves = cables.filter(({ kind, a }) => kind === "client" && a.namespace === router);
  if (leaves.length === 0) return [];
  return [`protocol direct { ipv4; ipv6; interface ${leaves.map(({ b }) => `"${b.namespace}"`).join(", ")}; }`];
}

/** What a site's router says of itself; single addresses within it are on its cables. */
function siteLines(number: number): string[] {
  const { network4, network6 } = siteNetworks(number);
  return [
    `protocol static { ipv4; route ${network4} blackhole; }`,
    `protocol static { ipv6; route ${network6} blackhole; }`,
  ];
}

function neighbourLines(router: string, { a, b, kind, prepend }: Cable): string[] {
  if (kind !== "transit" && kind !== "uplink") return [];
  if (a.namespace === router) return session(a, b, prepend);
  return b.namespace === router ? session(b, a, prepend) : [];
}

function session(own: End, other: End, prepend: number): string[] {
  const as = asOf(own.namespace);
  const exported =
    prepend === 0 ? "export all" : `export filter { ${`bgp_path.prepend(${as}); `.repeat(prepend)}accept; }`;
  return [
    `protocol bgp ${birdName(other.namespace)} {`,
    `  local ${own.address4} as ${as};`,
    `  neighbor ${other.address4} as ${asOf(other.namespace)};`,
    "  hold time 9; keepalive time 3; connect delay time 1; connect retry time 2; error wait time 1, 2;",
    `  ipv4 { import filter from_neighbour; ${exported}; };`,
    `  ipv6 { import filter from_neighbour; ${exported}; next hop address ${own.address6}; };`,
    "}",
  ];
}

function asOf(router: string): number {
  const as = transits.find(({ name }) => name === router)?.as ?? sites.find((each) => each.router === router)?.as;
  if (as === undefined) throw new Error(`${router} is no router`);
  return as;
}

/** A hyphen is an operator in BIRD. */
function birdName(namespace: string): string {
  return namespace.replaceAll("-", "_");
}
