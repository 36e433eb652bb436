/**
 * The definition of a record type: everything the program knows about it, in one value. types.ts lists all of them.
 *
 *   fleet document ──schema──▶ ┌────────┐ ──writeRdata──▶ rdata, for the compiler or RFC 3597 text
 *   zone file ──readText─────▶ │ record │ ──faultsOf────▶ faults that the schema can't express
 *   rdata ──readRdata────────▶ └────────┘ ──rulesOf─────▶ conflicts with records at this and other names
 */
import type { Static, TSchema } from "typebox";
import type { ValueProblem } from "#base/schema.ts";
import type { Rdata } from "./rdata-writer.ts";
import type { RdataReader } from "./rdata-reader.ts";
import { type TypeName, typeNumbers } from "./type-numbers.ts";
import type { RawRecord } from "./raw-schema.ts";
import type { Fields } from "./zone-file/fields.ts";

/** The name of a type in the fleet document. */
export type RecordKind = TypeName | "ALIAS" | "RAW";

/** The fields that a record of any type starts with. */
export interface Start {
  readonly name: string;
  readonly ttlSeconds: number;
}

/** A fault of one record. `key` is the key at fault; undefined means the record as a whole. */
export interface Fault {
  readonly key?: string;
  readonly message: string;
}

/** A record's position and its neighbours, for the rules of its type. Names are canonical. */
export interface Surroundings {
  readonly owner: string;
  readonly apex: string;
  /** The zone comes from a zone file, so all of its glue is among its records. */
  readonly isZoneFile: boolean;
  /** Whether the owner has a record of one of these types. */
  readonly has: (...kinds: readonly RecordKind[]) => boolean;
  /** The same for another name in the same zone. */
  readonly hasAt: (name: string, ...kinds: readonly RecordKind[]) => boolean;
  /** Makes the name that the record points to absolute. */
  readonly whole: (target: string) => string;
  readonly isSteered: (name: string) => boolean;
  /** Whether the name lies in one of the document's zones. */
  readonly isOurs: (name: string) => boolean;
  /** Whether the name has a CNAME in one of the zones. */
  readonly isCname: (name: string) => boolean;
  /** Why a name has no addresses to answer with; undefined when it has some. */
  readonly whyNoAddresses: (name: string) => string | undefined;
  /** The path of the record, or of one of its keys, for problems. */
  readonly at: (key?: string) => string;
  /** Reports what works but is unwise. */
  readonly warn: (problem: ValueProblem) => void;
}

/** The members that take a record are methods, not properties, so that one list can hold types of different records. */
export interface RecordType<Own, Schema extends TSchema = TSchema> {
  readonly type: RecordKind;
  /** 0 for ALIAS, which is never sent, and for RAW, whose records carry their own number. */
  readonly number: number;
  readonly schema: Schema;
  /** A second mnemonic that zone files may use. */
  readonly alsoWritten?: string;
  /** Must not be given as octets: the responder has to understand the data, or may compress names in it. */
  readonly isNeverRaw?: true;
  /** Which records may share its owner. `alone`: none. `single`: any, but no second record of this type. */
  readonly standing?: "alone" | "single";
  /** Reads the fields after the type in a zone file. Returns RAW when this type's schema can't hold the octets. */
  readonly readText?: (fields: Fields, start: Start) => Own | RawRecord;
  /** Reads rdata that a zone file gives as octets. Absent: the record is kept as RAW. */
  readonly readRdata?: (reader: RdataReader, start: Start) => Own | RawRecord;
  /** Absent: the type has no rdata of its own. */
  writeRdata?(record: Own, into: Rdata): void;
  /** The name that a record points to, as written. */
  targetOf?(record: Own): string;
  /** Faults of one record that the schema can't express. The zone-file reader checks the same while it reads. */
  faultsOf?(record: Own): Iterable<Fault>;
  rulesOf?(record: Own, around: Surroundings): Iterable<ValueProblem>;
  /** Rules that don't look at the record's data. They apply to its RAW form as well. */
  rulesOfOwner?(around: Surroundings): Iterable<ValueProblem>;
}

/** Adds the number, and lets TypeScript infer the record from its schema. */
export function recordType<Schema extends TSchema>(
  one: Omit<RecordType<Static<Schema>, Schema>, "number">,
): RecordType<Static<Schema>, Schema> {
  return { ...one, number: one.type === "ALIAS" || one.type === "RAW" ? 0 : typeNumbers[one.type] };
}
