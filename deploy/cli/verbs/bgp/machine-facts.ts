/**
 * Gathers the facts for `nearcast bgp check`: the machine's addresses, kernel settings, sockets and BIRD. findings.ts
 * judges them. Nothing is changed here, and what can't be read is left out, with the reason.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { addressAfter, canonicalAddress } from "#base/ip-text.ts";
import type { Fleet } from "#document/document.ts";
import { openFleetMemory } from "#follow/fleet-memory.ts";
import { readLeaseKey } from "#base/lease-key.ts";
import { systemReason } from "#base/system-reason.ts";
import type { EdgeConfig } from "../../../../node/config.ts";
import { openBirdControl } from "./bird-control.ts";
import { type BirdState, readBirdState } from "./bird-state.ts";

const run = promisify(execFile);
/** A handshake within one machine takes microseconds; after this time there is no answer. */
const unansweredMs = 500;
const nftMs = 5000;

export interface MachineAddress {
  /** Such as `lo`, `eth0`. */
  readonly device: string;
  readonly address: string;
  /** `192.0.2.10/24` */
  readonly cidr: string;
}

export interface DeviceSettings {
  readonly device: string;
  readonly rpFilter: number | undefined;
  readonly arpIgnore: number | undefined;
  readonly arpAnnounce: number | undefined;
}

export interface BoundSocket {
  readonly transport: "udp" | "tcp";
  readonly address: string;
  readonly port: number;
}

export interface Facts {
  readonly edge: EdgeConfig;
  /** Number of edge processes on the node. */
  readonly processes: number;
  /** For users other than root, the rule of lease-guard.nft may itself refuse connections. */
  readonly isRoot: boolean;
  /** Undefined: none was read; `fleetReason` says why. */
  readonly fleet: Fleet | undefined;
  readonly fleetReason: string | undefined;
  readonly addresses: readonly MachineAddress[];
  /** One per device, and one named `all`. */
  readonly devices: readonly DeviceSettings[];
  /** UDP sockets, and listening TCP sockets. */
  readonly sockets: readonly BoundSocket[];
  /** Undefined: edge.yaml names no key file. */
  readonly leaseKey: { readonly ok: true } | { readonly ok: false; readonly reason: string } | undefined;
  /** The results of connecting to BIRD without a key, once from the source address of each edge process. */
  readonly unsigned: readonly UnsignedAttempt[];
  /** Whether the nftables rule of lease-guard.nft is loaded. `isForbidden`: this user is not allowed to see it. */
  readonly leaseGuard:
    { readonly ok: true } | { readonly ok: false; readonly reason: string; readonly isForbidden?: boolean };
  readonly bird: { readonly ok: true; readonly state: BirdState } | { readonly ok: false; readonly reason: string };
}

export interface UnsignedAttempt {
  readonly source: string;
  /**
   * `unanswered`: BIRD requires a signature; `accepted`: anyone gets a session; `reset`: nobody listens, or the rule of
   * lease-guard.nft refuses this user; otherwise why the attempt was impossible.
   */
  readonly outcome: "unanswered" | "accepted" | "reset" | { readonly reason: string };
}

export interface FactPlaces {
  readonly edge: EdgeConfig;
  readonly processes: number;
  /** Replaces the document that the edge remembers. */
  readonly fleet: Fleet | undefined;
  readonly birdSocket: string;
  /** Root of procfs: `/proc`. */
  readonly proc: string;
}

export async function gatherFacts(places: FactPlaces): Promise<Facts> {
  const { edge, processes, proc } = places;
  const addresses = machineAddresses();
  const names = new Set(addresses.map(({ device }) => device));
  const { announce } = edge;
  const [remembered, devices, sockets, unsigned, leaseGuard, bird] = await Promise.all([
    places.fleet === undefined ? rememberedFleet(edge.dataDir) : { fleet: places.fleet, reason: undefined },
    Promise.all(["all", ...names].map(async (device) => await deviceSettings(proc, device))),
    boundSockets(proc),
    Promise.all(leaseSources(edge, processes).map(async (source) => await unsignedAttempt(announce?.neighbor, source))),
    leaseGuardState(),
    birdState(places.birdSocket),
  ]);
  const { fleet, reason: fleetReason } = remembered;
  const leaseKey = announce?.keyFile === undefined ? undefined : leaseKeyState(announce.keyFile);
  return {
    edge,
    processes,
    isRoot: process.geteuid?.() === 0,
    fleet,
    fleetReason,
    addresses,
    devices,
    sockets,
    leaseKey,
    unsigned,
    leaseGuard,
    bird,
  };
}

/** The source addresses of the sessions of the edge's processes. */
export function leaseSources({ announce }: EdgeConfig, processes: number): string[] {
  if (announce === undefined) return [];
  return Array.from({ length: processes }, (_, index) => addressAfter(announce.source, index));
}

/** The document that this machine's edge has stored in its data directory. */
async function rememberedFleet(dataDir: string): Promise<{ fleet: Fleet | undefined; reason: string | undefined }> {
  const none = (reason: string) => ({ fleet: undefined, reason });
  try {
    // Opening an edge's memory would create its directory; this command creates nothing.
    await stat(join(dataDir, "fleet.json"));
    const remembered = await (await openFleetMemory(dataDir)).loadFleet();
    return remembered === null
      ? none(`${dataDir} has no readable fleet document`)
      : { fleet: remembered.document, reason: undefined };
  } catch (error) {
    return none(`the edge's fleet document can't be read: ${join(dataDir, "fleet.json")}: ${systemReason(error)}`);
  }
}

function machineAddresses(): MachineAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([device, all = []]) =>
    all.map(({ address, cidr }) => ({ device, address, cidr: cidr ?? address })),
  );
}

async function deviceSettings(proc: string, device: string): Promise<DeviceSettings> {
  const [rpFilter, arpIgnore, arpAnnounce] = await Promise.all(
    ["rp_filter", "arp_ignore", "arp_announce"].map(async (key) => {
      const text = await readFile(join(proc, "sys/net/ipv4/conf", device, key), "utf8").catch(() => undefined);
      return text === undefined ? undefined : Number(text);
    }),
  );
  return { device, rpFilter, arpIgnore, arpAnnounce };
}

const listening = "0A"; // TCP_LISTEN of linux/tcp_states.h

async function boundSockets(proc: string): Promise<BoundSocket[]> {
  const tables = (["udp", "tcp"] as const).flatMap((transport) =>
    ["", "6"].map(async (family) => {
      const text = await readFile(join(proc, "net", `${transport}${family}`), "utf8").catch(() => "");
      return socketsOf(text, transport);
    }),
  );
  return (await Promise.all(tables)).flat();
}

/** The rows of /proc/net/udp and similar files: `sl: LOCAL:PORT REMOTE:PORT STATE …`, in hexadecimal. */
export function socketsOf(table: string, transport: BoundSocket["transport"]): BoundSocket[] {
  return table
    .split("\n")
    .slice(1)
    .flatMap((row) => {
      const [, local = "", , state] = row.trim().split(/\s+/);
      const [address = "", port = ""] = local.split(":");
      if (port === "" || (transport === "tcp" && state !== listening)) return [];
      return [{ transport, address: addressOfHex(address), port: Number.parseInt(port, 16) }];
    });
}

/** The kernel prints each 32-bit word in host byte order, which is little-endian. */
function addressOfHex(hex: string): string {
  const octets = Buffer.from(hex, "hex");
  for (let at = 0; at < octets.length; at += 4) octets.subarray(at, at + 4).reverse();
  if (octets.length === 4) return octets.join(".");
  const groups = Array.from({ length: 8 }, (_, index) => octets.readUInt16BE(index * 2).toString(16));
  return canonicalAddress(groups.join(":"));
}

function leaseKeyState(file: string): NonNullable<Facts["leaseKey"]> {
  try {
    readLeaseKey(file);
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: (error as Error).message };
  }
}

/** Connects like an edge without a key, and closes at once. A signed session silently drops such a SYN. */
async function unsignedAttempt(
  peer: { host: string; port: number } | undefined,
  source: string,
): Promise<UnsignedAttempt> {
  if (peer === undefined) return { source, outcome: { reason: "edge.yaml has no `announce`" } };
  const timeout = AbortSignal.timeout(unansweredMs);
  let socket: Socket | undefined;
  try {
    socket = connect({ ...peer, localAddress: source });
    await once(socket, "connect", { signal: timeout });
    return { source, outcome: "accepted" };
  } catch (error) {
    if (timeout.aborted) return { source, outcome: "unanswered" };
    const { code, message } = error as NodeJS.ErrnoException;
    return { source, outcome: code === "ECONNREFUSED" ? "reset" : { reason: message } };
  } finally {
    socket?.destroy();
  }
}

async function leaseGuardState(): Promise<Facts["leaseGuard"]> {
  const words = ["list", "table", "inet", "nearcast_lease"];
  try {
    // Debian installs it in a folder that is not in the PATH of users other than root.
    await run("nft", words, { timeout: nftMs }).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      await run("/usr/sbin/nft", words, { timeout: nftMs });
    });
    return { ok: true };
  } catch (error) {
    const { code, stderr = "" } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === "ENOENT") return { ok: false, reason: "the program `nft` is not installed" };
    const reason = stderr.trim().split("\n", 1)[0] ?? "nft failed";
    return { ok: false, reason, isForbidden: /operation not permitted/i.test(stderr) };
  }
}

async function birdState(path: string): Promise<Facts["bird"]> {
  try {
    const control = await openBirdControl(path);
    try {
      return { ok: true, state: await readBirdState(control) };
    } finally {
      control.close();
    }
  } catch (error) {
    return { ok: false, reason: `${path}: ${systemReason(error)}` };
  }
}
