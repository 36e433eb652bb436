/** TXT (RFC 1035 §3.3.14): strings. Kept as RAW when one of them is not UTF-8. */
import { Type } from "typebox";
import { putString } from "../rdata-writer.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeStrings } from "../zone-file/fields.ts";
import { typeNumbers } from "../type-numbers.ts";
import { takeRaw } from "./raw.ts";

export const txt = recordType({
  type: "TXT",
  schema: recordSchema("TXT", {
    // A character-string holds 255 octets; JSON Schema counts code points, faultsOf() octets.
    text: Type.Array(Type.String({ maxLength: 255 }), { minItems: 1, maxItems: 64 }),
  }),
  readText(fields, start) {
    const strings = takeStrings(fields);
    const text = strings.filter((string) => typeof string === "string");
    if (text.length === strings.length) return { ...start, type: "TXT", text };
    return takeRaw(fields, start, typeNumbers.TXT, (into) => {
      for (const string of strings) putString(into, string);
    });
  },
  writeRdata({ text }, into) {
    for (const string of text) putString(into, string);
  },
  *faultsOf({ text }) {
    for (const [t, string] of text.entries()) {
      if (Buffer.byteLength(string) > 255) yield { key: `text[${t}]`, message: "must not be longer than 255 octets" };
    }
  },
});
