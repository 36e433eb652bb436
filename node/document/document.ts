/**
 * The fleet document: everything that all edges must agree on, one YAML file, kept and versioned by the origin.
 *
 *   zones     what DNS answers for          sites    where nodes stand, and their service addresses
 *   hosts     what HTTP answers for         steering how a name's address is chosen for a client
 *   presets   named image parameters        limits, probe, anycast
 *
 * This file is the only description of its shape; read-document.ts checks it, and no other code does so again.
 */
import { Type, type Static } from "typebox";
import { ipAddress, kinds, oneWordOf, seconds, strict } from "#base/schema-terms.ts";
import { absoluteName } from "#record/names.ts";
import { policiesText, policyNames } from "./policies.ts";
import { writtenZone, type Zone } from "#record/zone.ts";

const shortName = (description: string) =>
  Type.String({ pattern: "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$", description });
/** RFC 6793. */
const autonomousSystem = (description: string) =>
  Type.Integer({ minimum: 1, maximum: 4_294_967_294, description: `${description} (RFC 6793)` });

/** Where a node answers its peers; TLS with the fleet secret as the key of both sides. */
export const peerEndpoint = Type.Object(
  {
    host: ipAddress,
    port: Type.Integer({ minimum: 1, maximum: 65_535, default: 8082 }),
  },
  { ...strict, description: "listener for the other nodes of the site; absent: it shares nothing with them" },
);

const site = Type.Object(
  {
    name: shortName("short name of the site, such as `fra`"),
    place: Type.Object(
      {
        latitude: Type.Number({ minimum: -90, maximum: 90, unit: "degrees north" }),
        longitude: Type.Number({ minimum: -180, maximum: 180, unit: "degrees east" }),
        city: Type.Optional(Type.String({ maxLength: 100 })),
        country: Type.Optional(Type.String({ pattern: "^[A-Z]{2}$", description: "ISO 3166-1 alpha-2" })),
      },
      strict,
    ),
    addresses: Type.Array(ipAddress, {
      maxItems: 32,
      default: [],
      description: "service addresses that all nodes of the site share; DNS hands them out while the site is up",
    }),
    capacity: Type.Optional(
      Type.Object(
        {
          requestsPerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000_000, unit: "1/s" })),
          bytesPerSecond: Type.Optional(Type.Integer({ minimum: 1000, maximum: 1_000_000_000_000, unit: "B/s" })),
        },
        { ...strict, minProperties: 1 },
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
            { minItems: 1, maxItems: 16, description: "routers that BIRD on each node peers with" },
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
              intervalMs: Type.Integer({ minimum: 10, maximum: 10_000, default: 300, unit: "ms" }),
              multiplier: Type.Integer({ minimum: 2, maximum: 50, default: 3 }),
            },
            {
              ...strict,
              default: {},
              description: "BFD (RFC 5880): `multiplier` intervals of silence mean a lost link",
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
            description: "service addresses of this node; DNS hands them out while the node is up",
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

/** Addresses that several sites announce by BGP, and which sites do. */
const cloud = Type.Object(
  {
    name: shortName("name of the cloud, such as `a`"),
    prefixes: Type.Array(Type.String({ format: "prefix", description: "an IPv4 or IPv6 prefix" }), {
      minItems: 1,
      maxItems: 4,
      description: "prefixes to announce; the internet accepts none longer than /24 (IPv4) or /48 (IPv6)",
    }),
    addresses: Type.Array(ipAddress, {
      minItems: 1,
      maxItems: 16,
      description: "service addresses within the prefixes; every node of these sites has them on lo",
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

const imagesHost = Type.Object(
  {
    name: absoluteName,
    kind: Type.Literal("images"),
    sourcePrefix: Type.String({
      pattern: "^(?:[A-Za-z0-9._-]+/)*$",
      maxLength: 200,
      default: "",
      description: "prefix added to the URL path to get the name of the picture, such as `shop/`",
    }),
    freshSeconds: seconds("how long an edge uses a source before it asks the origin again; purges work at once", 3600),
    staleWhileRevalidateSeconds: seconds(
      "how much longer it may serve the stale source while it revalidates in the background",
      86_400,
    ),
    staleIfErrorSeconds: seconds("how much longer it may serve the stale source while the origin fails", 604_800),
    negativeSeconds: seconds("how long an edge remembers that a source does not exist", 10, 3600),
    cacheControl: Type.String({
      maxLength: 200,
      pattern: "^[\\x20-\\x7e]+$",
      default: "public, max-age=3600, stale-while-revalidate=86400",
      description: "Cache-Control header sent to browsers",
    }),
  },
  strict,
);
export type ImagesHost = Static<typeof imagesHost>;

const assetsHost = Type.Object(
  {
    name: absoluteName,
    kind: Type.Literal("assets"),
    origin: Type.String({ format: "http-url", description: "base URL of the HTTP/1.1 origin behind this host" }),
    freshSeconds: seconds("lifetime of responses that do not state one; 0: revalidate each time", 0),
    staleWhileRevalidateSeconds: seconds("used when the answer states none (RFC 5861)", 0),
    staleIfErrorSeconds: seconds("used when the answer states none (RFC 5861)", 86_400),
    negativeSeconds: seconds("lifetime of 404 and 410 responses that do not state one", 5, 3600),
    timeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 10_000,
      unit: "ms",
      description: "time limit for the response header, with connecting and retries; then for each pause in the body",
    }),
  },
  strict,
);
export type AssetsHost = Static<typeof assetsHost>;

const host = kinds("kind", [imagesHost, assetsHost]);
export type Host = Static<typeof host>;

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
    country: Type.Optional(Type.String({ pattern: "^[A-Z]{2}$", description: "ISO 3166-1 alpha-2" })),
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

/** Resolvers seldom keep less; and a site that died is left within half a minute. */
export const ttlFloorSecondsDefault = 10;

const steeredName = Type.Object(
  {
    name: absoluteName,
    policy: oneWordOf(policyNames, policiesText),
    ttlSeconds: seconds("longest TTL of the answer; it is shorter while the answer may change sooner", 30, 86_400),
    ttlFloorSeconds: seconds(
      "shortest TTL of the answer; ttlSeconds, where that is below the default",
      ttlFloorSecondsDefault,
      86_400,
    ),
    sites: Type.Optional(
      Type.Array(shortName("a site"), {
        minItems: 1,
        maxItems: 1000,
        description: "sites that may be answered (default: all); for `fixed`, in order of preference",
      }),
    ),
    weights: Type.Optional(
      Type.Record(Type.String(), Type.Integer({ minimum: 0, maximum: 1_000_000 }), {
        maxProperties: 1000,
        description: "site: weight, where several sites share clients; the default weight is 1",
      }),
    ),
    withinKm: Type.Integer({
      minimum: 0,
      maximum: 20_040,
      default: 0,
      unit: "km",
      description: "for `geo`: sites at most this much farther away than the nearest share its clients by weight",
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

/** The parameters of an image URL that a preset may set: the grammar itself stands in node/variant. */
const preset = Type.Object(
  {
    w: Type.Optional(Type.Integer({ minimum: 1, maximum: 8192, unit: "px" })),
    h: Type.Optional(Type.Integer({ minimum: 1, maximum: 8192, unit: "px" })),
    fit: Type.Optional(
      oneWordOf(["clip", "crop", "fill", "max", "min", "scale"], "how the picture is fitted into w and h"),
    ),
    q: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    fm: Type.Optional(oneWordOf(["jpg", "png", "webp", "avif"], "output format")),
    auto: Type.Optional(oneWordOf(["format"], "choose the output format by the Accept header")),
    dpr: Type.Optional(Type.Number({ minimum: 0.1, maximum: 5 })),
    bg: Type.Optional(Type.String({ pattern: "^[0-9A-Fa-f]{3,8}$", description: "background colour, hexadecimal" })),
  },
  strict,
);
export type Preset = Static<typeof preset>;

const limits = Type.Object(
  {
    sourceBytesMax: Type.Integer({
      minimum: 1024,
      maximum: 1_073_741_824,
      default: 104_857_600,
      unit: "B",
      description: "maximum size of an uploaded picture",
    }),
    sourcePixelsMax: Type.Integer({
      minimum: 1024,
      maximum: 268_402_689,
      default: 100_000_000,
      unit: "px",
      description: "maximum width × height × frames of an uploaded picture",
    }),
    originTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 20_000,
      unit: "ms",
      description: "time limit for fetching a source from the origin, with connecting, retries and the body",
    }),
    renderTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 15_000,
      unit: "ms",
      description: "time limit for one rendering",
    }),
    renderQueueMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 1000,
      description: "renderings that may wait on one node; more get a 503",
    }),
    objectBytesMax: Type.Integer({
      minimum: 1024,
      maximum: 1_073_741_824,
      default: 67_108_864,
      unit: "B",
      description: "largest body that an edge stores; larger ones pass through",
    }),
  },
  { ...strict, default: {} },
);
export type Limits = Static<typeof limits>;

const probe = Type.Object(
  {
    intervalMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 1000,
      unit: "ms",
      description:
        "interval between probes of a node that answers; after a late answer, probes follow at a tenth of it",
    }),
    timeoutMs: Type.Integer({
      minimum: 50,
      maximum: 60_000,
      default: 1000,
      unit: "ms",
      description: "a probe without an answer by then has failed; at most intervalMs",
    }),
    failuresDown: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 7,
      description: "consecutive failures that take a node down, unless a reachable node still reaches it",
    }),
    successesUp: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 2,
      description: "consecutive successes that bring a node up",
    }),
  },
  { ...strict, default: {} },
);
export type ProbeSettings = Static<typeof probe>;

export const fleetSchema = Type.Object(
  {
    zones: Type.Array(writtenZone, { minItems: 1, maxItems: 100 }),
    sites: Type.Array(site, { minItems: 1, maxItems: 1000 }),
    anycast: Type.Object(
      {
        addresses: Type.Array(ipAddress, {
          maxItems: 16,
          default: [],
          description: "addresses that the policy `anycast` answers",
        }),
        as: Type.Optional(autonomousSystem("AS number of the nodes")),
        clouds: Type.Array(cloud, {
          maxItems: 8,
          default: [],
          description: "sets of anycast addresses; use two, announced from different sites, for a second nameserver",
        }),
      },
      { ...strict, default: {} },
    ),
    shield: Type.Optional(
      shortName("site that all others ask instead of the origin, so that each source is fetched from the origin once"),
    ),
    hosts: Type.Array(host, { minItems: 1, maxItems: 10_000 }),
    steering: Type.Array(steeredName, { maxItems: 10_000, default: [] }),
    presets: Type.Record(Type.String({ pattern: "^[a-z0-9][a-z0-9_-]{0,31}$" }), preset, {
      additionalProperties: false,
      maxProperties: 1000,
      default: {},
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
