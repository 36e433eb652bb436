/**
 * The record types of the fleet document: one file each in types/, and one line here. (A type that IANA has numbered
 * and type-numbers.ts does not know needs its number there as well.)
 *
 * Types that zone files may have and the document knows only as RAW are lines of record/types-kept-as-raw.ts.
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

/** In the order in which the document's schema, and so its documentation, has them. */
const table = [a, aaaa, ns, cname, txt, mx, caa, srv, ptr, dname, alias, https, svcb, tlsa, sshfp, ds, naptr, raw];

export type ZoneRecord = Static<(typeof table)[number]["schema"]>;

/** The schema of a record in the fleet document. */
export const zoneRecord = kinds(
  "type",
  table.map((one) => one.schema),
);

export const recordKinds: readonly RecordKind[] = table.map((one) => one.type);

/** The kinds that suffer no others, or no second one, beside them. */
export function kindsStanding(standing: "alone" | "single"): RecordKind[] {
  return table.flatMap((one) => (one.standing === standing ? [one.type] : []));
}

const byKind = new Map<string, RecordType<ZoneRecord>>(table.map((one) => [one.type, one]));

/** What a record is; every record has a type of the table. */
export function recordTypeOf(record: ZoneRecord): RecordType<ZoneRecord> {
  return byKind.get(record.type) ?? raw;
}

const byNumber = new Map<number, RecordType<ZoneRecord>>(
  table.flatMap((one) => (one.number === 0 ? [] : [[one.number, one]])),
);

/** Undefined for a type that the document knows by number only. */
export function recordTypeOfNumber(number: number): RecordType<ZoneRecord> | undefined {
  return byNumber.get(number);
}

const byMnemonic = new Map<string, RecordType<ZoneRecord>>(
  table.flatMap((one) => {
    const names = one.alsoWritten === undefined ? [one.type] : [one.type, one.alsoWritten];
    return one.readText === undefined ? [] : names.map((name) => [name, one] as const);
  }),
);

/** The type that a zone file calls so, in any case. */
export function recordTypeWritten(mnemonic: string): RecordType<ZoneRecord> | undefined {
  // Capitals are the rule, and putting the others into capitals costs.
  return byMnemonic.get(mnemonic) ?? byMnemonic.get(mnemonic.toUpperCase());
}

/** The number under which the record's RRset is known; 0 for ALIAS, which never stands on the wire. */
export function typeNumberOf(record: ZoneRecord): number {
  return record.type === "RAW" ? record.typeNumber : recordTypeOf(record).number;
}

/** Why records of this type can't be given as a type number and bytes; undefined when they can. */
export function whyNotRaw(typeNumber: number): string | undefined {
  if (typeNumber === typeNumbers.SOA) return "6 is SOA: a zone has one, and it is not given as bytes";
  const own = byNumber.get(typeNumber);
  if (own?.isNeverRaw === true) return `${typeNumber} is ${own.type}: write it as ${own.type}`;
  return whyNotServed(typeNumber);
}
