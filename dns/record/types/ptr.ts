/** PTR (RFC 1035 §3.3.12): a pointer to a name, mostly in reverse zones. */
import { targetName } from "../domain-names.ts";
import { readName } from "../rdata-reader.ts";
import { putTarget } from "../rdata-writer.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName } from "../zone-file/fields.ts";

export const ptr = recordType({
  type: "PTR",
  schema: recordSchema("PTR", { target: targetName }),
  isNeverRaw: true,
  readText: (fields, { name, ttlSeconds }) => ({ name, type: "PTR", ttlSeconds, target: takeName(fields, "a name") }),
  readRdata: (reader, start) => ({ ...start, type: "PTR", target: readName(reader) }),
  writeRdata({ target }, into) {
    putTarget(into, target, "compressible");
  },
  targetOf: ({ target }) => target,
});
