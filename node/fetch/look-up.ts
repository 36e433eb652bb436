/**
 * Looks up host names for probes. Whoever registers a node chooses its name and may run the servers of that name, so a
 * lookup takes as long as those servers want. Therefore many run in parallel, over sockets instead of threads.
 *
 *   hosts file ──not there──▶ DNS ──address, or no answer in time──▶ done
 *                              └──no such name──▶ getaddrinfo: search domains, mDNS and what else this system has
 */
import { lookup, Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { Clock } from "#base/clock.ts";
import { openGate } from "#base/gate.ts";
import { leadsInto, loopback, unreachable } from "#base/networks.ts";

const tries = { timeout: 1500, maxTimeout: 1500, tries: 2 };
/** A changed resolv.conf or hosts file takes effect within this time. */
const resolverAgeMsMax = 60_000;
const hostsAgeMsMax = 5000;
/**
 * getaddrinfo can't be cancelled, and libuv runs two at a time (half of its four threads): the other one is left to the
 * rest of the edge, for example for the look-up of its origin.
 */
const system = { slots: 1, waitingMax: () => 64, waitMsMax: 1000 };

/** The codes of c-ares: no record of the requested type, no such name, no DNS. */
const noData = "ENODATA";
const unknownToDns = new Set(["ENOTFOUND", noData, "EBADNAME", "ECONNREFUSED"]);

export type LookUp = (hostname: string) => Promise<string>;

/**
 * @param parts for tests: other servers than those of resolv.conf, another hosts file, another getaddrinfo
 * @returns a function that throws if the name has no address, or one that can't be another machine
 */
export function openLookUp(parts: {
  clock: Clock;
  servers?: readonly string[];
  hostsFile?: string;
  getAddress?: LookUp;
}): LookUp {
  const { clock, servers, hostsFile = "/etc/hosts", getAddress = askSystem } = parts;
  const gate = openGate({ ...system, clock });
  const resolver = kept(clock, resolverAgeMsMax, () => {
    const fresh = new Resolver(tries);
    if (servers !== undefined) fresh.setServers(servers);
    return fresh;
  });
  const hosts = kept(clock, hostsAgeMsMax, async () => hostsIn(await readFile(hostsFile, "utf8").catch(() => "")));

  async function addressOf(hostname: string): Promise<string> {
    const listed = (await hosts()).get(hostname.toLowerCase());
    if (listed !== undefined) return listed;
    try {
      return await askDns(resolver(), hostname);
    } catch (error) {
      if (!unknownToDns.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
      return await gate.pass(async () => await getAddress(hostname));
    }
  }

  return async (hostname) => {
    const isLocal = hostname === "localhost" || hostname.endsWith(".localhost");
    if (isLocal) return await gate.pass(async () => await getAddress(hostname));
    const address = await addressOf(hostname);
    // Names are chosen by whoever registers them, and so are their addresses.
    if (leadsInto(unreachable, address) || leadsInto(loopback, address)) {
      throw new Error(`${hostname} resolves to ${address}, which can't be the address of another machine`);
    }
    return address;
  };
}

/** IPv4 first if this machine has it, because most networks route it better. */
async function askDns(resolver: Resolver, hostname: string): Promise<string> {
  const ways = [async () => await resolver.resolve4(hostname), async () => await resolver.resolve6(hostname)];
  let failure: NodeJS.ErrnoException = Object.assign(new Error(`${hostname} has no address`), { code: noData });
  for (const way of hasIPv4() ? ways : ways.toReversed()) {
    try {
      const [address] = await way();
      if (address !== undefined) return address;
    } catch (error) {
      failure = error as NodeJS.ErrnoException;
      if (failure.code !== noData) break;
    }
  }
  throw failure;
}

async function askSystem(hostname: string): Promise<string> {
  return (await lookup(hostname)).address;
}

function hasIPv4(): boolean {
  return Object.values(networkInterfaces()).some((all) =>
    all?.some(({ family, internal }) => family === "IPv4" && !internal),
  );
}

/** hosts(5): an address and its names in each line; the first line of a name counts. */
function hostsIn(text: string): Map<string, string> {
  const addresses = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names) if (!addresses.has(name.toLowerCase())) addresses.set(name.toLowerCase(), address);
  }
  return addresses;
}

/** The result of `make`, made again when it is older than `ageMsMax`. */
function kept<Value>(clock: Clock, ageMsMax: number, make: () => Value): () => Value {
  let value: { readonly of: Value; readonly sinceMs: number } | undefined;
  return () => {
    const nowMs = clock.monotonicMs();
    if (value === undefined || nowMs - value.sinceMs > ageMsMax) value = { of: make(), sinceMs: nowMs };
    return value.of;
  };
}
