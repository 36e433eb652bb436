/**
 * Generates the configuration of the site's router, for its operators: BIRD, FRR and Junos. Pure.
 *
 *   nodes ──sessions──▶ router ──▶ the rest of the network
 *            1 accept only the service prefixes
 *            2 GRACEFUL_SHUTDOWN → local preference 0 (RFC 8326): a draining node is the last choice
 *            3 all nodes at once (ECMP), each connection always to the same node: the hash includes ports
 *            4 BFD: traffic leaves a silent node within interval × multiplier
 *            5 announce nothing to the nodes
 *
 * These parts extend an existing configuration; their names begin with NEARCAST to avoid conflicts.
 */
import { type AnnouncementPlan, families, type Family, type PlannedNode } from "./announcement-plan.ts";
import { prefixSet } from "./node-config.ts";

export const routerKinds = ["bird", "frr", "junos"] as const;
export type RouterKind = (typeof routerKinds)[number];

/** Placeholders for values that the document does not have: the user of the text replaces them. */
export const blanks = { routerAddress: "ROUTER-ADDRESS", password: "THE-PASSWORD" } as const;

/** One session of the router: the address of a node, and the families that the session carries. */
interface NodeSession {
  readonly node: string;
  readonly address: string;
  readonly families: readonly Family[];
}

export function routerConfig(plan: AnnouncementPlan, kind: RouterKind): string {
  const comment = { bird: "#", frr: "!", junos: "#" }[kind];
  const body = { bird: birdLines, frr: frrLines, junos: junosLines }[kind](plan, sessionsOf(plan));
  const lines = [...headLines(plan, kind), ...missingLines(plan)].map(
    (line) => `${comment}${line === "" ? "" : ` ${line}`}`,
  );
  return [...lines, ...body, ""].join("\n");
}

function headLines(plan: AnnouncementPlan, kind: RouterKind): string[] {
  const both = families.flatMap((family) => plan.prefixes[family]);
  const called = { bird: "BIRD 2", frr: "FRR 8 and later", junos: "Junos" }[kind];
  return [
    `Router of site ${plan.site}, ${called}: sessions with the nodes, AS ${plan.as}, which announce`,
    `${both.join(", ")}.`,
    "Written by `nearcast bgp config --router` from the fleet document; add it to what the router has.",
    "",
    "To the internet: the prefix goes out while a node announces it, so do not originate it by a static route or a",
    "permanent aggregate, which would draw clients to a site without nodes. Should your site router only know longer",
    "prefixes, aggregate them where a contributor is required. As a last resort against all sites withdrawing at once,",
    "several sites may announce a less specific prefix for good; the exact one wins while anybody has it.",
    "",
  ];
}

function missingLines({ nodes }: AnnouncementPlan): string[] {
  const untold = nodes.filter(({ addresses }) => addresses[4] === undefined && addresses[6] === undefined);
  if (nodes.length === 0) return ["The document names no node here: add a session for each that joins.", ""];
  if (untold.length === 0) return [];
  return [`Without an address of their own in the document: ${untold.map(({ name }) => name).join(", ")}.`, ""];
}

/** One session per address family of the site's routers. */
function sessionsOf(plan: AnnouncementPlan): NodeSession[] {
  const carriedBy = (family: Family): Family[] => {
    const routers = plan.routers.filter(({ address }) => address.includes(":") === (family === 6));
    return families.filter((one) => routers.some((router) => router.families.includes(one)));
  };
  return plan.nodes.flatMap((node: PlannedNode) =>
    families.flatMap((family) => {
      const [address, carried] = [node.addresses[family], carriedBy(family)];
      return address === undefined || carried.length === 0 ? [] : [{ node: node.name, address, families: carried }];
    }),
  );
}

/**
 * Node names contain hyphens, which are operators in BIRD; a v6 session of a node that has a v4 one gets another name.
 */
function birdName({ node, address }: NodeSession): string {
  return `nearcast_${node.replaceAll("-", "_")}${address.includes(":") ? "_6" : ""}`;
}

function carriedOf(plan: AnnouncementPlan): Family[] {
  return families.filter((family) => plan.prefixes[family].length > 0);
}

function birdLines(plan: AnnouncementPlan, sessions: readonly NodeSession[]): string[] {
  const { bfd, holdSeconds, as } = plan;
  const routerAs = plan.routers[0]?.as ?? as;
  const hasPassword = plan.routers.every(({ passwordFile }) => passwordFile !== undefined);
  return [
    "# A router has one BFD protocol: leave this out where there is one, and see that its times are as short.",
    `protocol bfd { interface "*" { min rx interval ${bfd.intervalMs} ms; min tx interval ${bfd.intervalMs} ms; ` +
      `multiplier ${bfd.multiplier}; }; }`,
    "",
    ...carriedOf(plan).flatMap((family) => [
      `filter nearcast_in${family} {`,
      `  if net !~ ${prefixSet(plan.prefixes[family])} then reject;`,
      "  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;",
      "  accept;",
      "}",
      "",
    ]),
    "template bgp nearcast {",
    `  local as ${routerAs};`,
    "  direct;",
    `  hold time ${holdSeconds};`,
    `  keepalive time ${Math.max(1, Math.floor(holdSeconds / 3))};`,
    "  connect delay time 1;",
    "  error wait time 1, 5;",
    "  bfd on;",
    ...(hasPassword ? [`  password "${blanks.password}";`] : []),
    ...(routerAs === as ? ["  # Routes of one node go to the other routers of the AS.", "  rr client;"] : []),
    "}",
    ...sessions.map((session) => {
      const channels = session.families.map(
        (family) =>
          `ipv${family} { import limit ${plan.prefixes[family].length} action block; ` +
          `import filter nearcast_in${family}; export none; };`,
      );
      const [name, neighbor] = [birdName(session), `neighbor ${session.address} as ${as};`];
      return [
        `protocol bgp ${name} from nearcast {`,
        `  ${neighbor}`,
        ...channels.map((line) => `  ${line}`),
        "}",
      ].join("\n");
    }),
    "",
    "# All nodes at once: in the protocol that writes the kernel's table, of which there is one for each family,",
    ...carriedOf(plan).map(
      (family) => `#   protocol kernel { merge paths yes limit 16; ipv${family} { export all; import none; }; }`,
    ),
    "# and a connection always to the same node (`sysctl -w`; see deploy/sysctl/):",
    "#   net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1",
  ];
}

function frrLines(plan: AnnouncementPlan, sessions: readonly NodeSession[]): string[] {
  const { bfd, holdSeconds, as } = plan;
  const routerAs = plan.routers[0]?.as ?? as;
  const hasPassword = plan.routers.every(({ passwordFile }) => passwordFile !== undefined);
  const ip = { 4: "ip", 6: "ipv6" } as const;
  return [
    "bfd",
    " profile NEARCAST",
    `  detect-multiplier ${bfd.multiplier}`,
    `  receive-interval ${bfd.intervalMs}`,
    `  transmit-interval ${bfd.intervalMs}`,
    " exit",
    "exit",
    "!",
    "bgp community-list standard NEARCAST-GSHUT seq 5 permit graceful-shutdown",
    ...carriedOf(plan).flatMap((family) => [
      ...plan.prefixes[family].map(
        (prefix, index) => `${ip[family]} prefix-list NEARCAST${family} seq ${5 * (index + 1)} permit ${prefix}`,
      ),
      `route-map NEARCAST${family}-IN permit 10`,
      ` match ${ip[family]} address prefix-list NEARCAST${family}`,
      " match community NEARCAST-GSHUT",
      " set local-preference 0",
      "exit",
      `route-map NEARCAST${family}-IN permit 20`,
      ` match ${ip[family]} address prefix-list NEARCAST${family}`,
      "exit",
    ]),
    "route-map NEARCAST-OUT deny 10",
    "exit",
    "!",
    `router bgp ${routerAs}`,
    " neighbor NEARCAST peer-group",
    ` neighbor NEARCAST remote-as ${as}`,
    ` neighbor NEARCAST timers ${Math.max(1, Math.floor(holdSeconds / 3))} ${holdSeconds}`,
    " neighbor NEARCAST bfd",
    " neighbor NEARCAST bfd profile NEARCAST",
    ...(hasPassword ? [` neighbor NEARCAST password ${blanks.password}`] : []),
    ...sessions.flatMap(({ node, address }) => [
      ` neighbor ${address} peer-group NEARCAST`,
      ` neighbor ${address} description ${node}`,
    ]),
    ...carriedOf(plan).flatMap((family) => [
      ` address-family ipv${family} unicast`,
      `  neighbor NEARCAST route-map NEARCAST${family}-IN in`,
      "  neighbor NEARCAST route-map NEARCAST-OUT out",
      `  neighbor NEARCAST maximum-prefix ${plan.prefixes[family].length}`,
      "  neighbor NEARCAST soft-reconfiguration inbound",
      ...sessions.map(
        ({ address, families: carried }) => `  ${carried.includes(family) ? "" : "no "}neighbor ${address} activate`,
      ),
      `  maximum-paths ${routerAs === as ? "ibgp " : ""}16`,
      " exit-address-family",
    ]),
    "exit",
    "! A connection always to the same node, on a router that is a Linux machine (`sysctl -w`; see deploy/sysctl/):",
    "!  net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1",
  ];
}

function junosLines(plan: AnnouncementPlan, sessions: readonly NodeSession[]): string[] {
  const { bfd, holdSeconds, as } = plan;
  const routerAs = plan.routers[0]?.as ?? as;
  const hasPassword = plan.routers.every(({ passwordFile }) => passwordFile !== undefined);
  const carried = carriedOf(plan);
  const group = "set protocols bgp group NEARCAST";
  const policy = "set policy-options policy-statement NEARCAST-IN";
  return [
    ...carried.flatMap((family) =>
      plan.prefixes[family].map((prefix) => `set policy-options prefix-list NEARCAST${family} ${prefix}`),
    ),
    "set policy-options community NEARCAST-GSHUT members 65535:0",
    ...carried.flatMap((family) => [
      `${policy} term draining${family} from prefix-list NEARCAST${family}`,
      `${policy} term draining${family} from community NEARCAST-GSHUT`,
      `${policy} term draining${family} then local-preference 0`,
      `${policy} term draining${family} then accept`,
      `${policy} term service${family} from prefix-list NEARCAST${family}`,
      `${policy} term service${family} then accept`,
    ]),
    `${policy} then reject`,
    "set policy-options policy-statement NEARCAST-OUT then reject",
    `${group} type ${routerAs === as ? "internal" : "external"}`,
    ...(routerAs === as ? [`${group} cluster ${blanks.routerAddress}`] : [`${group} peer-as ${as}`]),
    `${group} hold-time ${holdSeconds}`,
    `${group} import NEARCAST-IN`,
    `${group} export NEARCAST-OUT`,
    ...(hasPassword ? [`${group} authentication-key "${blanks.password}"`] : []),
    `${group} bfd-liveness-detection minimum-interval ${bfd.intervalMs}`,
    `${group} bfd-liveness-detection multiplier ${bfd.multiplier}`,
    `${group} multipath`,
    ...sessions.flatMap(({ node, address, families: own }) => [
      `${group} neighbor ${address} description ${node}`,
      ...own.map((family) => {
        const unicast = `family inet${family === 6 ? "6" : ""} unicast`;
        return `${group} neighbor ${address} ${unicast} prefix-limit maximum ${plan.prefixes[family].length}`;
      }),
    ]),
    "# All nodes at once, a connection always to the same one; `per-packet` is what Junos calls per flow.",
    "set policy-options policy-statement NEARCAST-ECMP then load-balance per-packet",
    "set routing-options forwarding-table export NEARCAST-ECMP",
    "set forwarding-options enhanced-hash-key family inet layer-4",
    "set forwarding-options enhanced-hash-key family inet6 layer-4",
  ];
}
