/** The records of a zone in the fleet document. */
import { Type, type Static, type TSchema } from "typebox";
import { kinds, strict } from "#base/schema-terms.ts";
import { ownerName, targetName } from "./names.ts";

const recordTtl = Type.Optional(
  Type.Integer({ minimum: 0, maximum: 2_147_483_647, unit: "s", description: "default: the zone's ttlSeconds" }),
);
const record = <Kind extends string, Data extends Record<string, TSchema>>(type: Kind, data: Data) =>
  Type.Object({ name: ownerName, type: Type.Literal(type), ttlSeconds: recordTtl, ...data }, strict);
const uint16 = Type.Integer({ minimum: 0, maximum: 65_535 });

const uint8 = Type.Integer({ minimum: 0, maximum: 255 });
const hex = (description: string) =>
  Type.String({ pattern: "^(?:[0-9A-Fa-f]{2})*$", maxLength: 8192, description: `${description}, hexadecimal` });

/** SvcParams (RFC 9460 §7). Address hints of names in these zones are always made from their A and AAAA. */
const svcParams = Type.Object(
  {
    mandatory: Type.Optional(Type.Array(Type.String({ pattern: "^[a-z0-9-]{1,63}$" }), { minItems: 1, maxItems: 32 })),
    alpn: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
        minItems: 1,
        maxItems: 16,
        description: "protocols, such as h2",
      }),
    ),
    noDefaultAlpn: Type.Optional(Type.Boolean({ description: "http/1.1 is not offered" })),
    port: Type.Optional(uint16),
    ipv4hint: Type.Optional(
      Type.Array(Type.String({ format: "ip" }), {
        minItems: 1,
        maxItems: 16,
        description: "for targets elsewhere only",
      }),
    ),
    ech: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9+/]+={0,2}$", maxLength: 4096, description: "base64" })),
    ipv6hint: Type.Optional(
      Type.Array(Type.String({ format: "ip" }), {
        minItems: 1,
        maxItems: 16,
        description: "for targets elsewhere only",
      }),
    ),
    other: Type.Optional(
      Type.Record(Type.String({ pattern: "^key[0-9]{1,5}$" }), hex("value"), {
        additionalProperties: false,
        maxProperties: 32,
        description: "parameters without a name here: key7: hexadecimal value",
      }),
    ),
  },
  { ...strict, default: {} },
);

export const zoneRecord = kinds("type", [
  record("A", { address: Type.String({ format: "ip", description: "an IPv4 address" }) }),
  record("AAAA", { address: Type.String({ format: "ip", description: "an IPv6 address" }) }),
  record("NS", { target: targetName }),
  record("CNAME", { target: targetName }),
  record("TXT", {
    // A character-string holds 255 octets (RFC 1035 §3.3.14); JSON Schema counts code points, parseFleet() octets.
    text: Type.Array(Type.String({ maxLength: 255 }), { minItems: 1, maxItems: 64 }),
  }),
  record("MX", { preference: uint16, exchange: targetName }),
  record("CAA", {
    flags: Type.Integer({ minimum: 0, maximum: 255, default: 0 }),
    tag: Type.String({ pattern: "^[A-Za-z0-9]{1,15}$" }),
    value: Type.String({ maxLength: 1024 }),
  }),
  record("SRV", { priority: uint16, weight: uint16, port: uint16, target: targetName }),
  record("PTR", { target: targetName }),
  record("DNAME", { target: targetName }),
  // Answered with the A and AAAA of another name in these zones, at the apex too, where a CNAME may not stand.
  record("ALIAS", { target: targetName }),
  record("HTTPS", { priority: uint16, target: targetName, params: svcParams }),
  record("SVCB", { priority: uint16, target: targetName, params: svcParams }),
  record("TLSA", { usage: uint8, selector: uint8, matchingType: uint8, data: hex("certificate association data") }),
  record("SSHFP", { algorithm: uint8, fingerprintType: uint8, fingerprint: hex("fingerprint") }),
  record("DS", { keyTag: uint16, algorithm: uint8, digestType: uint8, digest: hex("digest of the child's key") }),
  record("NAPTR", {
    order: uint16,
    preference: uint16,
    flags: Type.String({ pattern: "^[A-Za-z0-9]{0,16}$", default: "" }),
    services: Type.String({ maxLength: 255, default: "" }),
    regexp: Type.String({ maxLength: 255, default: "" }),
    replacement: targetName,
  }),
  // Any other type, as RFC 3597 has it: its number and its rdata.
  record("RAW", {
    typeNumber: Type.Integer({ minimum: 1, maximum: 65_535, description: "the type's number (IANA)" }),
    data: hex("rdata, names in it uncompressed"),
  }),
]);
export type ZoneRecord = Static<typeof zoneRecord>;
