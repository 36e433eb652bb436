/** A zone: as its author writes it in the fleet document, and as the rest of the program sees it. */
import { Type, type Static } from "typebox";
import { ipAddress, seconds, strict } from "#base/schema-terms.ts";
import { absoluteName, targetName } from "./domain-names.ts";
import { zoneRecord, type ZoneRecord } from "./types.ts";
import type { Soa } from "./types/soa.ts";

/**
 * A zone as its author writes it: a list of records, or a whole zone file (RFC 1035 §5). `file` names a file beside the
 * document. Publishing moves its content to `text`, so that a published document is complete.
 */
export const writtenZone = Type.Object(
  {
    name: absoluteName,
    ttlSeconds: seconds("TTL of records that don't state one", 300, 604_800),
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
              description: "glue addresses, for names inside the zone",
            }),
          },
          strict,
        ),
        { minItems: 1, maxItems: 13, description: "nameservers of the zone; required unless `file` or `text` is set" },
      ),
    ),
    records: Type.Array(zoneRecord, { maxItems: 10_000, default: [], description: "records of the zone" }),
    file: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1024,
        description:
          "a zone file next to this document; it replaces all other keys but `name`. `nearcast fleet apply` reads it",
      }),
    ),
    text: Type.Optional(
      Type.String({
        description:
          "the text of a zone file; it replaces all other keys but `name`. `$INCLUDE` works only with `file`",
      }),
    ),
  },
  strict,
);
export type WrittenZone = Static<typeof writtenZone>;

/**
 * A zone as the rest of the program sees it. parseFleet() makes it, so no other code sees zone files.
 *
 * Names from a zone file are absolute, end in a dot and use one form of escape (RFC 1035 §5.1): a backslash before each
 * of `" $ ( ) . ; @ \\`, and a backslash with three decimal digits for octets outside 0x21-0x7e. So two names are equal
 * when their canonicalName() is equal; but a dot after a backslash does not end a label.
 */
export interface Zone {
  readonly name: string;
  /** TTL of records that don't state one; records from a zone file always do. */
  readonly ttlSeconds: number;
  readonly negativeTtlSeconds: number;
  readonly contact?: string;
  /** Empty for a zone file: its records include the apex's NS and the glue. */
  readonly nameservers: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  /** Without the SOA. */
  readonly records: readonly ZoneRecord[];
  /** Zone files only. Served as written, except for the serial, which is the version of the document. */
  readonly soa?: ZoneSoa;
}

/** Both names are absolute and end in a dot. */
export interface ZoneSoa extends Soa {
  readonly ttlSeconds: number;
}
