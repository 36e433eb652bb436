/**
 * The record types of the fleet document. Each has a file in types/ and a line here. (A type whose number is not in
 * type-numbers.ts yet needs a line there as well.)
 *
 * Types that the document knows only as RAW, but zone files may write, are in types-kept-as-raw.ts.
 */
import type { Static } from "typebox";
import { kinds } from "#base/schema-terms.ts";
import type { RecordKind, RecordType } from "./record-type.ts";
import { typeNumbers, whyNotServed } from "./type-numbers.ts";
import { a } from "./types/a.ts";
import { aaaa } from "./types/aaaa.ts";
import { alias } from "./types/alias.ts";
import { caa } from "./types/caa.ts";
import { cname } from "./types/cname.ts";
import { dname } from "./types/dname.ts";
import { ds } from "./types/ds.ts";
import { https } from "./types/https.ts";
import { mx } from "./types/mx.ts";
import { naptr } from "./types/naptr.ts";
import { ns } from "./types/ns.ts";
import { ptr } from "./types/ptr.ts";
import { raw } from "./types/raw.ts";
import { srv } from "./types/srv.ts";
import { sshfp } from "./types/sshfp.ts";
import { svcb } from "./types/svcb.ts";
import { tlsa } from "./types/tlsa.ts";
import { txt } from "./types/txt.ts";

/** In the order of the document's schema, and so of its documentation. */
const table = [a, aaaa, ns, cname, txt, mx, caa, srv, ptr, dname, alias, https, svcb, tlsa, sshfp, ds, naptr, raw];

export type ZoneRecord = Static<(typeof table)[number]["schema"]>;

/** The schema of a record in the fleet document. */
export const zoneRecord = kinds(
  "type",
  table.map((one) => one.schema),
);

export const recordKinds: readonly RecordKind[] = table.map((one) => one.type);

/** The kinds that allow no other record, or no second one of their type, at their owner. */
export function kindsStanding(standing: "alone" | "single"): RecordKind[] {
  return table.flatMap((one) => (one.standing === standing ? [one.type] : []));
}

const byKind = new Map<string, RecordType<ZoneRecord>>(table.map((one) => [one.type, one]));

/** The type of a record; every record has one of the table. */
export function recordTypeOf(record: ZoneRecord): RecordType<ZoneRecord> {
  return byKind.get(record.type) ?? raw;
}

const byNumber = new Map<number, RecordType<ZoneRecord>>(
  table.flatMap((one) => (one.number === 0 ? [] : [[one.number, one]])),
);

/** Undefined for a type that the document knows only by number. */
export function recordTypeOfNumber(number: number): RecordType<ZoneRecord> | undefined {
  return byNumber.get(number);
}

const byMnemonic = new Map<string, RecordType<ZoneRecord>>(
  table.flatMap((one) => {
    const names = one.alsoWritten === undefined ? [one.type] : [one.type, one.alsoWritten];
    return one.readText === undefined ? [] : names.map((name) => [name, one] as const);
  }),
);

/** The type with this mnemonic in a zone file, in any case. */
export function recordTypeWritten(mnemonic: string): RecordType<ZoneRecord> | undefined {
  // Most files use capitals, and toUpperCase() is slow.
  return byMnemonic.get(mnemonic) ?? byMnemonic.get(mnemonic.toUpperCase());
}

/** The type number of the record's RRset; 0 for ALIAS, which is never sent. */
export function typeNumberOf(record: ZoneRecord): number {
  return record.type === "RAW" ? record.typeNumber : recordTypeOf(record).number;
}

/** Why records of this type can't be written as RAW; undefined when they can. */
export function whyNotRaw(typeNumber: number): string | undefined {
  if (typeNumber === typeNumbers.SOA) return "type 6 is SOA: a zone has exactly one, and it can't be written as RAW";
  const own = byNumber.get(typeNumber);
  if (own?.isNeverRaw === true) return `type ${typeNumber} is ${own.type}: write the record as ${own.type}`;
  return whyNotServed(typeNumber);
}
