/** TLSA (RFC 6698): which certificate a service uses. */
import { putHex, putUint8 } from "../rdata-writer.ts";
import { hex, recordSchema, uint8, uint8Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeDigest, takeNumber } from "../zone-file/fields.ts";

export const tlsa = recordType({
  type: "TLSA",
  schema: recordSchema("TLSA", {
    usage: uint8,
    selector: uint8,
    matchingType: uint8,
    data: hex("certificate association data"),
  }),
  readText(fields, { name, ttlSeconds }) {
    const usage = takeNumber(fields, "a usage", uint8Max);
    const selector = takeNumber(fields, "a selector", uint8Max);
    const matchingType = takeNumber(fields, "a matching type", uint8Max);
    return { name, type: "TLSA", ttlSeconds, usage, selector, matchingType, data: takeDigest(fields) };
  },
  writeRdata({ usage, selector, matchingType, data }, into) {
    putUint8(into, usage);
    putUint8(into, selector);
    putUint8(into, matchingType);
    putHex(into, data);
  },
});
