/**
 * Addresses and prefixes in BGP's encoding: a length in bits, then only as many octets as the length needs (RFC 4271
 * §4.3, RFC 4760 §5).
 */
import { isIP } from "node:net";

export type Family = 4 | 6;

export interface Prefix {
  readonly family: Family;
  /** In bits. */
  readonly length: number;
  /** ⌈length / 8⌉ octets; bits past the length are zero. */
  readonly octets: Uint8Array;
}

export const bitsOf = { 4: 32, 6: 128 } as const;

/** The 4 or 16 octets of an IP address; undefined when the text is not one. */
export function parseAddress(text: string): Uint8Array | undefined {
  const family = isIP(text);
  if (family === 4) return dotted(text);
  // A zone (fe80::1%eth0) is meaningful on this machine only.
  if (family !== 6 || text.includes("%")) return undefined;
  const [head = "", tail] = text.split("::");
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const octets = new Uint8Array(16);
  octets.set(left);
  octets.set(right, 16 - right.length);
  return octets;
}

function dotted(text: string): Uint8Array {
  return Uint8Array.from(text.split("."), Number);
}

/** Octets of the groups between colons, the last of which may be a dotted IPv4 address (RFC 4291 §2.2). */
function groups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return [...dotted(group)];
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** The address as text; IPv6 in its long form, which every parser reads. */
export function addressText(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join(".");
  const words = Array.from({ length: 8 }, (_, index) => ((octets[2 * index] ?? 0) << 8) | (octets[2 * index + 1] ?? 0));
  return words.map((word) => word.toString(16)).join(":");
}

/** Parses a prefix such as `192.0.2.0/24` and drops bits past the length; undefined when it is not a prefix. */
export function parsePrefix(text: string): Prefix | undefined {
  const [address = "", bits = "", ...rest] = text.split("/");
  const octets = parseAddress(address);
  if (octets === undefined || rest.length > 0 || !/^(?:0|[1-9]\d{0,2})$/.test(bits)) return undefined;
  const family: Family = octets.length === 4 ? 4 : 6;
  const length = Number(bits);
  return length <= bitsOf[family] ? { family, length, octets: cut(octets, length) } : undefined;
}

/** Length and octets, as encoded in a message. */
export function writePrefix({ length, octets }: Prefix): Uint8Array {
  return Uint8Array.from([length, ...octets]);
}

/**
 * Decodes a list of prefixes; undefined when the octets are not a list of prefixes of the family. Bits past a length
 * are irrelevant (RFC 4271 §4.3) and dropped.
 */
export function readPrefixes(bytes: Uint8Array, family: Family): Prefix[] | undefined {
  const prefixes: Prefix[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes[at] ?? 0;
    const end = at + 1 + Math.ceil(length / 8);
    if (length > bitsOf[family] || end > bytes.length) return undefined;
    prefixes.push({ family, length, octets: cut(bytes.subarray(at + 1, end), length) });
    at = end;
  }
  return prefixes;
}

function cut(octets: Uint8Array, length: number): Uint8Array {
  const kept = octets.slice(0, Math.ceil(length / 8));
  const last = kept.length - 1;
  if (length % 8 !== 0) kept[last] = (kept[last] ?? 0) & (0xff << (8 - (length % 8)));
  return kept;
}
