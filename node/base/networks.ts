/** Networks in which no node of a fleet can be reached from another machine, and the network of a single customer. */
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

/** Addresses of the machine itself: right only for a trial on one machine. */
export const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

/**
 * Whether the text is an address of one of these; one with a zone (`fe80::1%eth0`) is link-local. What is refused by
 * its address must be asked of leadsInto().
 */
export function isIn(list: BlockList, text: string): boolean {
  if (text.includes("%")) return list === unreachable;
  return isIP(text) !== 0 && list.check(text, isIPv4(text) ? "ipv4" : "ipv6");
}

/**
 * Whether packets to the address could end in one of these: it is such an address, or has one inside. Never to be asked
 * of where somebody comes from, since that would give rights to who made the address up.
 */
export function leadsInto(list: BlockList, text: string): boolean {
  return isIn(list, text) || embeddedIpv4(text).some((inside) => isIn(list, inside));
}

/**
 * Whom limits count as one: an IPv4 address, or the IPv6 /64 that a single customer has at least. An IPv4 address in
 * IPv6 clothes is that IPv4 address: 6to4 alone has 65,536 /64 networks for each.
 * @param address what is no address is returned as it is
 */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [plain = ""] = address.split("%", 1);
  const [inside] = embeddedIpv4(plain);
  if (inside !== undefined) return inside;
  const groups = groupsOfIpv6(plain).slice(0, 4);
  return groups.map((group) => group.toString(16)).join(":");
}
