/**
 * IP addresses as bytes, the only form in which the responder compares them. Text comes from sockets and from the
 * fleet document, and goes to people and to the geo reader.
 */
import { isIP } from "node:net";
import { byteAt, uint16At } from "./bytes.ts";

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

/** The address in `text` (a zone such as `%eth0` is ignored), or undefined when it is none. */
export function parseIp(text: string): IpAddress | undefined {
  const address = emptyAddress();
  return readIp(text, address) ? address : undefined;
}

/**
 * Reads `text` into `address`, without allocation for IPv4 in its usual form. An IPv4-mapped IPv6 address
 * (::ffff:192.0.2.1) is read as the IPv4 address that it is.
 * @returns false, and leaves no promise about `address`, when the text is no address
 */
export function readIp(text: string, address: IpAddress): boolean {
  address.bytes.fill(0);
  if (readDotted(text, address.bytes)) {
    address.family = 4;
    return true;
  }
  const percent = text.indexOf("%");
  const bare = percent < 0 ? text : text.slice(0, percent);
  if (isIP(bare) !== 6) return false;
  address.bytes.fill(0);
  address.family = 6;
  readColons(bare, address.bytes);
  if (isMapped(address.bytes)) {
    address.bytes.copyWithin(0, 12, 16);
    address.bytes.fill(0, 4);
    address.family = 4;
  }
  return true;
}

function readDotted(text: string, into: Uint8Array): boolean {
  let octet = -1;
  let index = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x2e) {
      if (octet < 0 || index === 3) return false;
      into[index++] = octet;
      octet = -1;
    } else if (char >= 0x30 && char <= 0x39 && octet !== 0) {
      octet = octet < 0 ? char - 0x30 : octet * 10 + char - 0x30;
      if (octet > 255) return false;
    } else return false;
  }
  if (octet < 0 || index !== 3) return false;
  into[3] = octet;
  return true;
}

/** @param text a valid IPv6 address without zone */
function readColons(text: string, into: Uint8Array): void {
  const [head = "", tail] = text.split("::");
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  left.forEach((octet, index) => (into[index] = octet));
  right.forEach((octet, index) => (into[16 - right.length + index] = octet));
}

function groupsOf(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >>> 8, value & 0xff];
  });
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Text that `net.isIP` accepts; IPv6 without `::` shortening. */
export function ipToText(address: IpAddress): string {
  const bytes = address.bytes;
  if (address.family === 4) {
    return `${byteAt(bytes, 0)}.${byteAt(bytes, 1)}.${byteAt(bytes, 2)}.${byteAt(bytes, 3)}`;
  }
  let text = uint16At(bytes, 0).toString(16);
  for (let i = 2; i < 16; i += 2) text += `:${uint16At(bytes, i).toString(16)}`;
  return text;
}

/** Sets the bits after the first `prefixLength` to zero. */
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
