/** CAA (RFC 8659): who may issue certificates. Kept as RAW when the value is not UTF-8. */
import { Type } from "typebox";
import { type Octets, putString, putText, putUint8, type Rdata, rdataOctetsMax } from "../rdata-writer.ts";
import { recordSchema, uint8Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { typeNumbers } from "../type-numbers.ts";
import { refuse, takeNumber, takeOctets, takeWord } from "../zone-file/fields.ts";
import { quote } from "../zone-file/words.ts";
import { takeRaw } from "./raw.ts";

/** RFC 8659 §4.1: flags, tag length, tag, value to the end. */
function writeRdata(record: { flags: number; tag: string; value: Octets }, into: Rdata): void {
  putUint8(into, record.flags);
  putString(into, record.tag);
  putText(into, record.value);
}

export const caa = recordType({
  type: "CAA",
  schema: recordSchema("CAA", {
    flags: Type.Integer({ minimum: 0, maximum: 255, default: 0 }),
    tag: Type.String({ pattern: "^[A-Za-z0-9]{1,15}$" }),
    value: Type.String({ maxLength: 1024 }),
  }),
  readText(fields, start) {
    const flags = takeNumber(fields, "flags", uint8Max);
    const tag = takeWord(fields, "a tag");
    if (!/^[A-Za-z0-9]{1,15}$/.test(tag)) refuse(fields, `a tag must be 1-15 letters or digits (got ${quote(tag)})`);
    const value = takeOctets(fields, "a value", rdataOctetsMax - 2 - tag.length);
    if (typeof value === "string") return { ...start, type: "CAA", flags, tag, value };
    return takeRaw(fields, start, typeNumbers.CAA, (into) => {
      writeRdata({ flags, tag, value }, into);
    });
  },
  writeRdata,
});
