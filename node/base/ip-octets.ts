/** Converts IP addresses between text and octets. Reading an IPv4 address allocates nothing. */
import { isIPv6 } from "node:net";

/**
 * Writes the four octets of an IPv4 address.
 * @returns false if the text is not an IPv4 address; then the octets are undefined
 */
export function readIpv4(text: string, into: Uint8Array, at: number): boolean {
  let octet = -1;
  let index = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x2e) {
      if (octet < 0 || index === 3) return false;
      into[at + index++] = octet;
      octet = -1;
    } else if (char >= 0x30 && char <= 0x39 && octet !== 0) {
      octet = octet < 0 ? char - 0x30 : octet * 10 + char - 0x30;
      if (octet > 255) return false;
    } else return false;
  }
  if (octet < 0 || index !== 3) return false;
  into[at + 3] = octet;
  return true;
}

/**
 * Writes the 16 octets of an IPv6 address without a zone.
 * @returns false if the text is not an IPv6 address
 */
export function readIpv6(text: string, into: Uint8Array, at: number): boolean {
  if (!isIPv6(text) || text.includes("%")) return false;
  const [head = "", tail] = text.split("::");
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  into.fill(0, at, at + 16);
  left.forEach((octet, index) => (into[at + index] = octet));
  right.forEach((octet, index) => (into[at + 16 - right.length + index] = octet));
  return true;
}

function groupsOf(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >>> 8, value & 0xff];
  });
}

/** Whether the 16 octets are an IPv4-mapped IPv6 address: ::ffff:192.0.2.1 (RFC 4291 §2.5.5.2). */
export function isMappedIpv4(octets: Uint8Array, at: number): boolean {
  for (let i = at; i < at + 10; i++) if (octets[i] !== 0) return false;
  return octets[at + 10] === 0xff && octets[at + 11] === 0xff;
}

/** The text of an address of 4 or 16 octets; IPv6 as eight groups without `::`. */
export function textOfIp(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join(".");
  const groups: string[] = [];
  for (let at = 0; at < octets.length; at += 2) {
    groups.push((((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0)).toString(16));
  }
  return groups.join(":");
}
