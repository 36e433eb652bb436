/** CNAME (RFC 1035 §3.3.1): another name for this one. */
import { targetName } from "../domain-names.ts";
import { readName } from "../rdata-reader.ts";
import { putTarget } from "../rdata-writer.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName } from "../zone-file/fields.ts";

export const cname = recordType({
  type: "CNAME",
  schema: recordSchema("CNAME", { target: targetName }),
  isNeverRaw: true,
  // RFC 1034 §3.6.2.
  standing: "alone",
  readText: (fields, { name, ttlSeconds }) => ({ name, type: "CNAME", ttlSeconds, target: takeName(fields, "a name") }),
  readRdata: (reader, start) => ({ ...start, type: "CNAME", target: readName(reader) }),
  writeRdata({ target }, into) {
    putTarget(into, target, "compressible");
  },
  targetOf: ({ target }) => target,
});
