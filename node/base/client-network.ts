/**
 * The network of a client: the unit by which everything shared is shared fairly (connections to an origin, memory,
 * renderings). A /24 of IPv4 or a /56 of IPv6: one customer's or one small site's. One address per client would let
 * anyone with a network of addresses take a share for each of them. Pure.
 */
import { isIPv4, isIPv6 } from "node:net";
import { embeddedIpv4, groupsOfIpv6 } from "./embedded-ipv4.ts";
import { canonicalAddress } from "./ip-text.ts";

/** For a client whose address is not known, such as one whose connection is already closed. */
const unknownNetwork = "unknown";

/**
 * The network as text: `192.0.2.0/24` or `2001:db8:0:ff00::/56`. An IPv6 address with an embedded IPv4 address counts
 * as that IPv4 address.
 * @param address of the client, with or without a zone
 * @returns `unknownNetwork` for text that is not an address
 */
export function clientNetworkOf(address: string | undefined): string {
  const [plain = ""] = (address ?? "").split("%", 1);
  if (isIPv4(plain)) return networkOfIpv4(plain);
  if (!isIPv6(plain)) return unknownNetwork;
  const [inside] = embeddedIpv4(plain);
  if (inside !== undefined) return networkOfIpv4(inside);
  const [a = 0, b = 0, c = 0, d = 0] = groupsOfIpv6(plain);
  const groups = [a, b, c, d & 0xff00].map((group) => group.toString(16));
  return `${canonicalAddress(`${groups.join(":")}::`)}/56`;
}

/** The text as it came if it is a network exactly as clientNetworkOf() writes it; otherwise undefined. */
export function readClientNetwork(text: string): string | undefined {
  const [address = ""] = text.split("/", 1);
  return text !== unknownNetwork && clientNetworkOf(address) === text ? text : undefined;
}

function networkOfIpv4(address: string): string {
  return `${address.slice(0, address.lastIndexOf("."))}.0/24`;
}
