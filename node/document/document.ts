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
  { ...strict, description: "where it answers other nodes; absent: it shares nothing with them" },
);

const site = Type.Object(
  {
    name: shortName("the site's short name, such as `fra`"),
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
      description: "service addresses that all nodes of the site share; DNS gives them to its clients while it is up",
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
      "`auto` follows the probes; the others force the site's state",
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
                    description: "file on the node with the TCP MD5 key",
                  }),
                ),
              },
              strict,
            ),
            { minItems: 1, maxItems: 16, description: "to whom each node's BIRD announces" },
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
            { ...strict, default: {}, description: "BFD (RFC 5880): so many intervals of silence are a lost link" },
          ),
        },
        { ...strict, description: "how nodes of this site announce the anycast clouds" },
      ),
    ),
    nodes: Type.Array(
      Type.Object(
        {
          name: shortName("the node's name, unique in the fleet"),
          http: Type.String({ format: "http-url", description: "base URL at which other nodes reach and probe it" }),
          peer: Type.Optional(peerEndpoint),
          addresses: Type.Array(ipAddress, {
            maxItems: 16,
            default: [],
            description: "its own service addresses; DNS gives them to the site's clients while this node is up",
          }),
          state: oneWordOf(["auto", "draining"], "`draining`: it gets no new clients", "auto"),
        },
        strict,
      ),
      { maxItems: 256, default: [], description: "nodes can also join by themselves: `nearcast join`" },
    ),
  },
  strict,
);
export type Site = Static<typeof site>;
export type SiteNode = Site["nodes"][number];

/** Addresses that several sites announce by BGP, and which sites do. */
const cloud = Type.Object(
  {
    name: shortName("such as `a`"),
    prefixes: Type.Array(Type.String({ format: "prefix", description: "an IPv4 or IPv6 prefix" }), {
      minItems: 1,
      maxItems: 4,
      description: "what is announced; the internet takes /24 and /48 at the longest",
    }),
    addresses: Type.Array(ipAddress, {
      minItems: 1,
      maxItems: 16,
      description: "the service addresses within; every node of these sites has them on lo",
    }),
    sites: Type.Array(shortName("a site"), { minItems: 1, maxItems: 1000, description: "who announces it" }),
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
      description: "put before the URL's path to get the source's name, such as `shop/`",
    }),
    freshSeconds: seconds("how long an edge uses a source before it asks the origin again (purges work at once)", 3600),
    staleWhileRevalidateSeconds: seconds("how long after that it may still answer at once, asking behind", 86_400),
    staleIfErrorSeconds: seconds("how long after that it may still answer while the origin fails", 604_800),
    negativeSeconds: seconds("how long it remembers that a source is not there", 10, 3600),
    cacheControl: Type.String({
      maxLength: 200,
      pattern: "^[\\x20-\\x7e]+$",
      default: "public, max-age=3600, stale-while-revalidate=86400",
      description: "the Cache-Control that browsers get",
    }),
  },
  strict,
);
export type ImagesHost = Static<typeof imagesHost>;

const assetsHost = Type.Object(
  {
    name: absoluteName,
    kind: Type.Literal("assets"),
    origin: Type.String({ format: "http-url", description: "the HTTP/1.1 origin behind this host" }),
    freshSeconds: seconds("lifetime of answers that state none; 0: revalidate each time", 0),
    staleWhileRevalidateSeconds: seconds("used when the answer states none (RFC 5861)", 0),
    staleIfErrorSeconds: seconds("used when the answer states none (RFC 5861)", 86_400),
    negativeSeconds: seconds("lifetime of 404 and 410 answers that state none", 5, 3600),
    timeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 10_000,
      unit: "ms",
      description:
        "wait for the origin's header section, connecting and retries included; then for each silence in a body",
    }),
  },
  strict,
);
export type AssetsHost = Static<typeof assetsHost>;

const host = kinds("kind", [imagesHost, assetsHost]);
export type Host = Static<typeof host>;

const override = Type.Object(
  {
    cidr: Type.Optional(Type.String({ pattern: "^[0-9a-fA-F.:]+/\\d{1,3}$", description: "client network" })),
    asn: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 4_294_967_295, description: "the client's AS number; needs dns.asnFile" }),
    ),
    country: Type.Optional(Type.String({ pattern: "^[A-Z]{2}$", description: "ISO 3166-1 alpha-2" })),
    site: Type.Optional(shortName("the site to prefer while it is up")),
    sites: Type.Optional(
      Type.Array(shortName("a site"), {
        minItems: 1,
        maxItems: 100,
        description: "instead of `site`: they share these clients by their weights",
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
        description: "the sites that may be answered, default all; for `fixed` also their order",
      }),
    ),
    weights: Type.Optional(
      Type.Record(Type.String(), Type.Integer({ minimum: 0, maximum: 1_000_000 }), {
        maxProperties: 1000,
        description: "site: weight, where several sites share clients; a site that is not named weighs 1",
      }),
    ),
    withinKm: Type.Integer({
      minimum: 0,
      maximum: 20_040,
      default: 0,
      unit: "km",
      description: "for `geo`: sites at most this much farther than the nearest share its clients by their weights",
    }),
    overrides: Type.Array(override, {
      maxItems: 10_000,
      default: [],
      description: "for `geo`: the longest cidr, else the asn, else the country; distance where none matches",
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
    fit: Type.Optional(oneWordOf(["clip", "crop", "fill", "max", "min", "scale"], "how the picture meets w and h")),
    q: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    fm: Type.Optional(oneWordOf(["jpg", "png", "webp", "avif"], "output format")),
    auto: Type.Optional(oneWordOf(["format"], "choose the format by Accept")),
    dpr: Type.Optional(Type.Number({ minimum: 0.1, maximum: 5 })),
    bg: Type.Optional(Type.String({ pattern: "^[0-9A-Fa-f]{3,8}$", description: "background, hexadecimal" })),
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
      description: "size of an uploaded picture",
    }),
    sourcePixelsMax: Type.Integer({
      minimum: 1024,
      maximum: 268_402_689,
      default: 100_000_000,
      unit: "px",
      description: "width × height × frames of an uploaded picture",
    }),
    originTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 20_000,
      unit: "ms",
      description: "wait for a picture's source from the origin: connecting, retries and the whole body together",
    }),
    renderTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 15_000,
      unit: "ms",
      description: "one rendering, from its start",
    }),
    renderQueueMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 1000,
      description: "renderings that may wait on one node; more are answered 503",
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
        "between two probes of a node that answers; one that is late is not waited for, and others follow at a tenth",
    }),
    timeoutMs: Type.Integer({
      minimum: 50,
      maximum: 60_000,
      default: 1000,
      unit: "ms",
      description: "a probe without answer by then has failed; never longer than intervalMs",
    }),
    failuresDown: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 7,
      description: "failures in a row that take a node down, unless a node that is reached still reaches it",
    }),
    successesUp: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 2,
      description: "successes in a row that bring it up",
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
        addresses: Type.Array(ipAddress, { maxItems: 16, default: [], description: "what policy `anycast` answers" }),
        as: Type.Optional(autonomousSystem("the AS number of all nodes")),
        clouds: Type.Array(cloud, {
          maxItems: 8,
          default: [],
          description: "two, announced from different sites, so that resolvers always have a nameserver elsewhere",
        }),
      },
      { ...strict, default: {} },
    ),
    shield: Type.Optional(
      shortName("the site that all others ask instead of the origin, so that each source is fetched from there once"),
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
