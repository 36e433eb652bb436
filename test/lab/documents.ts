/**
 * What the lab's CDN is told: the fleet document, and the settings of origin, edges and resolvers. Pure.
 *
 * Two zones for one fleet. `cdn.lab` is a fleet with BGP: its nameservers are the two clouds. `uni.lab` is one without:
 * its nameservers are the nodes' own addresses, and nothing about it depends on what BIRD announces for them. Below
 * `look` in both every name has an address, so that a resolver can be asked for one that it can't have in its cache.
 *
 * No geo database: the lab's clients stand in networks that no database knows, so the document says who is nearest.
 */
import { join } from "node:path";
import { stringify } from "yaml";
import {
  accessRouter,
  adminPort,
  clients,
  clouds,
  cloudsOf,
  dnsPort,
  firstResolver,
  fleetAs,
  httpPort,
  type NodePlan,
  nodes,
  origin,
  originPort,
  peerPort,
  secondResolver,
  siteNumberOf,
  sites,
} from "./plan.ts";
import { labDirectory } from "./space.ts";

export const anycastZone = "cdn.lab";
export const unicastZone = "uni.lab";
export const anycastHost = `img.${anycastZone}`;
export const unicastHost = `img.${unicastZone}`;
export const picture = "chair.png";
export const picturePath = `/${picture}?w=64&fm=webp`;

/** Short, so that drills in which resolvers keep an old answer are over soon; as shipped it is 30. */
export const ttlSeconds = 2;
/** How long a node that is told to stop says `draining`: longer than resolvers keep its addresses. */
const drainMs = 1000 * (ttlSeconds + 2);
const shutdownMs = 2000;

/** Of the sessions between edges and BIRD, the same on all nodes. */
export const leaseKeyFile = join(labDirectory, "lease.key");
const originDirectory = join(labDirectory, "origin");
export const tokenFile = (kind: "edge" | "writer"): string => join(originDirectory, "secrets", `${kind}.token`);

export function fleetDocument(): string {
  const steered = {
    policy: "geo",
    ttlSeconds,
    overrides: clients.flatMap(({ network4, network6, nearest }) => [
      { cidr: network4, site: nearest },
      { cidr: network6, site: nearest },
    ]),
  };
  const look = { name: "*.look", type: "A", address: "198.51.100.1" };
  return stringify({
    zones: [
      {
        name: anycastZone,
        nameservers: clouds.map(({ address4, address6 }, index) => ({
          name: `ns${index + 1}`,
          addresses: [address4, address6],
        })),
        records: [look],
      },
      {
        name: unicastZone,
        nameservers: nodes.map(({ address4, address6 }, index) => ({
          name: `ns${index + 1}`,
          addresses: [address4, address6],
        })),
        records: [look],
      },
    ],
    sites: sites.map((site) => {
      const router = accessRouter(siteNumberOf(site.name));
      return {
        name: site.name,
        place: site.place,
        bgp: {
          routers: [
            { address: router.address4, as: site.as },
            { address: router.address6, as: site.as },
          ],
          bfd: site.bfd,
        },
        nodes: site.nodes.map(({ name, address4, address6 }) => ({
          name,
          http: `http://${address4}`,
          peer: { host: address4, port: peerPort },
          addresses: [address4, address6],
        })),
      };
    }),
    anycast: {
      as: fleetAs,
      clouds: clouds.map(({ name, prefix4, prefix6, address4, address6, sites: announcing }) => ({
        name,
        prefixes: [prefix4, prefix6],
        addresses: [address4, address6],
        sites: announcing,
      })),
    },
    hosts: [anycastHost, unicastHost].map((name) => ({ name, kind: "images" })),
    steering: [anycastHost, unicastHost].map((name) => ({ name, ...steered })),
  });
}

export function originConfig(): string {
  return stringify({ listen: { host: "0.0.0.0", port: originPort }, dataDir: originDirectory });
}

export function edgeConfig(node: NodePlan): string {
  const own = [node.address4, node.address6];
  const anycast = cloudsOf(node.site).flatMap(({ address4, address6 }) => [address4, address6]);
  const at = (port: number): object[] => [...own, ...anycast].map((host) => ({ host, port }));
  return stringify({
    node: node.name,
    site: node.site,
    dataDir: join(labDirectory, node.name),
    origin: { url: `http://${origin.address}:${originPort}`, tokenFile: tokenFile("edge") },
    http: at(httpPort),
    admin: { host: node.adminAddress, port: adminPort },
    dns: {
      addresses: at(dnsPort),
      geoFiles: [],
      threads: 1,
      // A drill asks more than a thousand times a second from one network, which is what the limit is there for.
      responsesPerSecond: 0,
    },
    peer: { host: node.address4, port: peerPort },
    announce: { nextHops: own, keyFile: leaseKeyFile, checkHost: anycastHost, checkPath: picturePath, shutdownMs },
    cache: { memoryBytes: 32 * 1024 * 1024, diskBytes: 64 * 1024 * 1024 },
    assets: { privateNetworks: ["127.0.0.0/8"] },
    decoders: { processes: 1 },
    drainMs,
  });
}

const nameserverAddresses: readonly (readonly [zone: string, addresses: readonly string[]])[] = [
  [anycastZone, clouds.flatMap(({ address4, address6 }) => [address4, address6])],
  [unicastZone, nodes.flatMap(({ address4, address6 }) => [address4, address6])],
];

/** Asks the nameservers of both zones, as if the zone above had named them. */
export function unboundConfig(): string {
  const stub = (zone: string, addresses: readonly string[]): string[] => [
    "stub-zone:",
    `  name: "${zone}."`,
    ...addresses.map((address) => `  stub-addr: ${address}`),
  ];
  return [
    "server:",
    `  interface: ${firstResolver}`,
    "  do-daemonize: no",
    '  username: ""',
    '  chroot: ""',
    '  pidfile: ""',
    `  directory: "${labDirectory}"`,
    "  use-syslog: no",
    "  num-threads: 1",
    '  module-config: "iterator"',
    "remote-control:",
    "  control-enable: no",
    ...nameserverAddresses.flatMap(([zone, addresses]) => stub(zone, addresses)),
    "",
  ].join("\n");
}

/** BIND as a second resolver, on an address of its own beside unbound. */
export function namedConfig(): string {
  const stub = (zone: string, addresses: readonly string[]): string =>
    `zone "${zone}" { type static-stub; server-addresses { ${addresses.map((one) => `${one};`).join(" ")} }; };`;
  return [
    "options {",
    `  directory "${labDirectory}";`,
    `  listen-on { ${secondResolver}; };`,
    "  listen-on-v6 { none; };",
    "  pid-file none;",
    "  session-keyfile none;",
    "  dnssec-validation no;",
    "};",
    "controls { };",
    ...nameserverAddresses.map(([zone, addresses]) => stub(zone, addresses)),
    "",
  ].join("\n");
}
