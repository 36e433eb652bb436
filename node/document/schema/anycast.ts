/** `anycast` of the fleet document: addresses that several sites announce by BGP, and the AS number of the nodes. */
import { type Static, Type } from "typebox";
import { ipAddress, strict } from "#base/schema-terms.ts";
import { autonomousSystem, shortName } from "./terms.ts";

/** Addresses that several sites announce by BGP, and which sites do. */
const cloud = Type.Object(
  {
    name: shortName("name of the cloud, such as `a`"),
    prefixes: Type.Array(Type.String({ format: "prefix", description: "an IPv4 or IPv6 prefix" }), {
      minItems: 1,
      maxItems: 4,
      description:
        "prefixes to announce; most networks on the internet accept none longer than /24 (IPv4) or /48 (IPv6)",
    }),
    addresses: Type.Array(ipAddress, {
      minItems: 1,
      maxItems: 16,
      description: "service addresses within the prefixes; every node of these sites needs them on its interface lo",
    }),
    sites: Type.Array(shortName("a site"), {
      minItems: 1,
      maxItems: 1000,
      description: "sites that announce this cloud",
    }),
  },
  strict,
);
export type Cloud = Static<typeof cloud>;

export const anycast = Type.Object(
  {
    addresses: Type.Array(ipAddress, {
      maxItems: 16,
      default: [],
      description: "addresses that the policy `anycast` returns",
    }),
    as: Type.Optional(autonomousSystem("AS number of the nodes")),
    clouds: Type.Array(cloud, {
      maxItems: 8,
      default: [],
      description: "sets of anycast addresses; use two, announced from different sites, for a second nameserver",
    }),
  },
  { ...strict, default: {}, description: "anycast addresses and the sites that announce them over BGP" },
);
