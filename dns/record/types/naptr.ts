/** NAPTR (RFC 3403 §4): a rule that rewrites a name. Kept as RAW when a string is not UTF-8. */
import { Type } from "typebox";
import { targetName } from "../domain-names.ts";
import { type Octets, putName, putString, putUint16, type Rdata } from "../rdata-writer.ts";
import { recordSchema, uint16, uint16Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { typeNumbers } from "../type-numbers.ts";
import { characterStringOctetsMax, refuse, takeName, takeNumber, takeOctets, takeWord } from "../zone-file/fields.ts";
import { quote } from "../zone-file/words.ts";
import { takeRaw } from "./raw.ts";

interface Rule {
  order: number;
  preference: number;
  flags: string;
  services: Octets;
  regexp: Octets;
  replacement: string;
}

function writeRdata({ order, preference, flags, services, regexp, replacement }: Rule, into: Rdata): void {
  putUint16(into, order);
  putUint16(into, preference);
  putString(into, flags);
  putString(into, services);
  putString(into, regexp);
  putName(into, replacement, "whole");
}

export const naptr = recordType({
  type: "NAPTR",
  schema: recordSchema("NAPTR", {
    order: uint16,
    preference: uint16,
    flags: Type.String({ pattern: "^[A-Za-z0-9]{0,16}$", default: "" }),
    services: Type.String({ maxLength: 255, default: "" }),
    regexp: Type.String({ maxLength: 255, default: "" }),
    replacement: targetName,
  }),
  readText(fields, start) {
    const order = takeNumber(fields, "an order", uint16Max);
    const preference = takeNumber(fields, "a preference", uint16Max);
    const flags = takeWord(fields, "flags");
    if (!/^[A-Za-z0-9]{0,16}$/.test(flags))
      refuse(fields, `flags must be 0-16 letters or digits (got ${quote(flags)})`);
    const services = takeOctets(fields, "services", characterStringOctetsMax);
    const regexp = takeOctets(fields, "a regular expression", characterStringOctetsMax);
    const replacement = takeName(fields, "a replacement");
    if (typeof services === "string" && typeof regexp === "string") {
      return { ...start, type: "NAPTR", order, preference, flags, services, regexp, replacement };
    }
    return takeRaw(fields, start, typeNumbers.NAPTR, (into) => {
      writeRdata({ order, preference, flags, services, regexp, replacement }, into);
    });
  },
  writeRdata,
  targetOf: ({ replacement }) => replacement,
  *faultsOf(record) {
    for (const key of ["services", "regexp"] as const) {
      if (Buffer.byteLength(record[key]) > 255) yield { key, message: "must not be longer than 255 octets" };
    }
  },
});
