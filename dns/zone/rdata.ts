/**
 * The rdata of each record type that the fleet document knows, in the form in which the zones keep it: names that
 * may be compressed (RFC 3597 §4: those of RFC 1035's types only) end in two octets where each answer puts a pointer
 * to the zone's apex.
 *
 *   MX 10 mail.cdn.test, in cdn.test     00 0a 04 m a i l .. ..      apexSlots = [7]
 *
 * One object is filled again and again, so that a million records make no garbage.
 */
import type { ZoneRecord } from "#record/zone-record.ts";
import { bitsOf, emptyAddress, readIp, type Family } from "../wire/address.ts";
import { byteAt, putUint16, putUint32 } from "../wire/bytes.ts";
import { isAtOrBelow, readNameText, scratchName, type WireName } from "../wire/name.ts";
import { isMetaType, recordTypes } from "../wire/numbers.ts";

/** RDLENGTH has 16 bits. */
const rdataLengthMax = 65_535;

export interface Rdata {
  type: number;
  readonly bytes: Uint8Array;
  length: number;
  /** Offsets of pointers to the apex: the first `apexSlotsCount` count. */
  readonly apexSlots: Uint16Array;
  apexSlotsCount: number;
  /** The name that the record points to, of NS, CNAME, DNAME and PTR. */
  readonly target: WireName;
  hasTarget: boolean;
  /** Of HTTPS and SVCB in service mode: where `ipv4hint` and `ipv6hint` stand or would stand; else -1. */
  ipv4HintAt: number;
  ipv6HintAt: number;
}

export function emptyRdata(): Rdata {
  return {
    type: 0,
    bytes: new Uint8Array(rdataLengthMax + 1),
    length: 0,
    apexSlots: new Uint16Array(2),
    apexSlotsCount: 0,
    target: scratchName(),
    hasTarget: false,
    ipv4HintAt: -1,
    ipv6HintAt: -1,
  };
}

export function beginRdata(into: Rdata, type: number): void {
  into.type = type;
  into.length = 0;
  into.apexSlotsCount = 0;
  into.hasTarget = false;
  into.ipv4HintAt = -1;
  into.ipv6HintAt = -1;
}

/** @returns false when it does not fit */
export function putOctets(into: Rdata, octets: Uint8Array): boolean {
  if (into.length + octets.length > rdataLengthMax) return false;
  into.bytes.set(octets, into.length);
  into.length += octets.length;
  return true;
}

export function putNumber16(into: Rdata, value: number): void {
  putUint16(into.bytes, into.length, value);
  into.length += 2;
}

function putNumber8(into: Rdata, value: number): void {
  into.bytes[into.length++] = value;
}

export function putNumber32(into: Rdata, value: number): void {
  putUint32(into.bytes, into.length, value);
  into.length += 4;
}

/** RFC 1035 §3.3: a length octet and so many octets. @returns false when the text is longer than 255 octets */
function putCharacterString(into: Rdata, text: string): boolean {
  const octets = Buffer.from(text, "utf8");
  if (octets.length > 255 || into.length + 1 + octets.length > rdataLengthMax) return false;
  putNumber8(into, octets.length);
  return putOctets(into, octets);
}

/** @param apex of the record's zone, for a name that may be compressed */
export function putName(into: Rdata, name: WireName, apex?: WireName): void {
  const isShort = apex !== undefined && apex.labelsCount > 0 && isAtOrBelow(name, apex);
  const own = isShort ? name.length - apex.length : name.length;
  for (let i = 0; i < own; i++) into.bytes[into.length + i] = byteAt(name.bytes, i);
  into.length += own;
  if (!isShort) return;
  into.apexSlots[into.apexSlotsCount++] = into.length;
  putNumber16(into, 0);
}

/** The 4 or 16 octets of an address of this family. @returns false when the text is none */
export function putAddress(into: Rdata, text: string, family: Family): boolean {
  if (!readIp(text, scratchAddress) || scratchAddress.family !== family) return false;
  const octets = bitsOf(family) / 8;
  for (let i = 0; i < octets; i++) putNumber8(into, byteAt(scratchAddress.bytes, i));
  return true;
}

const scratchAddress = emptyAddress();
const scratch = scratchName();

/** The others are names of names: compile.ts, svcb.ts. */
type PlainRecord = Exclude<ZoneRecord, { type: "ALIAS" | "HTTPS" | "SVCB" }>;

/**
 * Writes the record's rdata to `into`.
 * @param apex of its zone, to which names without a final dot are relative
 * @returns false when a name in it is none or too long, or a field has no such form on the wire
 */
export function rdataOf(record: PlainRecord, apex: WireName, into: Rdata): boolean {
  switch (record.type) {
    case "A":
    case "AAAA":
      beginRdata(into, recordTypes[record.type]);
      return putAddress(into, record.address, record.type === "A" ? 4 : 6);
    case "NS":
    case "CNAME":
    case "DNAME":
    case "PTR":
      beginRdata(into, recordTypes[record.type]);
      if (!readNameText(record.target, apex, into.target)) return false;
      putTarget(into, apex);
      return true;
    case "TXT":
      beginRdata(into, recordTypes.TXT);
      return record.text.every((text) => putCharacterString(into, text));
    case "MX":
      beginRdata(into, recordTypes.MX);
      putNumber16(into, record.preference);
      return putNameText(into, record.exchange, apex, true);
    case "CAA": {
      // RFC 8659 §4.1: flags, tag length, tag, value to the end.
      beginRdata(into, recordTypes.CAA);
      putNumber8(into, record.flags);
      return putCharacterString(into, record.tag) && putOctets(into, Buffer.from(record.value, "utf8"));
    }
    case "SRV":
      // RFC 2782: the target is never compressed.
      beginRdata(into, recordTypes.SRV);
      putNumber16(into, record.priority);
      putNumber16(into, record.weight);
      putNumber16(into, record.port);
      return putNameText(into, record.target, apex, false);
    case "TLSA":
      beginRdata(into, recordTypes.TLSA);
      putNumber8(into, record.usage);
      putNumber8(into, record.selector);
      putNumber8(into, record.matchingType);
      return putHex(into, record.data);
    case "SSHFP":
      beginRdata(into, recordTypes.SSHFP);
      putNumber8(into, record.algorithm);
      putNumber8(into, record.fingerprintType);
      return putHex(into, record.fingerprint);
    case "DS":
      beginRdata(into, recordTypes.DS);
      putNumber16(into, record.keyTag);
      putNumber8(into, record.algorithm);
      putNumber8(into, record.digestType);
      return putHex(into, record.digest);
    case "NAPTR":
      beginRdata(into, recordTypes.NAPTR);
      putNumber16(into, record.order);
      putNumber16(into, record.preference);
      for (const text of [record.flags, record.services, record.regexp]) {
        if (!putCharacterString(into, text)) return false;
      }
      return putNameText(into, record.replacement, apex, false);
    case "RAW":
      beginRdata(into, record.typeNumber);
      return putRaw(into, record.data);
  }
}

/** The target, as the whole rdata. */
function putTarget(into: Rdata, apex: WireName): void {
  into.hasTarget = true;
  // RFC 6672 §2.5: a DNAME's target is not compressed.
  putName(into, into.target, into.type === recordTypes.DNAME ? undefined : apex);
}

function putNameText(into: Rdata, text: string, apex: WireName, mayCompress: boolean): boolean {
  if (!readNameText(text, apex, scratch) || into.length + scratch.length > rdataLengthMax) return false;
  putName(into, scratch, mayCompress ? apex : undefined);
  return true;
}

function putHex(into: Rdata, hex: string): boolean {
  return putOctets(into, Buffer.from(hex, "hex"));
}

/** RFC 3597: bytes as they are. The document's check has refused the types that answers rest on; so does this. */
function putRaw(into: Rdata, hex: string): boolean {
  return !isMetaType(into.type) && !understood.has(into.type) && putHex(into, hex);
}

const understood: ReadonlySet<number> = new Set([
  recordTypes.A,
  recordTypes.AAAA,
  recordTypes.NS,
  recordTypes.CNAME,
  recordTypes.DNAME,
  recordTypes.SOA,
]);
