/** Numbers in record data that zone files may write as mnemonics. */
import { uint16Max, uint8Max } from "../record-schema.ts";
import { type Fields, hasMore, rawField, takeNumber } from "./fields.ts";

/** RFC 4034 appendix A.1 and later. */
const algorithms = new Map([
  ["RSAMD5", 1],
  ["DH", 2],
  ["DSA", 3],
  ["RSASHA1", 5],
  ["NSEC3DSA", 6],
  ["NSEC3RSASHA1", 7],
  ["RSASHA256", 8],
  ["RSASHA512", 10],
  ["ECCGOST", 12],
  ["ECDSAP256SHA256", 13],
  ["ECDSAP384SHA384", 14],
  ["ED25519", 15],
  ["ED448", 16],
  ["PRIVATEDNS", 253],
  ["PRIVATEOID", 254],
]);

/** RFC 4398 §2.1. */
const certificateTypes = new Map([
  ["PKIX", 1],
  ["SPKI", 2],
  ["PGP", 3],
  ["IPKIX", 4],
  ["ISPKI", 5],
  ["IPGP", 6],
  ["ACPKIX", 7],
  ["IACPKIX", 8],
  ["URI", 253],
  ["OID", 254],
]);

export function takeAlgorithm(fields: Fields): number {
  return takeNamed(fields, algorithms) ?? takeNumber(fields, "an algorithm", uint8Max);
}

export function takeCertificateType(fields: Fields): number {
  return takeNamed(fields, certificateTypes) ?? takeNumber(fields, "a certificate type", uint16Max);
}

/** Reads the next field if it is one of these mnemonics; otherwise leaves it unread. */
function takeNamed(fields: Fields, names: ReadonlyMap<string, number>): number | undefined {
  const named = hasMore(fields) ? names.get(rawField(fields, fields.next).toUpperCase()) : undefined;
  if (named !== undefined) fields.next += 1;
  return named;
}
