/**
 * Networks whose addresses can't be reached from another machine, networks that are not part of the internet, and the
 * network of a single customer.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { embeddedIpv4, groupsOfIpv6 } from "./embedded-ipv4.ts";

/** Unspecified, link-local and multicast addresses, on every machine. */
export const unreachable = new BlockList();
unreachable.addSubnet("0.0.0.0", 8);
unreachable.addSubnet("169.254.0.0", 16);
unreachable.addSubnet("224.0.0.0", 3);
unreachable.addAddress("::", "ipv6");
unreachable.addSubnet("fe80::", 10, "ipv6");
unreachable.addSubnet("ff00::", 8, "ipv6");

/** Addresses of the machine itself. Allowed only for a trial on one machine. */
export const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

/**
 * Networks that are not part of the internet: private, shared, loopback, link-local, documentation, benchmarks,
 * multicast, reserved (the special-purpose registries of RFC 6890). A name that someone else chose must not lead a
 * server there: behind such an address may be a service that trusts its neighbors.
 */
const special = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const) {
  special.addSubnet(network, bits);
}
for (const [network, bits] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["3fff::", 20],
] as const) {
  special.addSubnet(network, bits, "ipv6");
}
/** The only IPv6 addresses that are assigned on the internet so far (RFC 4291 §2.4). */
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");

/**
 * Whether an address is not a public address of the internet. An IPv6 address that leads to an IPv4 address (mapped,
 * NAT64, 6to4, Teredo) is judged by that one. Text that is not an address is not public.
 */
export function isSpecial(text: string): boolean {
  if (isIPv4(text)) return special.check(text);
  if (text.includes("%") || !isIPv6(text)) return true;
  const inside = embeddedIpv4(text);
  if (inside.length > 0) return inside.some((address) => special.check(address));
  return !globalUnicast.check(text, "ipv6") || special.check(text, "ipv6");
}

/**
 * Whether the text is an address of one of these; one with a zone (`fe80::1%eth0`) is link-local. Use leadsInto() to
 * reject destinations.
 */
export function isIn(list: BlockList, text: string): boolean {
  if (text.includes("%")) return list === unreachable;
  return isIP(text) !== 0 && list.check(text, isIPv4(text) ? "ipv4" : "ipv6");
}

/**
 * Whether packets to the address could end in one of these: it is such an address, or has one embedded. Never use it
 * for source addresses: a client that made up its address could gain rights.
 */
export function leadsInto(list: BlockList, text: string): boolean {
  return isIn(list, text) || embeddedIpv4(text).some((inside) => isIn(list, inside));
}

/**
 * The unit that limits count: an IPv4 address, or an IPv6 /64, the least that a customer gets. An IPv6 address with an
 * embedded IPv4 address counts as that IPv4 address: 6to4 alone gives each of them 65,536 /64 networks.
 * @param address other text is returned unchanged
 */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [plain = ""] = address.split("%", 1);
  const [inside] = embeddedIpv4(plain);
  if (inside !== undefined) return inside;
  const groups = groupsOfIpv6(plain).slice(0, 4);
  return groups.map((group) => group.toString(16)).join(":");
}
