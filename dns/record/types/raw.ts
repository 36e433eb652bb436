/** RAW: any other type, given by its number and its rdata (RFC 3597). */
import { plainRdata, putHex, type Rdata, rdataOctetsMax } from "../rdata-writer.ts";
import { type RawRecord, rawSchema } from "../raw-schema.ts";
import { recordType, type Start } from "../record-type.ts";
import { type Fields, refuse } from "../zone-file/fields.ts";

export const raw = recordType({
  type: "RAW",
  schema: rawSchema,
  writeRdata({ data }, into) {
    putHex(into, data);
  },
});

export function rawRecord(start: Start, typeNumber: number, rdata: Uint8Array): RawRecord {
  return { ...start, type: "RAW", typeNumber, data: Buffer.from(rdata).toString("hex") };
}

/** Makes a RAW record of the rdata that `write` puts. `fields` gets the problem if it is too long. */
export function takeRaw(fields: Fields, start: Start, typeNumber: number, write: (into: Rdata) => void): RawRecord {
  const { octets, length } = plainRdata(write);
  if (length > rdataOctetsMax)
    refuse(fields, `the data must not be longer than ${rdataOctetsMax} octets (got ${length})`);
  return rawRecord(start, typeNumber, octets);
}
