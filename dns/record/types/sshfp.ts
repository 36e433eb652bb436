/** SSHFP (RFC 4255): the fingerprint of an SSH server's key. */
import { putHex, putUint8 } from "../rdata-writer.ts";
import { hex, recordSchema, uint8, uint8Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeDigest, takeNumber } from "../zone-file/fields.ts";

export const sshfp = recordType({
  type: "SSHFP",
  schema: recordSchema("SSHFP", { algorithm: uint8, fingerprintType: uint8, fingerprint: hex("fingerprint") }),
  readText(fields, { name, ttlSeconds }) {
    const algorithm = takeNumber(fields, "an algorithm", uint8Max);
    const fingerprintType = takeNumber(fields, "a fingerprint type", uint8Max);
    return { name, type: "SSHFP", ttlSeconds, algorithm, fingerprintType, fingerprint: takeDigest(fields) };
  },
  writeRdata({ algorithm, fingerprintType, fingerprint }, into) {
    putUint8(into, algorithm);
    putUint8(into, fingerprintType);
    putHex(into, fingerprint);
  },
});
