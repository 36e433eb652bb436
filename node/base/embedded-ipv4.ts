/**
 * The IPv4 addresses embedded in an IPv6 address. A translator or a tunnel delivers packets for such an address to the
 * embedded IPv4 address, so code that checks addresses must check that one, too: `64:ff9b::a9fe:a9fe` leads to
 * 169.254.169.254. Pure.
 *
 *   ::ffff:V4           mapped (RFC 4291 §2.5.5.2)         ::V4              compatible (RFC 4291 §2.5.5.1)
 *   ::ffff:0:V4         translated (RFC 2765 §2.1)         64:ff9b::V4       NAT64 (RFC 6052 §2.1)
 *   64:ff9b:1:…         local NAT64 (RFC 8215), with V4 at one of the places of RFC 6052 §2.2
 *   2002:V4:…           6to4 (RFC 3056 §2)                 2001:0:V4:…:~V4   Teredo: server, client (RFC 4380 §4)
 */
import { isIPv6 } from "node:net";

/** The eight 16-bit groups. @param address IPv6, without a zone */
export function groupsOfIpv6(address: string): number[] {
  // The URL parser converts all spellings of an address to one form (RFC 5952).
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const read = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const [left, right] = [read(head), read(tail ?? "")];
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}

/** In dotted form, the likeliest first; empty for a plain IPv6 address, an IPv4 address, or text that is neither. */
export function embeddedIpv4(address: string): string[] {
  if (!isIPv6(address) || address.includes("%")) return [];
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = groupsOfIpv6(address);
  const last = dotted(g, h);
  const isZeroTo = (count: number): boolean => [a, b, c, d, e, f].slice(0, count).every((group) => group === 0);
  if (isZeroTo(6)) return g === 0 && h <= 1 ? [] : [last]; // `::` and `::1` are addresses of their own
  if (isZeroTo(5) && f === 0xffff) return [last];
  if (isZeroTo(4) && e === 0xffff && f === 0) return [last];
  if (a === 0x64 && b === 0xff9b && c === 0 && d === 0 && e === 0 && f === 0) return [last];
  if (a === 0x64 && b === 0xff9b && c === 1) return inLocalNat64(d, e, f, g, h);
  if (a === 0x2002) return [dotted(b, c)];
  if (a === 0x2001 && b === 0) return [dotted(g ^ 0xffff, h ^ 0xffff), dotted(c, d)];
  return [];
}

/**
 * Only the translator knows the prefix's length: /96, /64, /56 or /48. Bits 64 to 71 belong to neither prefix nor
 * address. A reading at the wrong position usually begins with zeros, so such readings count only if there is no other.
 */
function inLocalNat64(d: number, e: number, f: number, g: number, h: number): string[] {
  const found = new Set([
    dotted(g, h),
    dotted(((e & 0xff) << 8) | (f >> 8), ((f & 0xff) << 8) | (g >> 8)),
    dotted(((d & 0xff) << 8) | (e & 0xff), f),
    dotted(d, ((e & 0xff) << 8) | (f >> 8)),
  ]);
  const likely = [...found].filter((one) => !one.startsWith("0."));
  return likely.length > 0 ? likely : [...found];
}

function dotted(high: number, low: number): string {
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`;
}
