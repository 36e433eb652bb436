/** `steering` of the fleet document: how a site is chosen for the clients of a name. */
import { type Static, Type } from "typebox";
import { oneWordOf, seconds, strict } from "#base/schema-terms.ts";
import { absoluteName } from "#record/domain-names.ts";
import { policiesText, policyNames } from "../policies.ts";
import { shortName } from "./terms.ts";

const override = Type.Object(
  {
    cidr: Type.Optional(Type.String({ pattern: "^[0-9a-fA-F.:]+/\\d{1,3}$", description: "network of the client" })),
    asn: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 4_294_967_295,
        description: "AS number of the client; requires dns.asnFile",
      }),
    ),
    country: Type.Optional(
      Type.String({ pattern: "^[A-Z]{2}$", description: "country of the client (ISO 3166-1 alpha-2)" }),
    ),
    site: Type.Optional(shortName("site to prefer while it is up")),
    sites: Type.Optional(
      Type.Array(shortName("a site"), {
        minItems: 1,
        maxItems: 100,
        description: "instead of `site`: sites that share these clients by weight",
      }),
    ),
  },
  strict,
);
export type Override = Static<typeof override>;

/** Resolvers seldom use shorter TTLs, and clients leave a dead site within half a minute. */
export const ttlFloorSecondsDefault = 10;

export const steeredName = Type.Object(
  {
    name: absoluteName,
    policy: oneWordOf(policyNames, policiesText),
    ttlSeconds: seconds("longest TTL of the answer; it is shorter while the answer may change sooner", 30, 86_400),
    ttlFloorSeconds: seconds(
      "shortest TTL of the answer; default: ttlSeconds, if that is shorter",
      ttlFloorSecondsDefault,
      86_400,
    ),
    sites: Type.Optional(
      Type.Array(shortName("a site"), {
        minItems: 1,
        maxItems: 1000,
        description: "sites that the name may resolve to (default: all); for `fixed`, in order of preference",
      }),
    ),
    weights: Type.Optional(
      Type.Record(Type.String(), Type.Integer({ minimum: 0, maximum: 1_000_000 }), {
        maxProperties: 1000,
        description: "weight of each site, where several sites share clients; sites without an entry have weight 1",
      }),
    ),
    withinKm: Type.Integer({
      minimum: 0,
      maximum: 20_040,
      default: 0,
      unit: "km",
      description:
        "for `geo`: sites that are at most this much farther away than the nearest site share its clients by weight",
    }),
    overrides: Type.Array(override, {
      maxItems: 10_000,
      default: [],
      description:
        "for `geo`: the longest matching cidr wins, then asn, then country; without a match, distance decides",
    }),
  },
  strict,
);
export type SteeredName = Static<typeof steeredName>;
