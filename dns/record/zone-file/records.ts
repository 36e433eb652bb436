/**
 * The data of each record type, from its presentation to a record of the fleet document (node/document/document.ts).
 *
 *   types that the document knows             their own kind
 *   further types of the tables below         RAW: the type's number and its rdata
 *   TYPE65280 \# 4 0a000001  (RFC 3597 §5)    RAW; the own kind where the responder must understand the data
 *   ALIAS, ANAME                              ALIAS, as PowerDNS has it
 */
import { isIPv4, isIPv6 } from "node:net";
import type { ZoneRecord } from "../zone-record.ts";
import type { ZoneSoa } from "../zone.ts";
import {
  characterStringOctetsMax,
  type Fields,
  hasFlag,
  hasMore,
  type Octets,
  octetsOfText,
  rawField,
  refuse,
  takeBase64,
  takeHex,
  takeName,
  takeNumber,
  takeOctets,
  takeTime,
  takeWord,
} from "./fields.ts";
import { fieldFlags } from "./scan.ts";
import { readSvcParams, takeSvcParams } from "./svc-params.ts";
import { kindOfNumber, numberOfKind, whyNotServed } from "./type-numbers.ts";
import { quote } from "./words.ts";
import {
  addressText,
  isAtEnd,
  nameToWire,
  readName,
  readOctets,
  readUint16,
  readUint32,
  uint16,
  uint32,
  uint8,
  wireReader,
} from "./wire.ts";

const soaNumber = 6;
const rdataOctetsMax = 65_535;
const uint8Max = 255;
const uint16Max = 65_535;
const uint32Max = 4_294_967_295;

/** What a record of any type begins with. */
interface Start {
  readonly name: string;
  readonly ttlSeconds: number;
}

type Reader = (fields: Fields, start: Start) => ZoneRecord;

/**
 * Reads the fields that follow the type.
 * @returns undefined when `fields` has a problem
 */
export function takeRecord(fields: Fields, type: string, start: Start): ZoneRecord | undefined {
  const record = takeData(fields, type, start);
  if (record !== undefined && hasMore(fields)) {
    const extra = quote(rawField(fields, fields.next));
    refuse(fields, `${extra} is more than a record of type ${quote(type)} has`, fields.next);
  }
  return fields.problem === "" ? record : undefined;
}

function takeData(fields: Fields, type: string, start: Start): ZoneRecord | undefined {
  const typeField = fields.next - 1;
  const isGeneric = isGenericNext(fields);
  const known = readers.get(type);
  if (known !== undefined && !isGeneric) return known(fields, start);
  const number = typeNumberFrom(type);
  const reader = readers.get(number === undefined ? type.toUpperCase() : (kindOfNumber(number) ?? ""));
  if (reader !== undefined && !isGeneric) return reader(fields, start);
  if (number === undefined) {
    refuse(fields, `${quote(type)} is not a record type`, typeField);
    return undefined;
  }
  const why = whyNotServed(number);
  if (why !== undefined) {
    refuse(fields, `${quote(type)}: ${why}`, typeField);
    return undefined;
  }
  if (isGeneric) {
    const rdata = takeGeneric(fields);
    if (fields.problem !== "") return undefined;
    const record = recordFromRdata(number, rdata, start);
    if (record === undefined) refuse(fields, `these octets are no data of type ${quote(type)}`);
    return record;
  }
  const format = rawFormats.get(number);
  if (format !== undefined) return raw(fields, start, number, takeFormat(fields, format));
  refuse(fields, `data of type ${quote(type)} is read only as \\# LENGTH HEX (RFC 3597)`, typeField);
  return undefined;
}

/** RFC 3597 §5: `\#`, the number of octets, the octets in hexadecimal. */
function isGenericNext(fields: Fields): boolean {
  const { scanner, next } = fields;
  // The length first: it is cheap, and this is asked for each record.
  if (next >= scanner.fieldsCount || (scanner.ends[next] ?? 0) - (scanner.starts[next] ?? 0) !== 2) return false;
  return rawField(fields, next) === "\\#" && !hasFlag(fields, next, fieldFlags.quoted);
}

function takeGeneric(fields: Fields): Buffer {
  fields.next += 1;
  const length = takeNumber(fields, "a length of rdata", rdataOctetsMax);
  const lengthField = fields.next - 1;
  const hex = hasMore(fields) || length > 0 ? takeHex(fields, "the data") : "";
  if (hex.length !== length * 2) {
    refuse(fields, `the length ${length} is not that of the ${hex.length / 2} octets after it`, lengthField);
  }
  return Buffer.from(hex, "hex");
}

/** The record that this rdata is; undefined when it is malformed. */
function recordFromRdata(number: number, rdata: Buffer, start: Start): ZoneRecord | undefined {
  const reader = wireReader(rdata);
  const record = ((): ZoneRecord => {
    switch (number) {
      case 1:
        return { ...start, type: "A", address: addressText(readOctets(reader, 4)) };
      case 28:
        return { ...start, type: "AAAA", address: addressText(readOctets(reader, 16)) };
      case 2:
        return { ...start, type: "NS", target: readName(reader) };
      case 5:
        return { ...start, type: "CNAME", target: readName(reader) };
      case 12:
        return { ...start, type: "PTR", target: readName(reader) };
      case 39:
        return { ...start, type: "DNAME", target: readName(reader) };
      case 15:
        return { ...start, type: "MX", preference: readUint16(reader), exchange: readName(reader) };
      case 64:
      case 65: {
        const type = number === 64 ? "SVCB" : "HTTPS";
        const priority = readUint16(reader);
        const target = readName(reader);
        const params = readSvcParams(reader);
        if (params === undefined) reader.isBroken = true;
        return { ...start, type, priority, target, params: params ?? {} };
      }
      default:
        reader.at = rdata.length;
        return rawRecord(start, number, rdata);
    }
  })();
  return reader.isBroken || !isAtEnd(reader) ? undefined : record;
}

function rawRecord(start: Start, typeNumber: number, rdata: Buffer): ZoneRecord {
  return { ...start, type: "RAW", typeNumber, data: rdata.toString("hex") };
}

function raw(fields: Fields, start: Start, typeNumber: number, rdata: Buffer): ZoneRecord {
  if (rdata.length > rdataOctetsMax) {
    refuse(fields, `the data has ${rdata.length} octets, above ${rdataOctetsMax}`);
  }
  return rawRecord(start, typeNumber, rdata);
}

const target = (type: "NS" | "CNAME" | "PTR" | "DNAME" | "ALIAS"): Reader => {
  return (fields, { name, ttlSeconds }) => ({ name, type, ttlSeconds, target: takeName(fields, "a name") });
};

const service = (type: "SVCB" | "HTTPS"): Reader => {
  return (fields, { name, ttlSeconds }) => {
    const priority = takeNumber(fields, "a priority", uint16Max);
    return { name, type, ttlSeconds, priority, target: takeName(fields, "a name"), params: takeSvcParams(fields) };
  };
};

/** By mnemonic, in capitals. Types that the document has a kind for. */
const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  [
    "A",
    (fields, { name, ttlSeconds }) => {
      const address = takeWord(fields, "an IPv4 address");
      if (!isIPv4(address)) refuse(fields, `${quote(address)} is not an IPv4 address`);
      return { name, type: "A", ttlSeconds, address };
    },
  ],
  [
    "AAAA",
    (fields, { name, ttlSeconds }) => {
      const address = takeWord(fields, "an IPv6 address");
      if (!isIPv6(address) || address.includes("%")) refuse(fields, `${quote(address)} is not an IPv6 address`);
      return { name, type: "AAAA", ttlSeconds, address };
    },
  ],
  ["NS", target("NS")],
  ["CNAME", target("CNAME")],
  ["PTR", target("PTR")],
  ["DNAME", target("DNAME")],
  ["ALIAS", target("ALIAS")],
  ["ANAME", target("ALIAS")],
  ["SVCB", service("SVCB")],
  ["HTTPS", service("HTTPS")],
  [
    "MX",
    (fields, { name, ttlSeconds }) => {
      const preference = takeNumber(fields, "a preference", uint16Max);
      return { name, type: "MX", ttlSeconds, preference, exchange: takeName(fields, "a mail server's name") };
    },
  ],
  [
    "SRV",
    (fields, { name, ttlSeconds }) => {
      const priority = takeNumber(fields, "a priority", uint16Max);
      const weight = takeNumber(fields, "a weight", uint16Max);
      const port = takeNumber(fields, "a port", uint16Max);
      return { name, type: "SRV", ttlSeconds, priority, weight, port, target: takeName(fields, "a name") };
    },
  ],
  ["TXT", takeText],
  [
    "CAA",
    (fields, start) => {
      const flags = takeNumber(fields, "flags", uint8Max);
      const tag = takeWord(fields, "a tag");
      if (!/^[A-Za-z0-9]{1,15}$/.test(tag)) refuse(fields, `${quote(tag)} is not a tag (1-15 letters or digits)`);
      const value = takeOctets(fields, "a value", rdataOctetsMax - 2 - tag.length);
      if (typeof value === "string") return { ...start, type: "CAA", flags, tag, value };
      return rawRecord(start, 257, Buffer.concat([uint8(flags), uint8(tag.length), Buffer.from(tag), value]));
    },
  ],
  [
    "NAPTR",
    (fields, start) => {
      const order = takeNumber(fields, "an order", uint16Max);
      const preference = takeNumber(fields, "a preference", uint16Max);
      const flags = takeWord(fields, "flags");
      if (!/^[A-Za-z0-9]{0,16}$/.test(flags)) refuse(fields, `${quote(flags)} is not flags (0-16 letters or digits)`);
      const services = takeOctets(fields, "services", characterStringOctetsMax);
      const regexp = takeOctets(fields, "a regular expression", characterStringOctetsMax);
      const replacement = takeName(fields, "a replacement");
      if (typeof services === "string" && typeof regexp === "string") {
        return { ...start, type: "NAPTR", order, preference, flags, services, regexp, replacement };
      }
      const strings = [flags, services, regexp].map(characterString);
      return rawRecord(
        start,
        35,
        Buffer.concat([uint16(order), uint16(preference), ...strings, nameToWire(replacement)]),
      );
    },
  ],
  [
    "TLSA",
    (fields, { name, ttlSeconds }) => {
      const usage = takeNumber(fields, "a usage", uint8Max);
      const selector = takeNumber(fields, "a selector", uint8Max);
      const matchingType = takeNumber(fields, "a matching type", uint8Max);
      return { name, type: "TLSA", ttlSeconds, usage, selector, matchingType, data: takeDigest(fields) };
    },
  ],
  [
    "SSHFP",
    (fields, { name, ttlSeconds }) => {
      const algorithm = takeNumber(fields, "an algorithm", uint8Max);
      const fingerprintType = takeNumber(fields, "a fingerprint type", uint8Max);
      return { name, type: "SSHFP", ttlSeconds, algorithm, fingerprintType, fingerprint: takeDigest(fields) };
    },
  ],
  [
    "DS",
    (fields, { name, ttlSeconds }) => {
      const keyTag = takeNumber(fields, "a key tag", uint16Max);
      const algorithm = takeAlgorithm(fields);
      const digestType = takeNumber(fields, "a digest type", uint8Max);
      return { name, type: "DS", ttlSeconds, keyTag, algorithm, digestType, digest: takeDigest(fields) };
    },
  ],
]);

function takeDigest(fields: Fields): string {
  const hex = takeHex(fields, "the data");
  if (hex.length > 2 * rdataOctetsMax - 8) refuse(fields, `the data has more than ${rdataOctetsMax} octets`);
  return hex;
}

/** TXT (RFC 1035 §3.3.14); RAW where an octet is not part of UTF-8 text. */
function takeText(fields: Fields, start: Start): ZoneRecord {
  const strings = takeStrings(fields);
  const text = strings.filter((string) => typeof string === "string");
  if (text.length === strings.length) return { ...start, type: "TXT", text };
  return raw(fields, start, 16, Buffer.concat(strings.map(characterString)));
}

function takeStrings(fields: Fields): Octets[] {
  const strings = [takeOctets(fields, "a text", characterStringOctetsMax)];
  let octets = 0;
  while (hasMore(fields)) strings.push(takeOctets(fields, "a text", characterStringOctetsMax));
  for (const string of strings) octets += 1 + Buffer.byteLength(string);
  if (octets > rdataOctetsMax)
    refuse(fields, `the texts have ${octets} octets with their lengths, above ${rdataOctetsMax}`);
  return strings;
}

function characterString(string: Octets): Buffer {
  const octets = octetsOfText(string);
  // One that is too long has a problem already, and what is made of it is thrown away.
  return Buffer.concat([uint8(octets.length & 0xff), octets]);
}

/** RFC 4034 appendix A.1 and later. */
const algorithms = new Map([
  ["RSAMD5", 1],
  ["DH", 2],
  ["DSA", 3],
  ["RSASHA1", 5],
  ["NSEC3DSA", 6],
  ["NSEC3RSASHA1", 7],
  ["RSASHA256", 8],
  ["RSASHA512", 10],
  ["ECCGOST", 12],
  ["ECDSAP256SHA256", 13],
  ["ECDSAP384SHA384", 14],
  ["ED25519", 15],
  ["ED448", 16],
  ["PRIVATEDNS", 253],
  ["PRIVATEOID", 254],
]);

/** RFC 4398 §2.1. */
const certificateTypes = new Map([
  ["PKIX", 1],
  ["SPKI", 2],
  ["PGP", 3],
  ["IPKIX", 4],
  ["ISPKI", 5],
  ["IPGP", 6],
  ["ACPKIX", 7],
  ["IACPKIX", 8],
  ["URI", 253],
  ["OID", 254],
]);

function takeAlgorithm(fields: Fields): number {
  return takeNamed(fields, algorithms) ?? takeNumber(fields, "an algorithm", uint8Max);
}

/** The number of the next field, where it is one of these names; otherwise it is left for others to take. */
function takeNamed(fields: Fields, names: ReadonlyMap<string, number>): number | undefined {
  const named = hasMore(fields) ? names.get(rawField(fields, fields.next).toUpperCase()) : undefined;
  if (named !== undefined) fields.next += 1;
  return named;
}

/** How the fields of a type that is kept as RAW become octets. */
type Part =
  | "uint8"
  | "uint16"
  | "uint32"
  | "algorithm"
  | "certificate"
  | "name"
  | "string"
  | "strings"
  /** Text that goes on to the end of the rdata, without a length. */
  | "text"
  | "hex"
  | "base64"
  | "eui48"
  | "eui64";

interface RawType {
  readonly number: number;
  readonly format: readonly Part[] | undefined;
}

/** Types without a kind of their own. Without a format, their data is read only as octets (or refused by number). */
const rawTypes: Readonly<Record<string, RawType>> = {
  HINFO: { number: 13, format: ["string", "string"] },
  RP: { number: 17, format: ["name", "name"] },
  AFSDB: { number: 18, format: ["uint16", "name"] },
  SIG: { number: 24, format: undefined },
  KEY: { number: 25, format: ["uint16", "uint8", "algorithm", "base64"] },
  LOC: { number: 29, format: undefined },
  NXT: { number: 30, format: undefined },
  KX: { number: 36, format: ["uint16", "name"] },
  CERT: { number: 37, format: ["certificate", "uint16", "algorithm", "base64"] },
  OPT: { number: 41, format: undefined },
  APL: { number: 42, format: undefined },
  IPSECKEY: { number: 45, format: undefined },
  RRSIG: { number: 46, format: undefined },
  NSEC: { number: 47, format: undefined },
  DNSKEY: { number: 48, format: ["uint16", "uint8", "algorithm", "base64"] },
  DHCID: { number: 49, format: ["base64"] },
  NSEC3: { number: 50, format: undefined },
  NSEC3PARAM: { number: 51, format: undefined },
  SMIMEA: { number: 53, format: ["uint8", "uint8", "uint8", "hex"] },
  CDS: { number: 59, format: ["uint16", "algorithm", "uint8", "hex"] },
  CDNSKEY: { number: 60, format: ["uint16", "uint8", "algorithm", "base64"] },
  OPENPGPKEY: { number: 61, format: ["base64"] },
  CSYNC: { number: 62, format: undefined },
  ZONEMD: { number: 63, format: ["uint32", "uint8", "uint8", "hex"] },
  SPF: { number: 99, format: ["strings"] },
  EUI48: { number: 108, format: ["eui48"] },
  EUI64: { number: 109, format: ["eui64"] },
  TKEY: { number: 249, format: undefined },
  TSIG: { number: 250, format: undefined },
  IXFR: { number: 251, format: undefined },
  AXFR: { number: 252, format: undefined },
  ANY: { number: 255, format: undefined },
  URI: { number: 256, format: ["uint16", "uint16", "text"] },
};

const rawFormats = new Map(
  Object.values(rawTypes).flatMap(({ number, format }) => (format === undefined ? [] : [[number, format] as const])),
);

/** Numbers of all mnemonics that are known here. */
const numbers = new Map<string, number>([
  ...Object.entries(numberOfKind),
  ...Object.entries(rawTypes).map(([type, { number }]) => [type, number] as const),
  ["SOA", soaNumber],
]);

/** The number of `AAAA` or `TYPE65280` (RFC 3597 §5), in any case. */
function typeNumberFrom(type: string): number | undefined {
  const upper = type.toUpperCase();
  const known = numbers.get(upper);
  if (known !== undefined) return known;
  const digits = /^TYPE(\d{1,5})$/.exec(upper)?.[1];
  return digits !== undefined && Number(digits) <= uint16Max ? Number(digits) : undefined;
}

export function isSoa(type: string): boolean {
  // Asked for each record, so the common answer comes first.
  return (type.charCodeAt(0) | 0x20) === 0x73 || type.length > 4 ? typeNumberFrom(type) === soaNumber : false;
}

function takeFormat(fields: Fields, format: readonly Part[]): Buffer {
  return Buffer.concat(format.map((part) => takePart(fields, part)));
}

function takePart(fields: Fields, part: Part): Buffer {
  switch (part) {
    case "uint8":
      return uint8(takeNumber(fields, "a number", uint8Max));
    case "uint16":
      return uint16(takeNumber(fields, "a number", uint16Max));
    case "uint32":
      return uint32(takeNumber(fields, "a number", uint32Max));
    case "algorithm":
      return uint8(takeAlgorithm(fields));
    case "certificate":
      return uint16(takeNamed(fields, certificateTypes) ?? takeNumber(fields, "a certificate type", uint16Max));
    case "name":
      return nameToWire(takeName(fields, "a name"));
    case "string":
      return characterString(takeOctets(fields, "a text", characterStringOctetsMax));
    case "strings":
      return Buffer.concat(takeStrings(fields).map(characterString));
    case "text":
      return octetsOfText(takeOctets(fields, "a text", rdataOctetsMax));
    case "hex":
      return Buffer.from(takeHex(fields, "the data"), "hex");
    case "base64":
      return takeBase64(fields, "the data");
    case "eui48":
    case "eui64": {
      const word = takeWord(fields, "an identifier");
      const groups = part === "eui48" ? 6 : 8;
      if (!new RegExp(`^[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){${groups - 1}}$`).test(word)) {
        refuse(fields, `${quote(word)} is not ${groups} octets such as 00-00-5e`);
      }
      return Buffer.from(word.replaceAll("-", ""), "hex");
    }
  }
}

/** The data of a SOA record (RFC 1035 §3.3.13); as octets, too. */
export function takeSoa(fields: Fields): Omit<ZoneSoa, "ttlSeconds"> | undefined {
  if (isGenericNext(fields)) return soaFromRdata(fields);
  const soa = {
    primary: takeName(fields, "the primary server's name"),
    mailbox: takeName(fields, "a mailbox"),
    serial: takeNumber(fields, "a serial", uint32Max),
    refreshSeconds: takeTime(fields, "a refresh time"),
    retrySeconds: takeTime(fields, "a retry time"),
    expireSeconds: takeTime(fields, "an expiry time"),
    minimumSeconds: takeTime(fields, "a minimum"),
  };
  if (hasMore(fields)) refuse(fields, `${quote(rawField(fields, fields.next))} is more than a SOA has`, fields.next);
  return fields.problem === "" ? soa : undefined;
}

function soaFromRdata(fields: Fields): Omit<ZoneSoa, "ttlSeconds"> | undefined {
  const reader = wireReader(takeGeneric(fields));
  const soa = {
    primary: readName(reader),
    mailbox: readName(reader),
    serial: readUint32(reader),
    refreshSeconds: readUint32(reader),
    retrySeconds: readUint32(reader),
    expireSeconds: readUint32(reader),
    minimumSeconds: readUint32(reader),
  };
  if (reader.isBroken || !isAtEnd(reader)) refuse(fields, "these octets are no data of type SOA");
  return fields.problem === "" ? soa : undefined;
}
