/** RAW: any other type, as RFC 3597 has it: its number and its rdata. */
import { Type, type Static } from "typebox";
import { plainRdata, putHex, type Rdata, rdataOctetsMax } from "../rdata-writer.ts";
import { hex, recordSchema } from "../record-schema.ts";
import { recordType, type Start } from "../record-type.ts";
import { type Fields, refuse } from "../zone-file/fields.ts";

const schema = recordSchema("RAW", {
  typeNumber: Type.Integer({ minimum: 1, maximum: 65_535, description: "the type's number (IANA)" }),
  data: hex("rdata, names in it uncompressed"),
});
export type RawRecord = Static<typeof schema>;

export const raw = recordType({
  type: "RAW",
  schema,
  writeRdata({ data }, into) {
    putHex(into, data);
  },
});

export function rawRecord(start: Start, typeNumber: number, rdata: Uint8Array): RawRecord {
  return { ...start, type: "RAW", typeNumber, data: Buffer.from(rdata).toString("hex") };
}

/** The record of what `write` puts, which was read from `fields`. */
export function takeRaw(fields: Fields, start: Start, typeNumber: number, write: (into: Rdata) => void): RawRecord {
  const { octets, length } = plainRdata(write);
  if (length > rdataOctetsMax) refuse(fields, `the data has ${length} octets, above ${rdataOctetsMax}`);
  return rawRecord(start, typeNumber, octets);
}
