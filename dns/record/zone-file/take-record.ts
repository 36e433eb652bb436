/**
 * Reads the data of a record from presentation format into a record of the fleet document (types.ts).
 *
 *   types with a schema (types.ts)            their own kind
 *   types of types-kept-as-raw.ts             RAW: the type's number and its rdata
 *   TYPE65280 \# 4 0a000001  (RFC 3597 §5)    RAW; or its own kind, if the type has readRdata()
 */
import { isAtEnd, rdataReader } from "../rdata-reader.ts";
import { rdataOctetsMax } from "../rdata-writer.ts";
import type { Start } from "../record-type.ts";
import { typeNumberFrom, typeNumbers, whyNotServed } from "../type-numbers.ts";
import { recordTypeOfNumber, recordTypeWritten, type ZoneRecord } from "../types.ts";
import { rawFormatOf } from "../types-kept-as-raw.ts";
import { rawRecord, takeRaw } from "../types/raw.ts";
import { type Soa, soaFromRdata, soaFromText } from "../types/soa.ts";
import { type Fields, hasFlag, hasMore, rawField, refuse, takeHex, takeNumber } from "./fields.ts";
import { fieldFlags } from "./scan.ts";
import { quote } from "./words.ts";

/**
 * Reads the fields after the type.
 * @returns undefined when `fields` has a problem
 */
export function takeRecord(fields: Fields, type: string, start: Start): ZoneRecord | undefined {
  const record = takeData(fields, type, start);
  if (record !== undefined && hasMore(fields)) {
    const extra = quote(rawField(fields, fields.next));
    refuse(fields, `unexpected ${extra} after the data of type ${quote(type)}`, fields.next);
  }
  return fields.problem === "" ? record : undefined;
}

function takeData(fields: Fields, type: string, start: Start): ZoneRecord | undefined {
  const isGeneric = isGenericNext(fields);
  const read = isGeneric ? undefined : recordTypeWritten(type)?.readText;
  if (read !== undefined) return read(fields, start);
  const typeField = fields.next - 1;
  const number = typeNumberFrom(type);
  // TYPE15 is MX and is read as MX.
  const readOfNumber = isGeneric || number === undefined ? undefined : recordTypeOfNumber(number)?.readText;
  if (readOfNumber !== undefined) return readOfNumber(fields, start);
  if (number === undefined) {
    refuse(fields, `unknown record type ${quote(type)}: write it as TYPE followed by its number (RFC 3597)`, typeField);
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
    if (record === undefined) refuse(fields, `these octets are not valid data of type ${quote(type)}`);
    return record;
  }
  const takeFormat = rawFormatOf(number);
  if (takeFormat !== undefined) {
    return takeRaw(fields, start, number, (into) => {
      takeFormat(fields, into);
    });
  }
  refuse(fields, `write data of type ${quote(type)} as \\# LENGTH HEX (RFC 3597)`, typeField);
  return undefined;
}

/** RFC 3597 §5: `\#`, the number of octets, the octets in hexadecimal. */
function isGenericNext(fields: Fields): boolean {
  const { scanner, next } = fields;
  // Runs for every record, so the cheap check of the length comes first.
  if (next >= scanner.fieldsCount || (scanner.ends[next] ?? 0) - (scanner.starts[next] ?? 0) !== 2) return false;
  return rawField(fields, next) === "\\#" && !hasFlag(fields, next, fieldFlags.quoted);
}

function takeGeneric(fields: Fields): Buffer {
  fields.next += 1;
  const length = takeNumber(fields, "the length of the rdata", rdataOctetsMax);
  const lengthField = fields.next - 1;
  const hex = hasMore(fields) || length > 0 ? takeHex(fields, "the data") : "";
  if (hex.length !== length * 2) {
    const octets = hex.length / 2;
    const follow = octets === 1 ? "1 octet follows" : `${octets} octets follow`;
    refuse(fields, `the length is ${length}, but ${follow}`, lengthField);
  }
  return Buffer.from(hex, "hex");
}

/** Decodes rdata; undefined when it is malformed. */
function recordFromRdata(number: number, rdata: Buffer, start: Start): ZoneRecord | undefined {
  const read = recordTypeOfNumber(number)?.readRdata;
  if (read === undefined) return rawRecord(start, number, rdata);
  const reader = rdataReader(rdata);
  const record = read(reader, start);
  return reader.isBroken || !isAtEnd(reader) ? undefined : record;
}

export function isSoa(type: string): boolean {
  // Runs for every record, so the common answer comes first.
  return (type.charCodeAt(0) | 0x20) === 0x73 || type.length > 4 ? typeNumberFrom(type) === typeNumbers.SOA : false;
}

/** Reads the data of a SOA record, as text or as octets. */
export function takeSoa(fields: Fields): Soa | undefined {
  if (!isGenericNext(fields)) return soaFromText(fields);
  const soa = soaFromRdata(takeGeneric(fields));
  if (soa === undefined) refuse(fields, "these octets are not valid data of type SOA");
  return fields.problem === "" ? soa : undefined;
}
