/**
 * The plan, built: one network namespace for everybody, a pair of virtual interfaces for every cable, addresses, routes
 * of those that speak no BGP, and the faults that can happen to a cable.
 *
 *   plan ─▶ namespaces ─▶ their settings ─▶ cables ─▶ addresses ─▶ delays
 *
 * Settings come before cables: what `default` says of an interface counts only when the interface is made.
 * Delays are netem's where the kernel has it, else the relay's (wire.ts); its ends stand in a namespace of their own.
 */
import { sleep } from "#base/clock.ts";
import { fileURLToPath } from "node:url";
import { machineClock, machineMs } from "./machine-clock.ts";
import {
  type Cable,
  cables,
  clients,
  cloudsOf,
  type End,
  namespaces,
  nodes,
  origin,
  secondResolver,
  siteOf,
} from "./plan.ts";
import { type Crew, inNamespace, run } from "./processes.ts";

const wireScript = fileURLToPath(new URL("long-cable.ts", import.meta.url));
const wireNamespace = "wire";
const wireStartMs = 20_000;
const carrierMs = 5000;
/** Frames that netem holds: at 10,000 a second and 80 ms there are 800. */
const netemFramesMax = 10_000;

export interface Network {
  readonly delays: "netem" | "relay";
  /** Both ends lose their carrier. */
  readonly unplug: (a: string, b: string) => Promise<void>;
  readonly plug: (a: string, b: string) => Promise<void>;
  /** Both ends swallow everything and see nothing wrong. */
  readonly silence: (a: string, b: string) => Promise<void>;
  readonly unsilence: (a: string, b: string) => Promise<void>;
}

/** Routers forward, spread flows by their ports, and answer every echo; addresses are usable at once. */
const settings = [
  "net.ipv4.ip_forward=1",
  "net.ipv6.conf.all.forwarding=1",
  "net.ipv6.conf.default.forwarding=1",
  "net.ipv4.fib_multipath_hash_policy=1",
  "net.ipv6.fib_multipath_hash_policy=1",
  // Ways there and back differ.
  "net.ipv4.conf.all.rp_filter=0",
  "net.ipv4.conf.default.rp_filter=0",
  "net.ipv6.conf.all.accept_dad=0",
  "net.ipv6.conf.default.accept_dad=0",
  // A cable that was unplugged and comes back has its IPv6 address still.
  "net.ipv6.conf.all.keep_addr_on_down=1",
  "net.ipv6.conf.default.keep_addr_on_down=1",
];
/** The relay's namespace must add no packet of its own to the cables. */
const wireSettings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"];

/** @param hasNetem whether this kernel has it, as `kernelHasNetem` found */
export async function buildNetwork(crew: Crew, hasNetem: boolean): Promise<Network> {
  const relayed = (cable: Cable): boolean => cable.delayMs > 0 && !hasNetem;
  const all = hasNetem ? namespaces : [...namespaces, wireNamespace];
  await batch(
    null,
    all.map((name) => `netns add ${name}`),
  );
  await Promise.all(
    all.map(async (name) => {
      const [program, args] = inNamespace(name, ["sysctl", "-qw"]);
      await run(program, [...args, ...(name === wireNamespace ? wireSettings : settings)]);
    }),
  );
  await batch(null, [
    ...cables.flatMap((cable, index) => cableLines(cable, index, relayed(cable))),
    ...nodes.flatMap((node) => adminLines(node.name, node.adminAddress)),
    ...adminLines(origin.name, origin.adminAddress),
  ]);
  await Promise.all(all.map((name) => batch(name, addressLines(name, relayed))));
  // A route needs both ends of its cable.
  await Promise.all(namespaces.map((name) => repeatedly(() => batch(name, routeLines(name)))));
  if (hasNetem) await Promise.all(cables.filter(({ delayMs }) => delayMs > 0).map(delayByNetem));
  else await startRelay(crew, relayed);

  return {
    delays: hasNetem ? "netem" : "relay",
    unplug: (a, b) => batch(a, [`link set ${b} down`]),
    async plug(a, b) {
      await batch(a, [`link set ${b} up`]);
      // A default route goes with its interface, and does not come back by itself; nor is there one before the other
      // end has seen that the cable is back.
      await repeatedly(() => batch(a, routeLines(a)));
    },
    async silence(a, b) {
      await Promise.all([queue(a, b, "add"), queue(b, a, "add")]);
    },
    async unsilence(a, b) {
      await Promise.all([queue(a, b, "del"), queue(b, a, "del")]);
    },
  };
}

/** Until it succeeds. @throws what it threw last, past `carrierMs` */
async function repeatedly(action: () => Promise<void>): Promise<void> {
  const deadlineMs = machineMs() + carrierMs;
  for (;;) {
    try {
      await action();
      return;
    } catch (error) {
      if (machineMs() > deadlineMs) throw error;
      await sleep(machineClock, 10);
    }
  }
}

/** A queue that loses everything that is put into it. */
async function queue(from: string, to: string, order: "add" | "del"): Promise<void> {
  await run("tc", ["-n", from, "qdisc", order, "dev", to, "root", ...(order === "add" ? ["blackhole"] : [])]);
}

/** One `ip` for many lines: starting it is what takes the time. */
async function batch(namespace: string | null, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await run("ip", [...(namespace === null ? [] : ["-n", namespace]), "-batch", "-"], `${lines.join("\n")}\n`);
}

function relayEnds(index: number): [string, string] {
  return [`w${index}a`, `w${index}b`];
}

function cableLines({ a, b }: Cable, index: number, isRelayed: boolean): string[] {
  const veth = (from: string, to: string, far: string, farNamespace: string): string =>
    `link add ${to} netns ${from} type veth peer name ${far} netns ${farNamespace}`;
  if (!isRelayed) return [veth(a.namespace, b.namespace, a.namespace, b.namespace)];
  const [endA, endB] = relayEnds(index);
  return [veth(a.namespace, b.namespace, endA, wireNamespace), veth(b.namespace, a.namespace, endB, wireNamespace)];
}

/** The network for administration joins each node with the lab itself and with nobody else. */
function adminLines(name: string, address: string): string[] {
  return [
    `link add m-${name} type veth peer name admin netns ${name}`,
    `addr add ${address.replace(/2$/, "1")}/30 dev m-${name}`,
    `link set m-${name} up`,
  ];
}

function addressLines(namespace: string, relayed: (cable: Cable) => boolean): string[] {
  const lines = ["link set lo up"];
  if (namespace === wireNamespace) {
    for (const [index, cable] of cables.entries()) {
      if (relayed(cable)) lines.push(...relayEnds(index).map((end) => `link set ${end} up`));
    }
    return lines;
  }
  for (const { a, b, kind } of cables) {
    if (a.namespace === namespace) lines.push(...endLines(a, b, kind));
    if (b.namespace === namespace) lines.push(...endLines(b, a, kind));
  }
  // BIND listens only where an address stands on an interface.
  if (clients.some(({ name }) => name === namespace)) lines.push(`addr add ${secondResolver}/32 dev lo`);
  const node = nodes.find(({ name }) => name === namespace);
  const adminAddress = node?.adminAddress ?? (namespace === origin.name ? origin.adminAddress : undefined);
  if (adminAddress !== undefined) lines.push("link set admin up", `addr add ${adminAddress}/30 dev admin`);
  if (node !== undefined) {
    for (const cloud of cloudsOf(node.site)) {
      lines.push(`addr add ${cloud.address4}/32 dev lo`, `addr add ${cloud.address6}/128 dev lo nodad`);
    }
  }
  return lines;
}

function endLines(own: End, other: End, kind: Cable["kind"]): string[] {
  const [peer4, peer6] = kind === "access" ? [` peer ${other.address4}`, ` peer ${other.address6}`] : ["", ""];
  return [
    `link set ${other.namespace} up`,
    `addr add ${own.address4}${peer4}/${own.length4} dev ${other.namespace}`,
    `addr add ${own.address6}${peer6}/${own.length6} dev ${other.namespace} nodad`,
  ];
}

/** Of those that speak no BGP: nodes, clients and the origin send everything to their router. */
function routeLines(namespace: string): string[] {
  return cables.flatMap(({ a, b, kind }) => {
    const [own, router] = kind === "access" ? [a, b] : [b, a];
    if ((kind !== "access" && kind !== "client") || own.namespace !== namespace) return [];
    const by = `dev ${router.namespace}`;
    return [
      `route replace default via ${router.address4} ${by} src ${own.address4}`,
      `route replace ::/0 via ${router.address6} ${by} src ${own.address6}`,
    ];
  });
}

/** Whether `tc` can set a delay here; asked on this namespace's own lo. */
export async function kernelHasNetem(): Promise<boolean> {
  try {
    await run("tc", ["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]);
    await run("tc", ["qdisc", "del", "dev", "lo", "root"]);
    return true;
  } catch {
    return false;
  }
}

async function delayByNetem({ a, b, delayMs }: Cable): Promise<void> {
  const delay = async (from: string, to: string): Promise<void> => {
    const netem = ["netem", "delay", `${delayMs}ms`, "limit", String(netemFramesMax)];
    await run("tc", ["-n", from, "qdisc", "add", "dev", to, "root", ...netem]);
  };
  await Promise.all([delay(a.namespace, b.namespace), delay(b.namespace, a.namespace)]);
}

async function startRelay(crew: Crew, relayed: (cable: Cable) => boolean): Promise<void> {
  const specs = cables.flatMap((cable, index) =>
    relayed(cable) ? [`${relayEnds(index).join(":")}:${cable.delayMs}`] : [],
  );
  const relay = crew.start({
    name: "wire",
    namespace: wireNamespace,
    command: [process.execPath, wireScript, ...specs],
    isFirst: true,
  });
  const deadlineMs = machineMs() + wireStartMs;
  while (!relay.lastWords().includes("ready")) {
    if (!relay.isRunning() || machineMs() > deadlineMs) throw new Error(`the relay: ${relay.lastWords()}`);
    await sleep(machineClock, 10);
  }
}

/**
 * Everything for the clouds' addresses vanishes in the site's router, while its routes and sessions stay as they are.
 */
export async function swallowClouds(siteName: Parameters<typeof siteOf>[0], order: "add" | "del"): Promise<void> {
  const { router } = siteOf(siteName);
  await batch(
    router,
    cloudsOf(siteName).flatMap(({ address4, address6 }) => [
      `route ${order} blackhole ${address4}/32`,
      `route ${order} blackhole ${address6}/128`,
    ]),
  );
}
