/** IP addresses as text. */
import { isIP, isIPv4 } from "node:net";
import { groupsOfIpv6 } from "./embedded-ipv4.ts";

/** RFC 5952: an IPv6 address has many spellings and one canonical form. IPv4 addresses have one spelling here. */
export function canonicalAddress(address: string): string {
  return isIPv4(address) ? address : new URL(`http://[${address}]`).hostname.slice(1, -1);
}

/** The address in a URL's host, in canonical form; undefined if the host is a name. */
export function addressOfUrl(url: string): string | undefined {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  return isIP(host) === 0 ? undefined : host;
}

/**
 * The address `steps` after this one, such as 127.0.0.4 for 127.0.0.2 and 2. Only the last four octets count.
 * @param address without a zone
 */
export function addressAfter(address: string, steps: number): string {
  const after = (high: number, low: number): number => (high * 0x1_00_00 + low + steps) >>> 0;
  if (isIPv4(address)) {
    const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
    const next = after(a * 256 + b, c * 256 + d);
    return [next >>> 24, next >>> 16, next >>> 8, next].map((octet) => octet & 0xff).join(".");
  }
  const groups = groupsOfIpv6(address);
  const next = after(groups[6] ?? 0, groups[7] ?? 0);
  const hex = [...groups.slice(0, 6), next >>> 16, next & 0xffff].map((group) => group.toString(16));
  return canonicalAddress(hex.join(":"));
}
