/** DS (RFC 4034 §5): the digest of a signed child zone's key. */
import { putHex, putUint16, putUint8 } from "../rdata-writer.ts";
import { hex, recordSchema, uint16, uint16Max, uint8, uint8Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeDigest, takeNumber } from "../zone-file/fields.ts";
import { takeAlgorithm } from "../zone-file/named-numbers.ts";

export const ds = recordType({
  type: "DS",
  schema: recordSchema("DS", {
    keyTag: uint16,
    algorithm: uint8,
    digestType: uint8,
    digest: hex("digest of the child's key"),
  }),
  readText(fields, { name, ttlSeconds }) {
    const keyTag = takeNumber(fields, "a key tag", uint16Max);
    const algorithm = takeAlgorithm(fields);
    const digestType = takeNumber(fields, "a digest type", uint8Max);
    return { name, type: "DS", ttlSeconds, keyTag, algorithm, digestType, digest: takeDigest(fields) };
  },
  writeRdata({ keyTag, algorithm, digestType, digest }, into) {
    putUint16(into, keyTag);
    putUint8(into, algorithm);
    putUint8(into, digestType);
    putHex(into, digest);
  },
  /** RFC 4035 §2.4: allowed only at delegations. */
  *rulesOfOwner({ owner, apex, has, at }) {
    if (owner !== apex && has("NS")) return;
    yield {
      path: at("name"),
      message: `${owner} has a DS record but is not delegated: add its NS records, or remove the DS`,
    };
  },
});
