/**
 * Generates a node's bird.conf from its plan. Pure; tests check the result with `bird -p`.
 *
 *   edge process 0 ─127.0.0.2─┐
 *   edge process 1 ─127.0.0.3─┴─BGP, hold 3 s──▶ BIRD ──eBGP, BFD──▶ routers of the site
 *
 * - The edge's session is a lease: when the process dies, the kernel closes it, and BIRD withdraws the routes. Nothing
 *   in this file announces by itself, so no reload or restart of BIRD can announce a dead node again.
 * - Only the exact prefixes of the site's clouds pass, whatever an edge announces.
 * - GRACEFUL_SHUTDOWN (RFC 8326) is passed on to the routers. Within the node it gives a process the lowest preference,
 *   so that one draining process does not affect another that serves.
 * - It contains no secret: the TCP MD5 keys, the edge's and the routers', are in included files.
 * - The edge's session is signed: without its key, no other user of the machine can take the lease.
 */
import { addressAfter } from "#base/ip-text.ts";
import { type AnnouncementPlan, families, type Family, type PlannedRouter } from "./announcement-plan.ts";

/** Where BIRD and the edge meet; defaults as in the edge's `announce`. */
export interface LeasePlace {
  readonly neighbor: { readonly host: string; readonly port: number };
  /** Address of process 0; process i adds i to the last octet. */
  readonly source: string;
  /** BIRD's hold time for the sessions; an edge may offer less. */
  readonly holdSeconds: number;
  /** Contains `password "…";` for the edges' sessions; bird.conf includes it. */
  readonly passwordFile: string;
}

/** The name of that file beside bird.conf. */
export const leasePasswordFileName = "nearcast-lease.conf";

const leasePlaceDefault: LeasePlace = {
  neighbor: { host: "127.0.0.1", port: 179 },
  source: "127.0.0.2",
  holdSeconds: 3,
  passwordFile: `/etc/bird/${leasePasswordFileName}`,
};

/** The text of bird.conf. @param place where BIRD and the edge connect, if not at the defaults */
export function nodeConfig(plan: AnnouncementPlan, place: Partial<LeasePlace> = {}): string {
  const lease = { ...leasePlaceDefault, ...place };
  const carried = families.filter((family) => plan.prefixes[family].length > 0);
  const sessions = plan.routers.filter(({ families: own }) => own.length > 0);
  return [
    ...headLines(plan),
    ...carried.map((family) => `define SERVICE${family} = ${prefixSet(plan.prefixes[family])};`),
    "",
    "# Which neighbours are on a link of this machine.",
    "protocol device { scan time 30; }",
    "",
    ...bfdLines(plan),
    "",
    ...carried.flatMap((family) => [...edgeFilterLines(family), ""]),
    ...edgeLines(plan, carried, lease),
    "",
    ...upstreamLines(plan),
    ...sessions.flatMap((router) => ["", ...routerLines(router)]),
    ...plan.routers
      .filter(({ families: own }) => own.length === 0)
      .map(({ name, address }) => `\n# ${name}, ${address}: no prefix of its family is announced here.`),
    "",
  ].join("\n");
}

export function prefixSet(prefixes: readonly string[]): string {
  return `[ ${prefixes.join(", ")} ]`;
}

function headLines({ node, site, clouds, routerId }: AnnouncementPlan): string[] {
  const whose = node === undefined ? `every node of site ${site}` : `node ${node} (site ${site})`;
  return [
    `# BIRD 2 on ${whose}: announces ${clouds.length === 1 ? "cloud" : "clouds"} ${clouds.join(", ")}.`,
    "# Written by `nearcast bgp config` from the fleet document. Look over it with `nearcast bgp check`.",
    "#",
    "# An edge announces by its own session; nothing here does. So `birdc configure` and restarts are harmless, and",
    "# `birdc disable` is no way to take a node out: use `nearcast drain`.",
    "",
    "log syslog all;",
    ...(routerId === undefined
      ? ["# No router id: BIRD takes the lowest IPv4 address of an interface other than lo."]
      : [`router id ${routerId};`]),
    "",
  ];
}

function bfdLines({ bfd: { intervalMs, multiplier } }: AnnouncementPlan): string[] {
  return [
    `# A link that is silent for ${intervalMs} ms × ${multiplier} = ${intervalMs * multiplier} ms is lost (RFC 5880).`,
    "protocol bfd {",
    '  interface "*" {',
    `    min rx interval ${intervalMs} ms;`,
    `    min tx interval ${intervalMs} ms;`,
    `    idle tx interval ${Math.max(1000, intervalMs)} ms;`,
    `    multiplier ${multiplier};`,
    "  };",
    "}",
  ];
}

function edgeFilterLines(family: Family): string[] {
  return [
    `filter from_edge${family} {`,
    `  if net !~ SERVICE${family} then reject;`,
    "  # Of several processes, one that drains is the last choice.",
    "  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;",
    "  # The addresses are on lo; without this the route would be unreachable in BIRD's table.",
    '  ifname = "lo";',
    "  accept;",
    "}",
  ];
}

function edgeLines(plan: AnnouncementPlan, carried: readonly Family[], lease: LeasePlace): string[] {
  const { host, port } = lease.neighbor;
  const isInternal = plan.routers.some(({ as }) => as === plan.as);
  return [
    "# The lease: an edge that dies loses its session at once, one that is frozen after the hold time.",
    "template bgp edge {",
    `  local ${host}${port === 179 ? "" : ` port ${port}`} as ${plan.as};`,
    "  multihop;",
    "  passive on;",
    `  hold time ${lease.holdSeconds};`,
    `  keepalive time ${Math.max(1, Math.floor(lease.holdSeconds / 3))};`,
    "  error wait time 1, 1;",
    "  graceful restart off;",
    "  # TCP MD5 (RFC 2385): without it any user of this machine could announce from the edge's address.",
    `include "${lease.passwordFile}";`,
    ...(isInternal
      ? ["  # A router of the same AS gets what another session of that AS brought (RFC 4456).", "  rr client;"]
      : []),
    ...carried.map((family) => {
      // BIRD would warn that an IPv4 session has no IPv6 next hop, although it sends no IPv6 routes there.
      const nextHop = family === 6 && !host.includes(":") ? "next hop address ::1; " : "";
      const limit = `import limit ${plan.prefixes[family].length} action block;`;
      return `  ipv${family} { ${nextHop}${limit} import filter from_edge${family}; export none; };`;
    }),
    "}",
    ...Array.from(
      { length: plan.processes },
      (_, index) =>
        `protocol bgp edge${index} from edge { neighbor ${addressAfter(lease.source, index)} as ${plan.as}; }`,
    ),
  ];
}

function upstreamLines({ as, holdSeconds }: AnnouncementPlan): string[] {
  return [
    "# Graceful restart would make a router keep the routes of a node that is dead.",
    "# A router that is no neighbour on a link needs in its own protocol: multihop 2; local ADDRESS as AS;",
    "template bgp upstream {",
    `  local as ${as};`,
    "  direct;",
    `  hold time ${holdSeconds};`,
    `  keepalive time ${Math.max(1, Math.floor(holdSeconds / 3))};`,
    "  connect delay time 1;",
    "  connect retry time 5;",
    "  error wait time 1, 2;",
    "  bfd on;",
    "  graceful restart off;",
    "}",
  ];
}

function routerLines(router: PlannedRouter): string[] {
  return [
    `protocol bgp ${router.name} from upstream {`,
    `  neighbor ${router.address} as ${router.as};`,
    ...(router.passwordFile === undefined
      ? []
      : [
          '  # TCP MD5 (RFC 2385): one line, `password "…";`, for root and BIRD alone (chown root:bird, chmod 640).',
          `include "${router.passwordFile}";`,
        ]),
    ...router.families.map(
      (family) =>
        `  ipv${family} { import none; next hop self; export where proto ~ "edge*" && net ~ SERVICE${family}; };`,
    ),
    "}",
  ];
}
