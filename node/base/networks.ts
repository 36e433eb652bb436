/** Networks whose addresses can't be reached from another machine, and the network of a single customer. */
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
