/**
 * EDNS (RFC 6891): the fields of the OPT record, and the options that nearcast supports.
 *
 *   root name | type 41 | class = UDP size | TTL = extended rcode, version, DO and Z bits | options
 *
 *   option          in a query                                      in the answer
 *   NSID            a request, whatever it holds (RFC 5001 §2.2)    the server's name, if it has one
 *   client subnet   strict, twice is malformed (RFC 7871 §7.2.1)    as in the query, with the answer's scope
 *   COOKIE          strict, the first counts (RFC 7873 §5.2)        the client's part and a server cookie
 *   TCP keepalive   strict over TCP, nothing over UDP (RFC 7828)    how long the connection may be idle
 *   padding         ignored                                         never: nothing here is encrypted (RFC 7830 §6)
 *   EDE             ignored                                         the reason of an error (RFC 8914), without text
 *   others          ignored (RFC 6891 §6.1.2)                       never
 *
 * A malformed option makes the query a FORMERR. The other options are still read, so that this answer, too, carries the
 * cookie without which the client would not accept it (RFC 7873 §5.3). An option that runs past the end of the record
 * ends the parsing.
 */
import { bitsOf, emptyAddress, type IpAddress } from "./address.ts";
import { byteAt, putUint16, uint16At } from "./bytes.ts";
import { recordTypes } from "./numbers.ts";

/**
 * The size that we announce and the most that we send over UDP. It fits every path without fragmentation (DNS flag day
 * 2020).
 */
export const udpSizeMax = 1232;
/** Used without EDNS, and for clients that announce less (RFC 1035 §2.3.4, RFC 6891 §6.2.5). */
export const udpSizeMin = 512;

const optHeaderLength = 11;
const optionHeaderLength = 4;
const dnssecOkBit = 0x80;

/** IANA "DNS EDNS0 Option Codes (OPT)". */
const codeNsid = 3;
const codeSubnet = 8;
const codeCookie = 10;
const codeKeepalive = 11;
const codeExtendedError = 15;

export const clientCookieLength = 8;
/** Length of our server cookies (RFC 9018 §4). Other servers use 8 to 32 octets. */
export const serverCookieLength = 16;
const cookieLengthMin = clientCookieLength + 8;
const cookieLengthMax = clientCookieLength + 32;

/** The client subnet of a query, as sent. */
export interface ClientSubnet {
  isPresent: boolean;
  /** 0 if the client sent the empty subnet of family 0, which some clients use for "none" (such as `dig +subnet=0`). */
  familyNumber: 0 | 1 | 2;
  sourcePrefixLength: number;
  /** Zero past the prefix. Its `family` is meaningful only while familyNumber is not 0. */
  readonly address: IpAddress;
}

/** The COOKIE option of a query, as sent. */
export interface SentCookie {
  /** 0: none; 8: the client's part alone; 16 to 40: with a server cookie, ours or another server's. */
  length: number;
  /** 40 octets; the first `length` are valid. */
  readonly bytes: Uint8Array;
}

export interface Edns {
  isPresent: boolean;
  version: number;
  /** The client's UDP payload size, as sent. */
  udpSize: number;
  dnssecOk: boolean;
  readonly subnet: ClientSubnet;
  readonly cookie: SentCookie;
  isNsidAsked: boolean;
  isKeepaliveAsked: boolean;
  /**
   * A keepalive with a timeout, which only servers may send (RFC 7828 §3.2.1). Over TCP the answer is FORMERR; over
   * UDP the option must be ignored whatever it holds (§3.3.1), so this alone does not make a query malformed.
   */
  isKeepaliveMalformed: boolean;
}

/** The parts of an answer's OPT record that the query does not determine. One object is reused for all answers. */
export interface OptReply {
  /** Prefix length for which this answer is valid; written only with a client subnet. */
  scope: number;
  /** INFO-CODE of an extended error (RFC 8914 §4), or -1. */
  extendedError: number;
  /** Whether to send `serverCookie`; written only if the query had a cookie. */
  hasServerCookie: boolean;
  /** 16 octets. */
  readonly serverCookie: Uint8Array;
  /** Written only if the query asked for it. */
  nsid: Uint8Array | undefined;
  /**
   * Idle timeout of the connection in units of 100 ms (`Client.keepaliveTenths`), or -1; written only if the query
   * asked for it. Always -1 over UDP (RFC 7828 §3.3.2).
   */
  keepaliveTenths: number;
}

export function emptyEdns(): Edns {
  return {
    isPresent: false,
    version: 0,
    udpSize: 0,
    dnssecOk: false,
    subnet: { isPresent: false, familyNumber: 0, sourcePrefixLength: 0, address: emptyAddress() },
    cookie: { length: 0, bytes: new Uint8Array(cookieLengthMax) },
    isNsidAsked: false,
    isKeepaliveAsked: false,
    isKeepaliveMalformed: false,
  };
}

export function clearEdns(edns: Edns): void {
  edns.isPresent = false;
  edns.version = 0;
  edns.udpSize = 0;
  edns.dnssecOk = false;
  edns.subnet.isPresent = false;
  edns.cookie.length = 0;
  edns.isNsidAsked = false;
  edns.isKeepaliveAsked = false;
  edns.isKeepaliveMalformed = false;
}

/** Writes only the fixed fields until something is set. */
export function emptyOptReply(): OptReply {
  return {
    scope: 0,
    extendedError: -1,
    hasServerCookie: false,
    serverCookie: new Uint8Array(serverCookieLength),
    nsid: undefined,
    keepaliveTenths: -1,
  };
}

/**
 * Reads the fixed fields of the OPT record whose class field is at `at`. readOptions() reads the options separately,
 * since another EDNS version may use a different format.
 */
export function readOptFields(message: Uint8Array, at: number, edns: Edns): void {
  edns.isPresent = true;
  edns.udpSize = uint16At(message, at);
  edns.version = byteAt(message, at + 3);
  edns.dnssecOk = (byteAt(message, at + 4) & dnssecOkBit) !== 0;
}

/**
 * Reads the options in `message[start..end)`. Each takes one loop iteration and at least 4 octets.
 * @returns the number of options; if one is malformed, -1 minus that number
 */
export function readOptions(message: Uint8Array, start: number, end: number, edns: Edns): number {
  let at = start;
  let count = 0;
  let isMalformed = false;
  let hasSubnet = false;
  let hasCookie = false;
  while (at < end) {
    count++;
    if (at + optionHeaderLength > end) return -1 - count;
    const code = uint16At(message, at);
    const length = uint16At(message, at + 2);
    at += optionHeaderLength;
    if (at + length > end) return -1 - count;
    if (code === codeSubnet) {
      // With two subnets, neither counts: the resolver could have meant either.
      const isGood = !hasSubnet && readSubnet(message, at, length, edns.subnet);
      hasSubnet = true;
      edns.subnet.isPresent = isGood;
      if (!isGood) isMalformed = true;
    } else if (code === codeCookie) {
      if (!hasCookie && !readCookie(message, at, length, edns.cookie)) isMalformed = true;
      hasCookie = true;
    } else if (code === codeNsid) {
      edns.isNsidAsked = true;
    } else if (code === codeKeepalive) {
      if (length === 0) edns.isKeepaliveAsked = true;
      else edns.isKeepaliveMalformed = true;
    }
    at += length;
  }
  return isMalformed ? -1 - count : count;
}

/** RFC 7871 §6: family, source prefix length, scope (0 in queries), then only the octets that the prefix needs. */
function readSubnet(message: Uint8Array, at: number, length: number, subnet: ClientSubnet): boolean {
  if (length < 4) return false;
  const family = uint16At(message, at);
  const source = byteAt(message, at + 2);
  if (byteAt(message, at + 3) !== 0) return false;
  const { bytes } = subnet.address;
  for (let i = 0; i < 16; i++) bytes[i] = 0;
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
  for (let i = 0; i < octets; i++) bytes[i] = byteAt(message, at + 4 + i);
  const bitsUsed = source & 7;
  return bitsUsed === 0 || (byteAt(message, at + 4 + octets - 1) & (0xff >> bitsUsed)) === 0;
}

/** RFC 7873 §4: a client cookie of 8 octets, alone or with a server cookie of 8 to 32. */
function readCookie(message: Uint8Array, at: number, length: number, cookie: SentCookie): boolean {
  if (length !== clientCookieLength && (length < cookieLengthMin || length > cookieLengthMax)) return false;
  for (let i = 0; i < length; i++) cookie.bytes[i] = byteAt(message, at + i);
  cookie.length = length;
  return true;
}

/** Number of octets that writeOpt() writes for the same arguments; 0 if the query had no OPT record. */
export function optLength(edns: Edns, reply: OptReply): number {
  if (!edns.isPresent) return 0;
  let length = optHeaderLength;
  if (edns.subnet.isPresent) length += optionHeaderLength + 4 + ((edns.subnet.sourcePrefixLength + 7) >> 3);
  if (edns.cookie.length > 0 && reply.hasServerCookie) {
    length += optionHeaderLength + clientCookieLength + serverCookieLength;
  }
  if (edns.isNsidAsked && reply.nsid !== undefined) length += optionHeaderLength + reply.nsid.length;
  if (edns.isKeepaliveAsked && reply.keepaliveTenths >= 0) length += optionHeaderLength + 2;
  if (reply.extendedError >= 0) length += optionHeaderLength + 2;
  return length;
}

/**
 * Writes the OPT record of an answer: version 0, Z bits zero, DO copied from the query (RFC 3225 §3), and the options
 * of the table above. Only for a query that had an OPT record (RFC 6891 §6.1.1).
 * @param rcode the whole response code; its upper bits go into the OPT record
 * @returns the offset after it
 */
export function writeOpt(out: Uint8Array, at: number, edns: Edns, rcode: number, reply: OptReply): number {
  out[at] = 0;
  putUint16(out, at + 1, recordTypes.OPT);
  putUint16(out, at + 3, udpSizeMax);
  out[at + 5] = rcode >>> 4;
  out[at + 6] = 0;
  out[at + 7] = edns.dnssecOk ? dnssecOkBit : 0;
  out[at + 8] = 0;
  let next = at + optHeaderLength;
  if (edns.subnet.isPresent) next = writeSubnet(out, next, edns.subnet, reply.scope);
  if (edns.cookie.length > 0 && reply.hasServerCookie) {
    next = writeOptionHeader(out, next, codeCookie, clientCookieLength + serverCookieLength);
    for (let i = 0; i < clientCookieLength; i++) out[next++] = byteAt(edns.cookie.bytes, i);
    for (let i = 0; i < serverCookieLength; i++) out[next++] = byteAt(reply.serverCookie, i);
  }
  const { nsid } = reply;
  if (edns.isNsidAsked && nsid !== undefined) {
    next = writeOptionHeader(out, next, codeNsid, nsid.length);
    for (let i = 0; i < nsid.length; i++) out[next++] = byteAt(nsid, i);
  }
  if (edns.isKeepaliveAsked && reply.keepaliveTenths >= 0) {
    next = writeOptionHeader(out, next, codeKeepalive, 2);
    putUint16(out, next, reply.keepaliveTenths);
    next += 2;
  }
  if (reply.extendedError >= 0) {
    next = writeOptionHeader(out, next, codeExtendedError, 2);
    putUint16(out, next, reply.extendedError);
    next += 2;
  }
  putUint16(out, at + 9, next - at - optHeaderLength);
  return next;
}

function writeSubnet(out: Uint8Array, at: number, subnet: ClientSubnet, scope: number): number {
  const { familyNumber, sourcePrefixLength } = subnet;
  const { bytes } = subnet.address;
  const octets = (sourcePrefixLength + 7) >> 3;
  const next = writeOptionHeader(out, at, codeSubnet, 4 + octets);
  putUint16(out, next, familyNumber);
  out[next + 2] = sourcePrefixLength;
  out[next + 3] = scope;
  for (let i = 0; i < octets; i++) out[next + 4 + i] = byteAt(bytes, i);
  return next + 4 + octets;
}

function writeOptionHeader(out: Uint8Array, at: number, code: number, length: number): number {
  putUint16(out, at, code);
  putUint16(out, at + 2, length);
  return at + optionHeaderLength;
}
