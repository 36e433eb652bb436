/**
 * `sites` of the fleet document: where nodes stand, their addresses, their capacity, the routers that they peer with.
 */
import { type Static, Type } from "typebox";
import { ipAddress, oneWordOf, strict } from "#base/schema-terms.ts";
import { autonomousSystem, shortName } from "./terms.ts";

/** Where a node answers its peers, over TLS with the fleet secret as the key of both sides. */
export const peerEndpoint = Type.Object(
  {
    host: ipAddress,
    port: Type.Integer({ minimum: 1, maximum: 65_535, default: 8082, description: "TCP port" }),
  },
  { ...strict, description: "listener for other nodes; absent: the node shares no cache with them" },
);

export const site = Type.Object(
  {
    name: shortName("short name of the site, such as `fra`"),
    place: Type.Object(
      {
        latitude: Type.Number({ minimum: -90, maximum: 90, unit: "degrees", description: "north is positive" }),
        longitude: Type.Number({ minimum: -180, maximum: 180, unit: "degrees", description: "east is positive" }),
        city: Type.Optional(
          Type.String({ maxLength: 100, description: "shown on the map of `nearcast status --map`" }),
        ),
        country: Type.Optional(
          Type.String({ pattern: "^[A-Z]{2}$", description: "country code (ISO 3166-1 alpha-2), such as `DE`" }),
        ),
      },
      { ...strict, description: "coordinates of the site, for distances to clients and to other sites" },
    ),
    addresses: Type.Array(ipAddress, {
      maxItems: 32,
      default: [],
      description: "service addresses that all nodes of the site share; DNS returns them while the site is up",
    }),
    capacity: Type.Optional(
      Type.Object(
        {
          requestsPerSecond: Type.Optional(
            Type.Integer({ minimum: 1, maximum: 10_000_000, unit: "/s", description: "HTTP requests" }),
          ),
          bytesPerSecond: Type.Optional(
            Type.Integer({ minimum: 1000, maximum: 1_000_000_000_000, unit: "B/s", description: "bytes of bodies" }),
          ),
        },
        {
          ...strict,
          minProperties: 1,
          description: "load that all nodes of the site can serve together; above it, DNS sheds clients",
        },
      ),
    ),
    state: oneWordOf(
      ["auto", "up", "down", "draining"],
      "`auto` follows the probes; the other values force the state of the site",
      "auto",
    ),
    bgp: Type.Optional(
      Type.Object(
        {
          routers: Type.Array(
            Type.Object(
              {
                address: ipAddress,
                as: autonomousSystem("the router's AS number"),
                passwordFile: Type.Optional(
                  Type.String({
                    pattern: '^/[^\\s"]+$',
                    maxLength: 255,
                    description: "file on the node that holds the TCP MD5 key",
                  }),
                ),
              },
              strict,
            ),
            { minItems: 1, maxItems: 16, description: "routers that BIRD on each node has a BGP session with" },
          ),
          holdSeconds: Type.Integer({
            minimum: 3,
            maximum: 240,
            default: 9,
            unit: "s",
            description: "hold time of the session with the routers (RFC 4271 §4.2)",
          }),
          bfd: Type.Object(
            {
              intervalMs: Type.Integer({
                minimum: 10,
                maximum: 10_000,
                default: 300,
                unit: "ms",
                description: "interval between BFD packets",
              }),
              multiplier: Type.Integer({
                minimum: 2,
                maximum: 50,
                default: 3,
                description: "intervals without a packet after which the link counts as lost",
              }),
            },
            {
              ...strict,
              default: {},
              description: "BFD (RFC 5880) with the routers",
            },
          ),
        },
        { ...strict, description: "how the nodes of this site announce the anycast clouds" },
      ),
    ),
    nodes: Type.Array(
      Type.Object(
        {
          name: shortName("name of the node, unique in the fleet"),
          http: Type.String({ format: "http-url", description: "base URL at which other nodes reach and probe it" }),
          peer: Type.Optional(peerEndpoint),
          addresses: Type.Array(ipAddress, {
            maxItems: 16,
            default: [],
            description: "service addresses of this node; DNS returns them while the node is up",
          }),
          state: oneWordOf(["auto", "draining"], "`draining`: the node gets no new clients", "auto"),
        },
        strict,
      ),
      { maxItems: 256, default: [], description: "nodes of the site; nodes can also join with `nearcast join`" },
    ),
  },
  strict,
);
export type Site = Static<typeof site>;
export type SiteNode = Site["nodes"][number];
