/** A zone: as its author writes it in the fleet document, and as the rest of the program knows it. */
import { Type, type Static } from "typebox";
import { ipAddress, seconds, strict } from "#base/schema-terms.ts";
import { absoluteName, targetName } from "./names.ts";
import { zoneRecord, type ZoneRecord } from "./types.ts";
import type { Soa } from "./types/soa.ts";

/**
 * A zone as authors write it: its records here, or a whole zone file (RFC 1035 §5). `file` names one beside the
 * document; publishing puts the file's text into `text`, so that a document needs nothing but itself.
 */
export const writtenZone = Type.Object(
  {
    name: absoluteName,
    ttlSeconds: seconds("TTL of records without a ttlSeconds of their own", 300, 604_800),
    negativeTtlSeconds: seconds("how long resolvers cache that a name does not exist (SOA MINIMUM)", 60, 10_800),
    contact: Type.Optional(
      Type.String({
        pattern: "^[^@\\s]{1,64}@[A-Za-z0-9.-]{1,253}$",
        description: "contact of the zone (SOA RNAME), as an email address",
      }),
    ),
    nameservers: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: targetName,
            addresses: Type.Array(ipAddress, {
              maxItems: 16,
              default: [],
              description: "glue, for names inside the zone",
            }),
          },
          strict,
        ),
        { minItems: 1, maxItems: 13, description: "nameservers of the zone; required, unless the zone is a zone file" },
      ),
    ),
    records: Type.Array(zoneRecord, { maxItems: 10_000, default: [], description: "records of the zone" }),
    file: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1024,
        description: "path of a zone file, relative to this document, instead of all other keys but `name`",
      }),
    ),
    text: Type.Optional(
      Type.String({ description: "content of a zone file, without `$INCLUDE`; replaces all other keys except `name`" }),
    ),
  },
  strict,
);
export type WrittenZone = Static<typeof writtenZone>;

/**
 * A zone as the rest of the program knows it. Made by parseFleet(), so that nobody else sees zone files.
 *
 * Names that came from a zone file are whole, end in a dot and have escapes in one form only (RFC 1035 §5.1): a
 * backslash before each of `" $ ( ) . ; @ \\`, three decimal digits after one for octets outside of 0x21-0x7e. So names
 * are equal when canonicalName() of them is, but a dot after a backslash does not end a label.
 */
export interface Zone {
  readonly name: string;
  /** Of records that state none; those from a zone file all do. */
  readonly ttlSeconds: number;
  readonly negativeTtlSeconds: number;
  readonly contact?: string;
  /** Empty for a zone from a zone file: there the apex's NS are among the records, glue too. */
  readonly nameservers: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  /** Without the SOA. */
  readonly records: readonly ZoneRecord[];
  /** Of a zone from a zone file: answered as it stands there, but for the serial, which is the document's version. */
  readonly soa?: ZoneSoa;
}

/** Both names are whole and end in a dot. */
export interface ZoneSoa extends Soa {
  readonly ttlSeconds: number;
}
