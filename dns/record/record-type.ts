/**
 * What a record type is: all that the program knows of it, in one value. types.ts has the table of them.
 *
 *   fleet document ──schema──▶ ┌────────┐ ──writeRdata──▶ rdata, as the compiler and RFC 3597 want it
 *   zone file ──readText─────▶ │ record │ ──faultsOf────▶ what the schema can't say of it
 *   rdata ──readRdata────────▶ └────────┘ ──rulesOf─────▶ what it says against the records of this and other names
 */
import type { Static, TSchema } from "typebox";
import type { ValueProblem } from "#base/schema.ts";
import type { Rdata } from "./rdata-writer.ts";
import type { RdataReader } from "./rdata-reader.ts";
import { type TypeName, typeNumbers } from "./type-numbers.ts";
import type { RawRecord } from "./types/raw.ts";
import type { Fields } from "./zone-file/fields.ts";

/** How the fleet document calls a type. */
export type RecordKind = TypeName | "ALIAS" | "RAW";

/** What a record of any type begins with. */
export interface Start {
  readonly name: string;
  readonly ttlSeconds: number;
}

/** A fault of one record; `key` is one of its keys. Undefined: the record as a whole. */
export interface Fault {
  readonly key?: string;
  readonly message: string;
}

/** Where a record stands, and what stands around it: what its type's rules may ask. Names are canonical. */
export interface Surroundings {
  readonly owner: string;
  readonly apex: string;
  /** The zone is a zone file: all of its glue is among its records. */
  readonly isZoneFile: boolean;
  /** Whether the owner has a record of one of these types. */
  readonly has: (...kinds: readonly RecordKind[]) => boolean;
  /** The same for another name in the same zone. */
  readonly hasAt: (name: string, ...kinds: readonly RecordKind[]) => boolean;
  /** The name, made whole, that the record points to. */
  readonly whole: (target: string) => string;
  readonly isSteered: (name: string) => boolean;
  /** Whether one of the document's zones has this name. */
  readonly isOurs: (name: string) => boolean;
  /** Whether the name has a CNAME in one of the zones. */
  readonly isCname: (name: string) => boolean;
  /** Why a name would have no addresses to answer with; undefined when it has. */
  readonly whyNoAddresses: (name: string) => string | undefined;
  /** The place of the record, or of one of its keys, for problems. */
  readonly at: (key?: string) => string;
  /** Told what is unwise, but works. */
  readonly warn: (problem: ValueProblem) => void;
}

/** What takes a record is a method, and no property, so that one list may hold types of different records. */
export interface RecordType<Own, Schema extends TSchema = TSchema> {
  readonly type: RecordKind;
  /** 0: ALIAS, which never stands on the wire, and RAW, whose records have their own. */
  readonly number: number;
  readonly schema: Schema;
  /** Another mnemonic for it in zone files. */
  readonly alsoWritten?: string;
  /** It may not be given as octets: the responder must understand it, or may compress names in it. */
  readonly isNeverRaw?: true;
  /** May records stand beside one of it? `alone`: none at all. `single`: no second one of it. */
  readonly standing?: "alone" | "single";
  /** Reads the fields that follow the type in a zone file. RAW: this type's own form can't hold the octets. */
  readonly readText?: (fields: Fields, start: Start) => Own | RawRecord;
  /** Reads rdata that a zone file gives as octets. Absent: it is kept as RAW. */
  readonly readRdata?: (reader: RdataReader, start: Start) => Own | RawRecord;
  /** Absent: the record has no rdata of its own. */
  writeRdata?(record: Own, into: Rdata): void;
  /** The name that a record points to, as it is written. */
  targetOf?(record: Own): string;
  /** What the schema can't say of one record. Those of zone files are held to it when they are read. */
  faultsOf?(record: Own): Iterable<Fault>;
  rulesOf?(record: Own, around: Surroundings): Iterable<ValueProblem>;
  /** Rules that don't look at the record's data, so that they hold for its RAW form as well. */
  rulesOfOwner?(around: Surroundings): Iterable<ValueProblem>;
}

/** Adds the number, and lets TypeScript find out what a record of this schema is. */
export function recordType<Schema extends TSchema>(
  one: Omit<RecordType<Static<Schema>, Schema>, "number">,
): RecordType<Static<Schema>, Schema> {
  return { ...one, number: one.type === "ALIAS" || one.type === "RAW" ? 0 : typeNumbers[one.type] };
}
