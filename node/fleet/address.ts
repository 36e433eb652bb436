/** IP addresses as texts. */
import { isIP, isIPv4 } from "node:net";

/** RFC 5952: an IPv6 address has many spellings and one canonical form. IPv4 addresses have one spelling here. */
export function canonicalAddress(address: string): string {
  return isIPv4(address) ? address : new URL(`http://[${address}]`).hostname.slice(1, -1);
}

/** The address in a URL's host, in canonical form; undefined when the host is a name. */
export function addressOfUrl(url: string): string | undefined {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  return isIP(host) === 0 ? undefined : host;
}
