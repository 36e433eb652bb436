/**
 * EDNS (RFC 6891): the OPT record's fields and the options that are understood here.
 *
 *   root name | type 41 | class = UDP size | TTL = extended rcode, version, DO and Z bits | options
 *
 * Client subnet (ECS, RFC 7871) is read strictly: a malformed option makes the query a FORMERR (§7.2.1). Cookies
 * (RFC 7873) are not given yet, but a cookie of an impossible length is a FORMERR all the same (§5.2.2). Every other
 * option is ignored, as RFC 6891 §6.1.2 demands.
 */
import { bitsOf, emptyAddress, type IpAddress } from "./address.ts";
import { byteAt, putUint16, uint16At } from "./bytes.ts";
import { optionCodes, recordTypes } from "./numbers.ts";

/** What we announce and the most that we send over UDP: it fits every path without fragments (DNS flag day 2020). */
export const udpSizeMax = 1232;
/** Without EDNS, and for anybody who announces less (RFC 1035 §2.3.4, RFC 6891 §6.2.5). */
export const udpSizeMin = 512;

const optHeaderLength = 11;
const dnssecOkBit = 0x80;

/** The client subnet of a query, as it was asked. */
export interface ClientSubnet {
  isPresent: boolean;
  /** 0 when the client sent the empty subnet of family 0, which some send for "use none" (as `dig +subnet=0` does). */
  familyNumber: 0 | 1 | 2;
  sourcePrefixLength: number;
  /** Zero past the prefix. Its `family` is meaningful only while familyNumber is not 0. */
  readonly address: IpAddress;
}

export interface Edns {
  isPresent: boolean;
  version: number;
  /** The client's UDP payload size, as it was sent. */
  udpSize: number;
  dnssecOk: boolean;
  readonly subnet: ClientSubnet;
}

export function emptyEdns(): Edns {
  return {
    isPresent: false,
    version: 0,
    udpSize: 0,
    dnssecOk: false,
    subnet: { isPresent: false, familyNumber: 0, sourcePrefixLength: 0, address: emptyAddress() },
  };
}

export function clearEdns(edns: Edns): void {
  edns.isPresent = false;
  edns.version = 0;
  edns.udpSize = 0;
  edns.dnssecOk = false;
  edns.subnet.isPresent = false;
}

/**
 * Reads the fixed fields of the OPT record whose class field stands at `at`. The options are read apart, by
 * readOptions(): a version that is not ours may lay them out otherwise.
 */
export function readOptFields(message: Uint8Array, at: number, edns: Edns): void {
  edns.isPresent = true;
  edns.udpSize = uint16At(message, at);
  edns.version = byteAt(message, at + 3);
  edns.dnssecOk = (byteAt(message, at + 4) & dnssecOkBit) !== 0;
}

/**
 * Reads the options in `message[start..end)`.
 * @returns false when one runs past the end, when the client subnet is malformed or there twice, or when a cookie
 *   has a length that no cookie has
 */
export function readOptions(message: Uint8Array, start: number, end: number, edns: Edns): boolean {
  let at = start;
  while (at < end) {
    if (at + 4 > end) return false;
    const code = uint16At(message, at);
    const length = uint16At(message, at + 2);
    at += 4;
    if (at + length > end) return false;
    if (code === optionCodes.CLIENT_SUBNET) {
      if (edns.subnet.isPresent || !readSubnet(message, at, length, edns.subnet)) return false;
      edns.subnet.isPresent = true;
    } else if (code === optionCodes.COOKIE) {
      // RFC 7873 §4: a client cookie of 8 octets, alone or with a server cookie of 8 to 32.
      if (length !== 8 && (length < 16 || length > 40)) return false;
    }
    at += length;
  }
  return true;
}

/** RFC 7871 §6: family, source prefix length, scope (0 in queries), then just the octets that the prefix needs. */
function readSubnet(message: Uint8Array, at: number, length: number, subnet: ClientSubnet): boolean {
  if (length < 4) return false;
  const family = uint16At(message, at);
  const source = byteAt(message, at + 2);
  if (byteAt(message, at + 3) !== 0) return false;
  subnet.address.bytes.fill(0);
  subnet.sourcePrefixLength = source;
  if (family === 0) {
    subnet.familyNumber = 0;
    return source === 0 && length === 4;
  }
  if (family !== 1 && family !== 2) return false;
  subnet.familyNumber = family;
  subnet.address.family = family === 1 ? 4 : 6;
  if (source > bitsOf(subnet.address.family)) return false;
  const octets = (source + 7) >> 3;
  if (length !== 4 + octets) return false;
  for (let i = 0; i < octets; i++) subnet.address.bytes[i] = byteAt(message, at + 4 + i);
  const bitsUsed = source & 7;
  return bitsUsed === 0 || (byteAt(message, at + 4 + octets - 1) & (0xff >> bitsUsed)) === 0;
}

/** Bytes that writeOpt() will write. */
export function optLength(edns: Edns): number {
  if (!edns.isPresent) return 0;
  return optHeaderLength + (edns.subnet.isPresent ? 8 + ((edns.subnet.sourcePrefixLength + 7) >> 3) : 0);
}

/**
 * Writes the OPT record of an answer: version 0, Z bits zero, DO as it was asked (RFC 3225 §3), and the client
 * subnet as it was asked with the answer's scope (RFC 7871 §7.2.1).
 * @param rcode the whole response code; its upper bits stand in the OPT record
 * @param scope prefix length for which this answer holds
 * @returns the offset after it
 */
export function writeOpt(out: Uint8Array, at: number, edns: Edns, rcode: number, scope: number): number {
  out[at] = 0;
  putUint16(out, at + 1, recordTypes.OPT);
  putUint16(out, at + 3, udpSizeMax);
  out[at + 5] = rcode >>> 4;
  out[at + 6] = 0;
  out[at + 7] = edns.dnssecOk ? dnssecOkBit : 0;
  out[at + 8] = 0;
  putUint16(out, at + 9, optLength(edns) - optHeaderLength);
  if (!edns.subnet.isPresent) return at + optHeaderLength;
  const { familyNumber, sourcePrefixLength, address } = edns.subnet;
  const octets = (sourcePrefixLength + 7) >> 3;
  putUint16(out, at + 11, optionCodes.CLIENT_SUBNET);
  putUint16(out, at + 13, 4 + octets);
  putUint16(out, at + 15, familyNumber);
  out[at + 17] = sourcePrefixLength;
  out[at + 18] = scope;
  for (let i = 0; i < octets; i++) out[at + 19 + i] = byteAt(address.bytes, i);
  return at + 19 + octets;
}
