/** The fleet document's form of a RAW record. Other types fall back to it too, for rdata that they can't express. */
import { Type, type Static } from "typebox";
import { hex, recordSchema } from "./record-schema.ts";

export const rawSchema = recordSchema("RAW", {
  typeNumber: Type.Integer({ minimum: 1, maximum: 65_535, description: "the type's number (IANA)" }),
  data: hex("rdata, with uncompressed names"),
});
export type RawRecord = Static<typeof rawSchema>;
