/**
 * Addresses that are not reachable from the whole internet, and names that are not public. A public name must not be
 * answered with such an address. Pure.
 */
import { BlockList, isIPv4 } from "node:net";
import { embeddedIpv4 } from "#base/embedded-ipv4.ts";
import { isAtOrBelow } from "#record/domain-names.ts";

/** Networks that are not globally reachable: RFC 6890 and the IANA special-purpose registries. */
const specialNetworks: readonly (readonly [network: string, length: number, what: string])[] = [
  ["0.0.0.0", 8, "this network (RFC 791)"],
  ["10.0.0.0", 8, "private (RFC 1918)"],
  ["100.64.0.0", 10, "carrier-grade NAT (RFC 6598)"],
  ["127.0.0.0", 8, "loopback (RFC 1122)"],
  ["169.254.0.0", 16, "link-local (RFC 3927)"],
  ["172.16.0.0", 12, "private (RFC 1918)"],
  ["192.0.0.0", 24, "reserved for protocols (RFC 6890)"],
  ["192.0.2.0", 24, "reserved for documentation (RFC 5737)"],
  ["192.168.0.0", 16, "private (RFC 1918)"],
  ["198.18.0.0", 15, "reserved for benchmarks (RFC 2544)"],
  ["198.51.100.0", 24, "reserved for documentation (RFC 5737)"],
  ["203.0.113.0", 24, "reserved for documentation (RFC 5737)"],
  ["224.0.0.0", 4, "multicast (RFC 5771)"],
  ["240.0.0.0", 4, "reserved (RFC 1112)"],
  ["::", 128, "unspecified (RFC 4291)"],
  ["::1", 128, "loopback (RFC 4291)"],
  ["::ffff:0:0", 96, "IPv4-mapped (RFC 4291)"],
  ["64:ff9b:1::", 48, "reserved for local translation (RFC 8215)"],
  ["100::", 64, "discard-only (RFC 6666)"],
  ["2001:2::", 48, "reserved for benchmarks (RFC 5180)"],
  ["2001:db8::", 32, "reserved for documentation (RFC 3849)"],
  ["3fff::", 20, "reserved for documentation (RFC 9637)"],
  ["5f00::", 16, "reserved for segment routing (RFC 9602)"],
  ["fc00::", 7, "unique local (RFC 4193)"],
  ["fe80::", 10, "link-local (RFC 4291)"],
  ["ff00::", 8, "multicast (RFC 4291)"],
];

const blocks = specialNetworks.map(([network, length, what]) => {
  const family = isIPv4(network) ? ("ipv4" as const) : ("ipv6" as const);
  const block = new BlockList();
  block.addSubnet(network, length, family);
  return { family, block, what };
});

/**
 * Why an address is not reachable from the whole internet, such as `private (RFC 1918)`; undefined when it is
 * reachable. An IPv6 address that embeds an IPv4 address is also judged by that (RFC 6052 §3.1, RFC 3056 §2).
 */
export function whySpecial(address: string): string | undefined {
  const family = isIPv4(address) ? "ipv4" : "ipv6";
  const what = blocks.find((one) => one.family === family && one.block.check(address, family))?.what;
  if (what !== undefined) return what;
  for (const inside of embeddedIpv4(address)) {
    const why = whySpecial(inside);
    if (why !== undefined) return `another form of ${inside}, which is ${why}`;
  }
  return undefined;
}

/** Names that the public DNS never delegates: RFC 6761, 6762, 7686, 8375 and ICANN's `internal`. */
const specialNames = [
  "test",
  "localhost",
  "invalid",
  "example",
  "example.com",
  "example.net",
  "example.org",
  "local",
  "internal",
  "home.arpa",
  "onion",
];

/** @param name without the final dot, in lower case */
export function isPublicName(name: string): boolean {
  return !specialNames.some((special) => isAtOrBelow(name, special));
}
