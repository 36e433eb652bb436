/**
 * The lab's small internet, on paper: who there is, which cable joins whom, and every address. Pure.
 *
 *   paris ── t-par ──5── t-fra ───────80──────── t-sin ── singapore        t-…  transit, one AS each, delays in ms
 *               \         / │ \                   /                         r-…  the router of a site
 *                40     45  │  origin            35                         a site has two nodes
 *                  \    /   └ r-fra             /
 *                   t-nyc ──30── t-lax ──50── t-tyo
 *                     │            │            │
 *                   r-nyc      losangeles     r-tyo
 *
 * Two clouds of anycast addresses, announced from sets of sites that have no site in common: whichever site fails, and
 * however slowly the routes find out, resolvers everywhere still reach one nameserver. `a` (ns1) stands in Frankfurt
 * and New York, `b` (ns2) in Tokyo. The same nodes also answer DNS on addresses of their own (ns1 to ns6 of the other
 * zone): that is a fleet without BGP.
 *
 * The interface that leads from one namespace to another has the other's name.
 */

export type SiteName = "fra" | "nyc" | "tyo";
export type ClientName = "paris" | "losangeles" | "singapore";

export interface SitePlan {
  readonly name: SiteName;
  readonly router: string;
  readonly transit: string;
  readonly as: number;
  readonly place: { readonly latitude: number; readonly longitude: number; readonly city: string };
  /** Frankfurt has what is shipped, New York what a network that trusts its scheduler sets. */
  readonly bfd: { readonly intervalMs: number; readonly multiplier: number };
  readonly nodes: readonly NodePlan[];
}

export interface NodePlan {
  readonly name: string;
  readonly site: SiteName;
  readonly address4: string;
  readonly address6: string;
  /** Where the lab itself reaches its listener for administration: a network beside the internet. */
  readonly adminAddress: string;
}

export interface ClientPlan {
  readonly name: ClientName;
  readonly transit: string;
  readonly network4: string;
  readonly network6: string;
  readonly nearest: SiteName;
}

/** One end of a cable. */
export interface End {
  readonly namespace: string;
  readonly address4: string;
  readonly address6: string;
  /** Of the subnet: a point-to-point address has its neighbour's (`peer`) instead. */
  readonly length4: number;
  readonly length6: number;
}

export interface Cable {
  readonly a: End;
  readonly b: End;
  readonly delayMs: number;
  /** How often each side puts its AS before the path: an expensive cable. */
  readonly prepend: number;
  /** `access`: one router address on every cable of the site, a single address at the node's end. */
  readonly kind: "transit" | "uplink" | "access" | "client";
}

export interface CloudPlan {
  readonly name: string;
  readonly prefix4: string;
  readonly prefix6: string;
  readonly address4: string;
  readonly address6: string;
  readonly sites: readonly SiteName[];
}

export const fleetAs = 64_500;
export const dnsPort = 53;
export const httpPort = 80;
export const peerPort = 8082;
export const adminPort = 8081;
export const originPort = 7070;
/** Where each client has its resolvers. */
export const firstResolver = "127.0.0.1";
export const secondResolver = "127.0.0.2";

const transitNames = ["t-par", "t-fra", "t-nyc", "t-lax", "t-tyo", "t-sin"] as const;
export const transits: readonly { readonly name: string; readonly as: number }[] = transitNames.map((name, index) => ({
  name,
  as: 65_001 + index,
}));

const shippedBfd = { intervalMs: 300, multiplier: 3 } as const;
const quickBfd = { intervalMs: 100, multiplier: 3 } as const;

export const sites: readonly SitePlan[] = [
  site(1, "fra", shippedBfd, { latitude: 50.11, longitude: 8.68, city: "Frankfurt" }),
  site(2, "nyc", quickBfd, { latitude: 40.71, longitude: -74.01, city: "New York" }),
  site(3, "tyo", shippedBfd, { latitude: 35.68, longitude: 139.69, city: "Tokyo" }),
];

export const nodes: readonly NodePlan[] = sites.flatMap((each) => each.nodes);

export const clients: readonly ClientPlan[] = [
  client(1, "paris", "t-par", "fra"),
  client(2, "losangeles", "t-lax", "nyc"),
  client(3, "singapore", "t-sin", "tyo"),
];

export const clouds: readonly CloudPlan[] = [
  {
    name: "a",
    prefix4: "203.0.113.0/24",
    prefix6: "2001:db8:a::/48",
    address4: "203.0.113.53",
    address6: "2001:db8:a::53",
    sites: ["fra", "nyc"],
  },
  {
    name: "b",
    prefix4: "192.0.2.0/24",
    prefix6: "2001:db8:b::/48",
    address4: "192.0.2.53",
    address6: "2001:db8:b::53",
    sites: ["tyo"],
  },
];

/** The origin is a customer of Frankfurt's transit, reached over unicast as any server. */
export const origin = { name: "origin", transit: "t-fra", address: "10.2.9.2", adminAddress: "169.254.9.2" } as const;

const transitCables = [
  ["t-par", "t-fra", 5, 0],
  ["t-par", "t-nyc", 40, 1],
  ["t-fra", "t-nyc", 45, 1],
  ["t-nyc", "t-lax", 30, 0],
  ["t-lax", "t-tyo", 50, 1],
  ["t-tyo", "t-sin", 35, 0],
  ["t-fra", "t-sin", 80, 1],
] as const;

export const cables: readonly Cable[] = [
  ...transitCables.map(([a, b, delayMs, prepend], index) => cable(index + 1, a, b, "transit", delayMs, prepend)),
  ...sites.map(({ router, transit }, index) => cable(21 + index, router, transit, "uplink")),
  ...sites.flatMap((each) => each.nodes.map((node) => access(each, node))),
  ...clients.map(({ name, transit }, index) => leaf(index + 1, transit, name)),
  leaf(9, origin.transit, origin.name),
];

export const namespaces: readonly string[] = [
  ...transits.map(({ name }) => name),
  ...sites.map(({ router }) => router),
  ...nodes.map(({ name }) => name),
  ...clients.map(({ name }) => name),
  origin.name,
];

export const routers: readonly string[] = [...transits.map(({ name }) => name), ...sites.map(({ router }) => router)];

/** The clouds that a site announces. */
export function cloudsOf(siteName: SiteName): readonly CloudPlan[] {
  return clouds.filter((cloud) => cloud.sites.includes(siteName));
}

export function siteOf(name: SiteName): SitePlan {
  return found(sites, name);
}

export function clientOf(name: ClientName): ClientPlan {
  return found(clients, name);
}

export function nodeOf(name: string): NodePlan {
  return found(nodes, name);
}

export function cloudOf(name: string): CloudPlan {
  return found(clouds, name);
}

/** The router's addresses on each cable to a node of its site. */
export function accessRouter(siteNumber: number): { address4: string; address6: string } {
  return { address4: `10.1.${siteNumber}.254`, address6: `2001:db8:1:${siteNumber}::fe` };
}

/** What a site's router says it reaches beside the clouds. */
export function siteNetworks(siteNumber: number): { network4: string; network6: string } {
  return { network4: `10.1.${siteNumber}.0/24`, network6: `2001:db8:1:${siteNumber}::/64` };
}

export function siteNumberOf(name: SiteName): number {
  return 1 + sites.findIndex((each) => each.name === name);
}

function found<Named extends { readonly name: string }>(list: readonly Named[], name: string): Named {
  const one = list.find((each) => each.name === name);
  if (one === undefined) throw new Error(`the lab has no ${name}`);
  return one;
}

function site(number: number, name: SiteName, bfd: SitePlan["bfd"], place: SitePlan["place"]): SitePlan {
  return {
    name,
    router: `r-${name}`,
    transit: `t-${name}`,
    as: 65_100 + number,
    place,
    bfd,
    nodes: [1, 2].map((node) => ({
      name: `${name}${node}`,
      site: name,
      address4: `10.1.${number}.${node}`,
      address6: `2001:db8:1:${number}::${node}`,
      adminAddress: `169.254.${number}${node}.2`,
    })),
  };
}

function client(number: number, name: ClientName, transit: string, nearest: SiteName): ClientPlan {
  return { name, transit, nearest, network4: `10.2.${number}.0/24`, network6: `2001:db8:2:${number}::/64` };
}

function cable(number: number, a: string, b: string, kind: Cable["kind"], delayMs = 0, prepend = 0): Cable {
  const end = (namespace: string, last: number): End => ({
    namespace,
    address4: `10.0.${number}.${last}`,
    address6: `2001:db8:0:${number}::${last}`,
    length4: 30,
    length6: 64,
  });
  return { a: end(a, 1), b: end(b, 2), delayMs, prepend, kind };
}

function leaf(number: number, transit: string, name: string): Cable {
  const end = (namespace: string, last: number): End => ({
    namespace,
    address4: `10.2.${number}.${last}`,
    address6: `2001:db8:2:${number}::${last}`,
    length4: 24,
    length6: 64,
  });
  return { a: end(transit, 1), b: end(name, 2), delayMs: 0, prepend: 0, kind: "client" };
}

function access(at: SitePlan, node: NodePlan): Cable {
  const router = accessRouter(at.as - 65_100);
  const whole = { length4: 32, length6: 128 } as const;
  return {
    a: { namespace: node.name, address4: node.address4, address6: node.address6, ...whole },
    b: { namespace: at.router, ...router, ...whole },
    delayMs: 0,
    prepend: 0,
    kind: "access",
  };
}
