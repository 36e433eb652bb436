/**
 * IP addresses as bytes, the only form in which the responder compares them. Text comes from sockets and from the fleet
 * document, and is made for people and the geo reader.
 */
import { isMappedIpv4, readIpv4, readIpv6, textOfIp } from "#base/ip-octets.ts";
import { byteAt } from "./bytes.ts";

export type Family = 4 | 6;

export interface IpAddress {
  family: Family;
  /** 16 octets; an IPv4 address fills the first four, the others are zero. */
  readonly bytes: Uint8Array;
}

/** Number of bits of an address of this family. */
export function bitsOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

export function emptyAddress(): IpAddress {
  return { family: 4, bytes: new Uint8Array(16) };
}

/** The address in `text` (a zone such as `%eth0` is ignored), or undefined if it is not an address. */
export function parseIp(text: string): IpAddress | undefined {
  const address = emptyAddress();
  return readIp(text, address) ? address : undefined;
}

/**
 * Reads `text` into `address`, without allocation for IPv4 in its usual form. An IPv4-mapped IPv6 address
 * (::ffff:192.0.2.1) is read as its IPv4 address.
 * @returns false if the text is not an address; then the content of `address` is undefined
 */
export function readIp(text: string, address: IpAddress): boolean {
  address.bytes.fill(0);
  if (readIpv4(text, address.bytes, 0)) {
    address.family = 4;
    return true;
  }
  const percent = text.indexOf("%");
  address.bytes.fill(0);
  address.family = 6;
  if (!readIpv6(percent < 0 ? text : text.slice(0, percent), address.bytes, 0)) return false;
  if (isMappedIpv4(address.bytes, 0)) {
    address.bytes.copyWithin(0, 12, 16);
    address.bytes.fill(0, 4);
    address.family = 4;
  }
  return true;
}

/** Text that `net.isIP` accepts; IPv6 without `::` shortening. */
export function ipToText(address: IpAddress): string {
  return textOfIp(address.family === 4 ? address.bytes.subarray(0, 4) : address.bytes);
}

/** Clears the bits after the first `prefixLength`. */
export function maskIp(address: IpAddress, prefixLength: number): void {
  const whole = prefixLength >> 3;
  const rest = prefixLength & 7;
  if (whole >= 16) return;
  if (rest === 0) address.bytes.fill(0, whole);
  else {
    address.bytes[whole] = byteAt(address.bytes, whole) & (0xff << (8 - rest));
    address.bytes.fill(0, whole + 1);
  }
}

/** An address with a prefix length, from `192.0.2.0/24` or from a bare address; bits past the prefix are cleared. */
export function parsePrefix(text: string): { address: IpAddress; prefixLength: number } | undefined {
  const [addressText = "", lengthText, ...more] = text.split("/");
  const address = parseIp(addressText);
  if (address === undefined || more.length > 0) return undefined;
  const bits = bitsOf(address.family);
  if (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) return undefined;
  const prefixLength = lengthText === undefined ? bits : Number(lengthText);
  if (prefixLength > bits) return undefined;
  maskIp(address, prefixLength);
  return { address, prefixLength };
}

/** Bit `index` of the address, from the left: 0 or 1. */
export function bitAt(address: IpAddress, index: number): number {
  return (byteAt(address.bytes, index >> 3) >> (7 - (index & 7))) & 1;
}
