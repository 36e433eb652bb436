/**
 * What `nearcast bgp check` thinks of a node: facts in, findings out, each with what to do about it. Pure.
 *
 *   plan       the fleet document says what this site announces, to whom
 *   prefixes   short enough for the internet (/24, /48)
 *   addresses  the service addresses stand on lo, for good
 *   kernel     packets that come one way and leave another are not dropped (rp_filter); ARP
 *   dns, http  a UDP socket for each service address; TCP, too; something serves HTTP there
 *   bird       it answers
 *   guard      nobody but the edge can take the lease: the session's key, and the per-user rule
 *   lease      it has a session for each edge process, which is up and announces
 *   routers    sessions up, hold times as short as planned, BFD up, no graceful restart
 */
import { command } from "#base/command-name.ts";
import { canonicalAddress } from "#base/ip-text.ts";
import { BlockList } from "node:net";
import type { BirdSession, BirdState } from "./bird-state.ts";
import { type DeviceSettings, type Facts, leaseSources, type UnsignedAttempt } from "./machine-facts.ts";
import { type AnnouncementPlan, announcementPlan, families, type PlannedRouter } from "./announcement-plan.ts";

export type Level = "ok" | "warn" | "fail";

export interface Finding {
  readonly level: Level;
  readonly about:
    "plan" | "prefixes" | "addresses" | "kernel" | "dns" | "http" | "bird" | "guard" | "lease" | "routers";
  readonly what: string;
  /** A command, or the place to look at. */
  readonly mend?: string;
}

/** Longer prefixes are dropped by most of the internet's routers. */
const longestAnnounced = { 4: 24, 6: 48 } as const;

export function judge(facts: Facts): Finding[] {
  const planned = planOf(facts);
  if (!planned.ok) return [planned.finding, ...birdFindings(facts)];
  const { plan, finding } = planned;
  return [
    finding,
    ...prefixFindings(plan),
    ...addressFindings(facts, plan),
    ...kernelFindings(facts, plan),
    ...dnsFindings(facts, plan),
    ...httpFindings(facts, plan),
    ...birdFindings(facts),
    ...guardFindings(facts, plan),
    ...(facts.bird.ok
      ? [...leaseFindings(facts, plan, facts.bird.state), ...routerFindings(facts, plan, facts.bird.state)]
      : []),
  ];
}

type JudgedPlan =
  | { readonly ok: true; readonly plan: AnnouncementPlan; readonly finding: Finding }
  | { readonly ok: false; readonly finding: Finding };

function planOf({ edge, fleet, fleetReason, processes }: Facts): JudgedPlan {
  if (fleet === undefined) {
    const what = fleetReason ?? "no fleet document was read";
    return { ok: false, finding: { level: "fail", about: "plan", what, mend: "use a file: --file fleet.yaml" } };
  }
  const planned = announcementPlan(fleet, { site: edge.site, processes });
  if (!planned.ok) {
    const [hint] = planned.hints;
    const finding: Finding = { level: "fail", about: "plan", what: planned.reason };
    return { ok: false, finding: hint === undefined ? finding : { ...finding, mend: hint } };
  }
  const { plan } = planned;
  const prefixes = families.flatMap((family) => plan.prefixes[family]).join(", ");
  const what = `site ${plan.site} announces ${prefixes} as AS ${plan.as}`;
  return { ok: true, plan, finding: { level: "ok", about: "plan", what } };
}

function* prefixFindings(plan: AnnouncementPlan): Generator<Finding> {
  const all = families.flatMap((family) => plan.prefixes[family].map((prefix) => ({ family, prefix })));
  const tooLong = all.filter(({ family, prefix }) => Number(prefix.split("/")[1]) > longestAnnounced[family]);
  for (const { family, prefix } of tooLong) {
    yield {
      level: "warn",
      about: "prefixes",
      what: `${prefix} is longer than /${longestAnnounced[family]}: other networks drop it`,
      mend: "announce the covering prefix, or let your own routers aggregate it",
    };
  }
  if (tooLong.length === 0) yield { level: "ok", about: "prefixes", what: "no prefix is too long for the internet" };
}

function* addressFindings({ addresses }: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const wanted = families.flatMap((family) => plan.addresses[family].map((address) => ({ family, address })));
  let missing = 0;
  for (const { family, address } of wanted) {
    const devices = addresses.filter((one) => sameAddress(one.address, address)).map(({ device }) => device);
    if (devices.includes("lo")) continue;
    missing += 1;
    const add = `ip address add ${address}/${family === 4 ? 32 : 128} dev lo`;
    yield devices.length === 0
      ? {
          level: "fail",
          about: "addresses",
          what: `the service address ${address} is not on this machine`,
          mend: `${add} (permanently: nearcast-addresses.service)`,
        }
      : {
          level: "warn",
          about: "addresses",
          what: `the service address ${address} is on ${devices.join(", ")}, and disappears when that link goes down`,
          mend: `${add}; then remove it from ${devices.join(", ")}`,
        };
  }
  if (missing === 0)
    yield { level: "ok", about: "addresses", what: `all ${wanted.length} service addresses are on lo` };
}

function* kernelFindings(facts: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const all = facts.devices.find(({ device }) => device === "all");
  const others = facts.devices.filter(({ device }) => device !== "all" && device !== "lo");
  const facing = devicesFacing(facts, plan.routers);
  const effective = (key: "rpFilter" | "arpIgnore" | "arpAnnounce", device: DeviceSettings): number =>
    // The kernel takes the stricter of the two (ip-sysctl, conf/all).
    Math.max(all?.[key] ?? 0, device[key] ?? 0);
  const strict = others.filter((device) => effective("rpFilter", device) === 1);
  for (const { device } of strict) {
    const isFacing = facing.size === 0 || facing.has(device);
    const key = all?.rpFilter === 1 ? "all" : device;
    yield {
      level: isFacing ? "fail" : "warn",
      about: "kernel",
      what: `${device} drops packets whose reply takes another interface (rp_filter 1); with anycast, many do`,
      // The greater counts: 2 for the device suffices whatever `all` says.
      mend: `sysctl -w net.ipv4.conf.${key}.rp_filter=2 (permanently: deploy/sysctl/90-nearcast.conf)`,
    };
  }
  if (strict.length === 0) yield { level: "ok", about: "kernel", what: "no interface has rp_filter 1" };
  const talkative = others.filter(
    (device) => effective("arpIgnore", device) === 0 && effective("arpAnnounce", device) < 2,
  );
  if (talkative.length > 0 && plan.addresses[4].length > 0) {
    yield {
      level: "warn",
      about: "kernel",
      what: `${talkative.map(({ device }) => device).join(", ")} may answer ARP for addresses that are on lo`,
      mend: "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
    };
  }
}

/** Devices with a network in which one of the routers is. */
function devicesFacing({ addresses }: Facts, routers: readonly PlannedRouter[]): Set<string> {
  const facing = new Set<string>();
  for (const { device, cidr } of addresses) {
    const [address = "", length = ""] = cidr.split("/");
    if (length === "" || device === "lo") continue;
    const network = new BlockList();
    network.addSubnet(address, Number(length), familyName(address));
    const isFacing = routers.some((router) => network.check(router.address, familyName(router.address)));
    if (isFacing) facing.add(device);
  }
  return facing;
}

function familyName(address: string): "ipv4" | "ipv6" {
  return address.includes(":") ? "ipv6" : "ipv4";
}

function sameAddress(one: string, other: string): boolean {
  return canonicalAddress(one) === canonicalAddress(other);
}

function isWildcard(address: string): boolean {
  return address === "0.0.0.0" || canonicalAddress(address) === "::";
}

/** An edge's wildcard socket takes what comes by its own family alone. */
function covers(wildcard: string, address: string): boolean {
  return isWildcard(wildcard) && wildcard.includes(":") === address.includes(":");
}

function* dnsFindings(facts: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const configured = facts.edge.dns.addresses;
  const served = nameserverAddresses(facts);
  let good = 0;
  for (const address of families.flatMap((family) => plan.addresses[family])) {
    const listener = configured.find(({ host }) => sameAddress(host, address));
    const ns = served.get(canonicalAddress(address));
    if (listener === undefined) {
      // An address for HTTP alone, unless resolvers are sent to it.
      if (ns === undefined) continue;
      const wild = configured.find(({ host }) => covers(host, address));
      yield {
        level: "fail",
        about: "dns",
        what:
          wild === undefined
            ? `nameserver ${ns} has the address ${address}, but this node does not answer DNS there`
            : `DNS on ${wild.host} answers queries to ${address} from another address, so resolvers drop the answers`,
        mend: `edge.yaml: dns.addresses: [{ host: ${quoted(address)}, port: 53 }]`,
      };
      continue;
    }
    const isBound = (transport: "udp" | "tcp"): boolean =>
      facts.sockets.some(
        (socket) =>
          socket.transport === transport && socket.port === listener.port && sameAddress(socket.address, address),
      );
    const absent = (["udp", "tcp"] as const).filter((transport) => !isBound(transport));
    if (absent.length === 0) good += 1;
    else {
      yield {
        level: "fail",
        about: "dns",
        what: `nothing listens for DNS on ${address} port ${listener.port} (${absent.join(", ")})`,
        mend: "is the edge running? systemctl status nearcast-edge",
      };
    }
    if (ns !== undefined && listener.port !== 53) {
      yield {
        level: "fail",
        about: "dns",
        what: `nameserver ${ns} has the address ${address}, but DNS is on port ${listener.port}; resolvers use 53`,
        mend: `edge.yaml: dns.addresses: [{ host: ${quoted(address)}, port: 53 }]`,
      };
    }
  }
  if (good > 0)
    yield { level: "ok", about: "dns", what: `UDP and TCP answer on ${good} service address${good === 1 ? "" : "es"}` };
}

/** Addresses of the zones' nameservers, with the name of one that has it. */
function nameserverAddresses({ fleet }: Facts): Map<string, string> {
  const pairs = (fleet?.zones ?? []).flatMap(({ nameservers }) =>
    nameservers.flatMap(({ name, addresses }) =>
      addresses.map((address): [string, string] => [canonicalAddress(address), name]),
    ),
  );
  return new Map(pairs);
}

function* httpFindings({ edge, fleet }: Facts, plan: AnnouncementPlan): Generator<Finding> {
  // Only names with the policy `anycast` lead HTTP clients to these addresses.
  const answered = new Set((fleet?.anycast.addresses ?? []).map(canonicalAddress));
  const wanted = families
    .flatMap((family) => plan.addresses[family])
    .filter((one) => answered.has(canonicalAddress(one)));
  const deaf = wanted.filter(
    (address) => !edge.http.some(({ host }) => sameAddress(host, address) || covers(host, address)),
  );
  for (const address of deaf) {
    yield {
      level: "fail",
      about: "http",
      what: `names with the policy anycast resolve to ${address}, but this node does not serve HTTP there`,
      mend: `edge.yaml: http: [{ host: ${quoted(address)}, port: 80 }]`,
    };
  }
  if (wanted.length > 0 && deaf.length === 0)
    yield { level: "ok", about: "http", what: "HTTP is served on all anycast addresses" };
}

function quoted(address: string): string {
  return address.includes(":") ? `"${address}"` : address;
}

function* birdFindings({ bird }: Facts): Generator<Finding> {
  if (bird.ok) {
    const { version, routerId } = bird.state;
    yield { level: "ok", about: "bird", what: `BIRD ${version ?? "?"} answers, router id ${routerId ?? "not known"}` };
    return;
  }
  const isForbidden = bird.reason.endsWith("permission denied");
  yield {
    level: "fail",
    about: "bird",
    what: `BIRD can't be reached: ${bird.reason}`,
    mend: isForbidden ? "run this as root, or as a member of the group bird" : "systemctl status bird",
  };
}

/** Without the key any user of this machine can connect from the edge's address and announce. */
function* guardFindings(facts: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const { edge, leaseKey, unsigned, leaseGuard } = facts;
  if (edge.announce === undefined) return;
  if (leaseKey === undefined) {
    yield {
      level: "fail",
      about: "guard",
      what: "edge.yaml has no announce.keyFile: any user of this machine can take the lease when no edge holds it",
      mend: `${configAgain(plan)}; then set announce.keyFile in edge.yaml`,
    };
  } else if (!leaseKey.ok) yield { level: "fail", about: "guard", what: leaseKey.reason, mend: configAgain(plan) };
  for (const attempt of unsigned) yield attemptFinding(attempt, facts, plan);
  yield ruleFinding(leaseGuard, edge.announce.neighbor.port);
}

function attemptFinding({ source, outcome }: UnsignedAttempt, { isRoot }: Facts, plan: AnnouncementPlan): Finding {
  if (outcome === "accepted") {
    const what = `BIRD accepts a connection from ${source} without a key`;
    return { level: "fail", about: "guard", what, mend: configAgain(plan) };
  }
  if (outcome === "unanswered") {
    return { level: "ok", about: "guard", what: `BIRD does not answer connections from ${source} without the key` };
  }
  if (outcome === "reset" && !isRoot) {
    const what = `a connection from ${source} without a key was not tried: BIRD refuses connections of this user`;
    return { level: "warn", about: "guard", what, mend: "run this as root, which the nftables rule allows" };
  }
  const reason = outcome === "reset" ? "connection refused" : outcome.reason;
  const what = `a connection from ${source} without a key could not be tried: ${reason}`;
  return { level: "warn", about: "guard", what, mend: "is BIRD running? systemctl status bird" };
}

function ruleFinding(rule: Facts["leaseGuard"], port: number): Finding {
  if (rule.ok) {
    const what = "an nftables rule lets only root and the edge's user connect to BIRD";
    return { level: "ok", about: "guard", what };
  }
  if (rule.isForbidden === true) {
    const what = `only root can see whether an nftables rule keeps other users from BIRD's port ${port}`;
    return { level: "warn", about: "guard", what, mend: "run this as root" };
  }
  const what = `no nftables rule keeps other users from BIRD's port ${port} (${rule.reason})`;
  return { level: "warn", about: "guard", what, mend: "systemctl enable --now nearcast-lease-guard" };
}

function* leaseFindings(
  { edge, processes, addresses }: Facts,
  plan: AnnouncementPlan,
  state: BirdState,
): Generator<Finding> {
  const { announce } = edge;
  if (announce === undefined) {
    yield {
      level: "fail",
      about: "lease",
      what: "edge.yaml has no `announce` section: this node announces nothing",
      mend: "add it; see deploy/config/edge.example.yaml",
    };
    return;
  }
  for (const hop of announce.nextHops.filter((one) => !addresses.some(({ address }) => sameAddress(address, one)))) {
    yield {
      level: "fail",
      about: "lease",
      what: `announce.nextHops has ${hop}, which is not an address of this machine`,
      mend: "edge.yaml: set announce.nextHops to this machine's addresses towards its router",
    };
  }
  for (const source of leaseSources(edge, processes)) {
    const session = sessionWith(state, source);
    yield session === undefined
      ? {
          level: "fail",
          about: "lease",
          what: `BIRD has no session configured for the edge at ${source}`,
          mend: configAgain(plan),
        }
      : leaseFinding(session, source, plan, announce.holdSeconds);
  }
}

function leaseFinding(session: BirdSession, source: string, plan: AnnouncementPlan, holdSeconds: number): Finding {
  const { name, state, neighborAs, importedCount } = session;
  if (neighborAs !== undefined && neighborAs !== plan.as) {
    return {
      level: "fail",
      about: "lease",
      what: `${name} expects AS ${neighborAs}, but the fleet document has ${plan.as}`,
      mend: configAgain(plan),
    };
  }
  if (state !== "Established") {
    return {
      level: "fail",
      about: "lease",
      what: `the edge at ${source} has no session with BIRD (${name}: ${wordsOf(session)})`,
      mend: `run ${command} status to see why the edge does not announce`,
    };
  }
  if (session.holdSeconds !== undefined && session.holdSeconds > holdSeconds) {
    return {
      level: "warn",
      about: "lease",
      what: `${name} has a hold time of ${session.holdSeconds} s: a frozen edge stays announced that long`,
      mend: `bird.conf: hold time ${holdSeconds};`,
    };
  }
  return importedCount === 0
    ? {
        level: "warn",
        about: "lease",
        what: `${name} is up, but the edge announces nothing`,
        mend: `run ${command} status to see why`,
      }
    : {
        level: "ok",
        about: "lease",
        what: `${name} is up, ${importedCount} prefixes, hold time ${session.holdSeconds ?? "?"} s`,
      };
}

/** How a session stands, in BIRD's words. */
function wordsOf({ state, lastError }: BirdSession): string {
  return [state ?? "?", lastError].filter((word) => word !== undefined).join(", ");
}

function configAgain({ site, processes }: AnnouncementPlan): string {
  const more = processes === 1 ? "" : ` --processes ${processes}`;
  return `${command} bgp config --site ${site}${more} --output /etc/bird/bird.conf && birdc configure`;
}

function sessionWith(state: BirdState, address: string): BirdSession | undefined {
  return state.sessions.find(({ neighbor }) => neighbor !== undefined && sameAddress(neighbor, address));
}

function* routerFindings({ edge, processes }: Facts, plan: AnnouncementPlan, state: BirdState): Generator<Finding> {
  const leases = leaseSources(edge, processes).flatMap((source) => sessionWith(state, source) ?? []);
  const announcedCount = Math.max(0, ...leases.map(({ importedCount }) => importedCount));
  for (const router of plan.routers.filter((one) => one.families.length > 0)) {
    const session = sessionWith(state, router.address);
    if (session === undefined) {
      yield {
        level: "fail",
        about: "routers",
        what: `BIRD has no session configured for the router ${router.address}`,
        mend: configAgain(plan),
      };
      continue;
    }
    yield* sessionFindings(router, session, plan, announcedCount);
    yield bfdFinding(router, plan, state);
  }
}

function* sessionFindings(
  router: PlannedRouter,
  session: BirdSession,
  plan: AnnouncementPlan,
  announcedCount: number,
): Generator<Finding> {
  const { name, state, neighborAs, holdSeconds, hasGracefulRestart, exportedCount } = session;
  if (neighborAs !== undefined && neighborAs !== router.as) {
    const what = `${name} expects AS ${neighborAs} at ${router.address}, but the fleet document has ${router.as}`;
    yield { level: "fail", about: "routers", what, mend: `bird.conf: neighbor ${router.address} as ${router.as};` };
  }
  if (state !== "Established") {
    yield {
      level: "fail",
      about: "routers",
      what: `no session with the router ${router.address} (${name}: ${wordsOf(session)})`,
      mend: `is it configured for this node? ${command} bgp config --site ${plan.site} --router bird|frr|junos`,
    };
    return;
  }
  if (hasGracefulRestart) {
    yield {
      level: "fail",
      about: "routers",
      what: `${name} offers graceful restart: ${router.address} would keep the routes of a dead node`,
      mend: "bird.conf: graceful restart off;",
    };
  }
  if (holdSeconds !== undefined && holdSeconds > plan.holdSeconds) {
    yield {
      level: "warn",
      about: "routers",
      what: `${name} has a hold time of ${holdSeconds} s; the fleet document has ${plan.holdSeconds} s`,
      mend: `bird.conf: hold time ${plan.holdSeconds};`,
    };
  }
  if (announcedCount > 0 && exportedCount === 0) {
    yield {
      level: "fail",
      about: "routers",
      what: `${name} is up, but the edge's prefixes are not exported to ${router.address}`,
      mend: `bird.conf: export where proto ~ "edge*";`,
    };
    return;
  }
  yield {
    level: "ok",
    about: "routers",
    what: `${name} (${router.address}) is up, ${exportedCount} prefixes, hold time ${holdSeconds ?? "?"} s`,
  };
}

function bfdFinding(router: PlannedRouter, plan: AnnouncementPlan, state: BirdState): Finding {
  const { intervalMs, multiplier } = plan.bfd;
  const wantedMs = intervalMs * multiplier;
  const bfd = state.bfd.find(({ address }) => sameAddress(address, router.address));
  if (bfd === undefined) {
    return {
      level: "fail",
      about: "routers",
      what: `no BFD with ${router.address}: a silent link failure is noticed only after ${plan.holdSeconds} s`,
      mend: "bird.conf: add `bfd on;` to the session, and a protocol bfd",
    };
  }
  if (!bfd.isUp) {
    return {
      level: "fail",
      about: "routers",
      what: `BFD with ${router.address} is not up`,
      mend: "does the router run BFD, and do firewalls allow UDP port 3784?",
    };
  }
  // BIRD tells its own interval and the time after which it gives up: an other side that is slower makes that longer.
  const isSlow = bfd.timeoutMs > wantedMs * 1.01;
  return isSlow
    ? {
        level: "warn",
        about: "routers",
        what: `BFD with ${router.address} detects failures in ${bfd.timeoutMs} ms; the document has ${wantedMs} ms`,
        mend: `on the router: BFD interval ${intervalMs} ms, multiplier ${multiplier}`,
      }
    : {
        level: "ok",
        about: "routers",
        what: `BFD with ${router.address} is up and detects failures in ${bfd.timeoutMs} ms`,
      };
}
