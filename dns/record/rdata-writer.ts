/**
 * Writes the rdata of one record from left to right. Record types don't know where it goes: to the compiler, which may
 * compress names, or to plain octets (RFC 3597) for a record that is kept as RAW.
 *
 *   putUint16(into, record.preference);
 *   putName(into, record.exchange, "compressible");        00 0a 04 m a i l …
 *
 * A value that does not fit, or has no wire format, sets `isBroken`; everything written after that is meaningless.
 */
import { isMappedIpv4, readIpv4, readIpv6 } from "#base/ip-octets.ts";
import { nameToWire } from "./name-text.ts";

/** RDLENGTH is a 16-bit field. */
export const rdataOctetsMax = 65_535;

/** Octets that are valid UTF-8 are kept as text. */
export type Octets = string | Uint8Array;

/** RFC 3597 §4: only names in the types of RFC 1035 may be compressed. */
export type NameForm = "compressible" | "whole";

export interface Rdata {
  readonly bytes: Uint8Array;
  length: number;
  isBroken: boolean;
  /**
   * Puts a name as the zone writes it.
   * @param isTarget the record is an alias or a referral: the lookup continues at this name
   */
  addName(into: this, text: string, form: NameForm, isTarget: boolean): void;
}

/** Collects what `write` puts as plain octets; names are in normal form. If broken, `octets` is empty. */
export function plainRdata(write: (into: Rdata) => void): { octets: Uint8Array; length: number; isBroken: boolean } {
  plain.length = 0;
  plain.isBroken = false;
  write(plain);
  const { length, isBroken } = plain;
  return { octets: isBroken ? new Uint8Array(0) : plain.bytes.slice(0, length), length, isBroken };
}

const plain: Rdata = {
  bytes: new Uint8Array(rdataOctetsMax),
  length: 0,
  isBroken: false,
  addName(into, text) {
    putOctets(into, nameToWire(text));
  },
};

/** Whether this many more octets fit. If not, they are only counted, and the rdata is broken. */
export function hasRoom(into: Rdata, octets: number): boolean {
  if (into.length + octets <= rdataOctetsMax) return true;
  into.length += octets;
  into.isBroken = true;
  return false;
}

export function putUint8(into: Rdata, value: number): void {
  if (hasRoom(into, 1)) into.bytes[into.length++] = value;
}

export function putUint16(into: Rdata, value: number): void {
  if (!hasRoom(into, 2)) return;
  into.bytes[into.length++] = value >>> 8;
  into.bytes[into.length++] = value;
}

export function putUint32(into: Rdata, value: number): void {
  putUint16(into, value >>> 16);
  putUint16(into, value);
}

export function putOctets(into: Rdata, octets: Uint8Array): void {
  if (!hasRoom(into, octets.length)) return;
  into.bytes.set(octets, into.length);
  into.length += octets.length;
}

/** @param hex two digits per octet */
export function putHex(into: Rdata, hex: string): void {
  putOctets(into, Buffer.from(hex, "hex"));
}

/** Text that extends to the end of the rdata, without a length octet. */
export function putText(into: Rdata, text: Octets): void {
  putOctets(into, typeof text === "string" ? Buffer.from(text, "utf8") : text);
}

/** A character-string (RFC 1035 §3.3): a length octet and that many octets. */
export function putString(into: Rdata, text: Octets): void {
  const octets = typeof text === "string" ? Buffer.from(text, "utf8") : text;
  if (octets.length > 255) into.isBroken = true;
  else {
    putUint8(into, octets.length);
    putOctets(into, octets);
  }
}

/** An IPv4-mapped IPv6 address breaks the rdata, because clients can't use it. */
export function putAddress(into: Rdata, text: string, family: 4 | 6): void {
  const octets = family === 4 ? 4 : 16;
  if (!hasRoom(into, octets)) return;
  const isAddress =
    family === 4
      ? readIpv4(text, into.bytes, into.length)
      : readIpv6(text, into.bytes, into.length) && !isMappedIpv4(into.bytes, into.length);
  if (isAddress) into.length += octets;
  else into.isBroken = true;
}

export function putName(into: Rdata, text: string, form: NameForm): void {
  into.addName(into, text, form, false);
}

/** The name at which the lookup continues: the target of a referral or an alias. */
export function putTarget(into: Rdata, text: string, form: NameForm): void {
  into.addName(into, text, form, true);
}

/** Writes what `put` puts, after its length in 16 bits. */
export function putSized(into: Rdata, put: () => void): void {
  const at = into.length;
  putUint16(into, 0);
  put();
  const size = into.length - at - 2;
  if (into.isBroken) return;
  into.bytes[at] = size >>> 8;
  into.bytes[at + 1] = size;
}
