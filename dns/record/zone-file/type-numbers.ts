/** Record types by number (IANA "Resource Record (RR) TYPEs"), and which of them can't be given as bare rdata. */
import type { ZoneRecord } from "../zone-record.ts";

/** ALIAS has none: it never stands on the wire. */
type NumberedKind = Exclude<ZoneRecord["type"], "RAW" | "ALIAS">;

export const numberOfKind: Readonly<Record<NumberedKind, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DNAME: 39,
  DS: 43,
  SSHFP: 44,
  TLSA: 52,
  SVCB: 64,
  HTTPS: 65,
  CAA: 257,
};

const kindsByNumber = new Map(Object.entries(numberOfKind).map(([kind, number]) => [number, kind]));

/** `MX` for 15; undefined for a type that the document knows by number only. */
export function kindOfNumber(number: number): string | undefined {
  return kindsByNumber.get(number);
}

/** What the responder must understand, or may compress names in, so that bare rdata of it is refused. */
const kindOnly: readonly NumberedKind[] = ["A", "AAAA", "NS", "CNAME", "PTR", "MX", "DNAME"];
const kindOnlyByNumber = new Map<number, string>(kindOnly.map((kind) => [numberOfKind[kind], kind]));

/** SIG, NXT, RRSIG, NSEC, NSEC3, NSEC3PARAM: they hold for one signed state of a zone and no other. */
const signatureTypes: ReadonlySet<number> = new Set([24, 30, 46, 47, 50, 51]);

/** The number under which the record's RRset is known; 0 for ALIAS. */
export function typeNumberOf(record: ZoneRecord): number {
  if (record.type === "RAW") return record.typeNumber;
  return record.type === "ALIAS" ? 0 : numberOfKind[record.type];
}

/** Why records of this type can't be given as a type number and bytes; undefined when they can. */
export function whyNotRaw(typeNumber: number): string | undefined {
  if (typeNumber === 6) return "6 is SOA: a zone has one, and it is not given as bytes";
  const kind = kindOnlyByNumber.get(typeNumber);
  if (kind !== undefined) return `${typeNumber} is ${kind}: write it as ${kind}`;
  return whyNotServed(typeNumber);
}

/** Why there can't be such records in a zone at all. */
export function whyNotServed(typeNumber: number): string | undefined {
  if (signatureTypes.has(typeNumber)) {
    return `${typeNumber} belongs to a signed zone, and zones are served unsigned: leave such records out`;
  }
  // RFC 6895 §3.1: meta types and QTYPEs; OPT is the one that lies elsewhere.
  if (typeNumber === 41 || (typeNumber >= 128 && typeNumber <= 255) || typeNumber === 0) {
    return `${typeNumber} is no type of records (allowed: 1-127 without 41, 256-65535)`;
  }
  return undefined;
}
