/**
 * The fleet document: everything that all edges must agree on, one YAML file, kept and versioned by the origin.
 *
 *   zones     what DNS answers for: dns/record/zone.ts, and one file for each record type
 *   sites     schema/sites.ts       where nodes stand, and their service addresses
 *   hosts     schema/hosts.ts       what HTTP answers for; schema/cache-lifetimes.ts
 *   steering  schema/steering.ts    how the addresses of a name are chosen for a client; policies.ts
 *   presets   schema/presets.ts     named image parameters
 *   anycast, limits, probe          schema/anycast.ts, schema/limits.ts, schema/probes.ts
 *
 * These files are the only description of its structure. read-document.ts checks it, and no other code checks it again.
 */
import { type Static, Type } from "typebox";
import { strict } from "#base/schema-terms.ts";
import { writtenZone, type Zone } from "#record/zone.ts";
import { anycast } from "./schema/anycast.ts";
import { host } from "./schema/hosts.ts";
import { limits } from "./schema/limits.ts";
import { preset } from "./schema/presets.ts";
import { probe } from "./schema/probes.ts";
import { site } from "./schema/sites.ts";
import { steeredName } from "./schema/steering.ts";
import { shortName } from "./schema/terms.ts";

export const fleetSchema = Type.Object(
  {
    zones: Type.Array(writtenZone, { minItems: 1, maxItems: 100, description: "DNS zones that the edges serve" }),
    sites: Type.Array(site, { minItems: 1, maxItems: 1000, description: "places with one or more nodes" }),
    anycast,
    shield: Type.Optional(
      shortName("site that fetches from the origin for all other sites, so that the origin sends each source once"),
    ),
    hosts: Type.Array(host, { minItems: 1, maxItems: 10_000, description: "names that the edges serve over HTTP" }),
    steering: Type.Array(steeredName, {
      maxItems: 10_000,
      default: [],
      description: "names whose addresses depend on the client",
    }),
    presets: Type.Record(Type.String({ pattern: "^[a-z0-9][a-z0-9_-]{0,31}$" }), preset, {
      additionalProperties: false,
      maxProperties: 1000,
      default: {},
      description: "named sets of picture parameters, for `?preset=NAME`",
    }),
    limits,
    probe,
  },
  strict,
);
/** The document as it is written: its zones may still be zone files. */
export type WrittenFleet = Static<typeof fleetSchema>;
export type Fleet = Omit<WrittenFleet, "zones"> & {
  zones: readonly Zone[];
  /** With it `zones` lack all records but ALIAS, and these are whole (packed-zones.ts). */
  packedZones?: SharedArrayBuffer;
};
