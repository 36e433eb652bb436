/** SRV (RFC 2782): where a service runs. */
import { targetName } from "../domain-names.ts";
import { putName, putUint16 } from "../rdata-writer.ts";
import { recordSchema, uint16, uint16Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName, takeNumber } from "../zone-file/fields.ts";
import { warnOfCname } from "../warn-of-cname.ts";

export const srv = recordType({
  type: "SRV",
  schema: recordSchema("SRV", { priority: uint16, weight: uint16, port: uint16, target: targetName }),
  readText(fields, { name, ttlSeconds }) {
    const priority = takeNumber(fields, "a priority", uint16Max);
    const weight = takeNumber(fields, "a weight", uint16Max);
    const port = takeNumber(fields, "a port", uint16Max);
    return { name, type: "SRV", ttlSeconds, priority, weight, port, target: takeName(fields, "a name") };
  },
  writeRdata({ priority, weight, port, target }, into) {
    putUint16(into, priority);
    putUint16(into, weight);
    putUint16(into, port);
    putName(into, target, "whole");
  },
  targetOf: ({ target }) => target,
  rulesOf({ type, target }, around) {
    warnOfCname(type, target, around);
    return [];
  },
});
