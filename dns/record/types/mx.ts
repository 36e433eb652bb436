/** MX (RFC 1035 §3.3.9): a mail server. */
import { targetName } from "../domain-names.ts";
import { readName, readUint16 } from "../rdata-reader.ts";
import { putName, putUint16 } from "../rdata-writer.ts";
import { recordSchema, uint16, uint16Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName, takeNumber } from "../zone-file/fields.ts";
import { warnOfCname } from "../warn-of-cname.ts";

export const mx = recordType({
  type: "MX",
  schema: recordSchema("MX", { preference: uint16, exchange: targetName }),
  isNeverRaw: true,
  readText(fields, { name, ttlSeconds }) {
    const preference = takeNumber(fields, "a preference", uint16Max);
    return { name, type: "MX", ttlSeconds, preference, exchange: takeName(fields, "a mail server's name") };
  },
  readRdata: (reader, start) => ({
    ...start,
    type: "MX",
    preference: readUint16(reader),
    exchange: readName(reader),
  }),
  writeRdata({ preference, exchange }, into) {
    putUint16(into, preference);
    putName(into, exchange, "compressible");
  },
  targetOf: ({ exchange }) => exchange,
  rulesOf({ type, exchange }, around) {
    // RFC 2181 §10.3.
    warnOfCname(type, exchange, around);
    return [];
  },
});
