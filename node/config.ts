/** The settings of one edge machine. Settings that all edges must share are in the fleet document instead. */
import { type Static, Type } from "typebox";
import { logLevels } from "#base/log.ts";
import { lanesMax } from "./front/ready/ready-memory.ts";
import { type SandboxMode, sandboxModes } from "#image/require-sandbox.ts";

const strict = { additionalProperties: false } as const;
const word = (pattern: string, description: string) => Type.String({ pattern, description });
const endpointFields = (port: number) => ({
  host: Type.String({ format: "ip", default: "127.0.0.1", description: "an IPv4 or IPv6 address of this machine" }),
  port: Type.Integer({ minimum: 0, maximum: 65_535, default: port, description: "0: any free port" }),
});
const endpoint = (port: number, description: string) =>
  Type.Object(endpointFields(port), { ...strict, default: {}, description });
/** Fits one character-string of a TXT record (RFC 1035 §3.3.14). */
const identityText = (description: string) => Type.String({ pattern: "^[ -~]*$", maxLength: 255, description });
const mebibyte = 1024 * 1024;
const path = (description: string) => Type.String({ minLength: 1, maxLength: 4096, description });
const shortName = "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$";

export const edgeConfigSchema = Type.Object(
  {
    node: word(shortName, "name of this node, as in the fleet document"),
    site: word(shortName, "site of this node, as in the fleet document"),
    dataDir: Type.String({
      minLength: 1,
      default: "./data",
      description: "data directory: cache, last fleet document, feed position, compiled code",
    }),
    origin: Type.Object(
      {
        url: Type.String({ format: "http-url", description: "base URL of the origin" }),
        tokenFile: Type.String({
          minLength: 1,
          description: "file that holds the edge token, a copy of the origin's secrets/edge.token",
        }),
      },
      { ...strict, description: "where the origin is, and the token for it" },
    ),
    http: Type.Array(endpoint(8080, "address that HTTP listens on"), { minItems: 1, maxItems: 64, default: [{}] }),
    https: Type.Optional(
      Type.Object(
        {
          addresses: Type.Array(endpoint(8443, "address that HTTPS listens on"), {
            minItems: 1,
            maxItems: 64,
            default: [{}],
          }),
          certificates: Type.Array(
            Type.Object(
              {
                certificateFile: path("PEM file: the certificate of the host, then its intermediates"),
                keyFile: path("PEM file with its private key, without passphrase; not readable by others"),
                ocspFile: Type.Optional(path("OCSP response to staple, in DER")),
              },
              strict,
            ),
            { maxItems: 1000, default: [], description: "certificates, named one by one" },
          ),
          certificateDirectory: Type.Optional(
            path(
              "directory of certificates: NAME.crt or NAME.pem with NAME.key (and NAME.ocsp), or NAME/fullchain.pem " +
                "with NAME/privkey.pem (and NAME/ocsp.der)",
            ),
          ),
          defaultName: Type.Optional(
            Type.String({
              pattern: "^[a-z0-9*._-]+$",
              maxLength: 253,
              description:
                "host whose certificate goes to clients that send no server name, or one without a certificate " +
                "(default: the first certificate)",
            }),
          ),
          publicPort: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 65_535,
              description: "port in redirects to HTTPS (default: that of the first address)",
            }),
          ),
        },
        { ...strict, description: "listener for HTTPS, with certificates from files; absent: HTTP only" },
      ),
    ),
    front: Type.Object(
      {
        lanes: Type.Unsafe<number | "auto">({
          type: ["integer", "string"],
          minimum: 0,
          maximum: lanesMax,
          pattern: "^auto$",
          default: "auto",
          description:
            "threads that own the connections of clients (HTTP and HTTPS) and lend them to the main thread; auto: " +
            "one for every two cores, 1 to 4, or 0 where lanes can't run; 0: the main thread owns the connections",
        }),
      },
      { ...strict, default: {}, description: "how the connections of HTTP clients are handled" },
    ),
    probeUrl: Type.Optional(
      Type.String({
        format: "http-url",
        maxLength: 255,
        description:
          "base URL at which other nodes probe this one, such as that of a TLS proxy in front of it (default: HTTPS " +
          "at the address in the fleet document if it listens there, or else `http` of the fleet document)",
      }),
    ),
    admin: Type.Object(
      {
        ...endpointFields(8081),
        hosts: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
          maxItems: 64,
          default: [],
          description: "host names to accept besides localhost and IP addresses, such as the name that a scraper uses",
        }),
      },
      { ...strict, default: {}, description: "listener for health, metrics and explain; keep it on loopback" },
    ),
    dns: Type.Object(
      {
        addresses: Type.Array(endpoint(5300, "address that DNS listens on, UDP and TCP"), {
          maxItems: 64,
          default: [{}],
        }),
        geoFiles: Type.Optional(
          Type.Array(Type.String({ minLength: 1 }), {
            maxItems: 8,
            description: ".mmdb files to use instead of the bundled city database; []: steer without geo data",
          }),
        ),
        geoCheckSeconds: Type.Integer({
          minimum: 1,
          maximum: 86_400,
          default: 30,
          unit: "s",
          description:
            "how often these files are checked for changes; a changed file is loaded while queries are answered",
        }),
        asnFile: Type.Optional(
          Type.String({
            minLength: 1,
            description: ".mmdb file of AS numbers, for overrides by `asn`; without it, they match no client",
          }),
        ),
        threads: Type.Unsafe<number | "auto">({
          type: ["integer", "string"],
          minimum: 0,
          maximum: 64,
          pattern: "^auto$",
          default: 1,
          description:
            "threads that answer UDP; auto: one less than the cores, but at least 1; 0: the main thread answers",
        }),
        responsesPerSecond: Type.Integer({
          minimum: 0,
          maximum: 10_000_000,
          default: 1000,
          unit: "/s",
          description: "limit of UDP answers to one network (/24, IPv6 /56) without DNS cookies; 0: no limit",
        }),
        slip: Type.Integer({
          minimum: 0,
          maximum: 10,
          default: 2,
          description:
            "over that limit, every Nth query gets a truncated answer, so that real clients retry over TCP; 0: never",
        }),
        amplificationMax: Type.Integer({
          minimum: 0,
          maximum: 100,
          default: 3,
          description: "largest UDP answer without a DNS cookie, as a multiple of the query's size; 0: no limit",
        }),
        identity: Type.Object(
          {
            nsid: Type.Optional(
              identityText('NSID (RFC 5001) sent on request (default: the name of the node); "": none'),
            ),
            id: Type.Optional(identityText('answer to id.server CH TXT (default: the name of the node); "": REFUSED')),
            version: Type.Optional(identityText("answer to version.bind CH TXT; absent: REFUSED")),
          },
          { ...strict, default: {}, description: "how the DNS server identifies itself" },
        ),
      },
      { ...strict, default: {}, description: "the DNS responder" },
    ),
    peer: Type.Optional(
      Type.Object(
        {
          host: Type.String({ format: "ip", description: "address of this machine that other nodes can reach" }),
          port: Type.Integer({ minimum: 1, maximum: 65_535, default: 8082, description: "TCP port" }),
        },
        {
          ...strict,
          description:
            "listener for other nodes, with the same address as in the fleet document; process i uses port + i",
        },
      ),
    ),
    announce: Type.Optional(
      Type.Object(
        {
          neighbor: endpoint(179, "address of BIRD on this machine"),
          source: Type.String({
            format: "ip",
            default: "127.0.0.2",
            description: "source address of the session; process i adds i to it",
          }),
          holdSeconds: Type.Integer({
            minimum: 3,
            maximum: 90,
            default: 3,
            unit: "s",
            description: "hold time: a frozen process loses its announcement after this time",
          }),
          nextHops: Type.Array(Type.String({ format: "ip" }), {
            minItems: 1,
            maxItems: 2,
            description: "addresses of this machine that BIRD announces as the next hop: at most one IPv4 and one IPv6",
          }),
          keyFile: Type.Optional(
            Type.String({
              minLength: 1,
              maxLength: 4096,
              description:
                "file with the TCP MD5 key of the session with BIRD, written by `nearcast bgp config --output`; " +
                "absent: any user of this machine can take the lease",
            }),
          ),
          checkHost: Type.Optional(
            Type.String({
              maxLength: 253,
              description: "images host that the self-check requests (default: the first)",
            }),
          ),
          checkPath: Type.Optional(
            Type.String({
              pattern: "^/[!-~]*$",
              maxLength: 1024,
              description:
                "picture that the self-check must get before an announcement; absent: any HTTP response is enough",
            }),
          ),
          shutdownMs: Type.Integer({
            minimum: 0,
            maximum: 600_000,
            default: 10_000,
            unit: "ms",
            description: "how long GRACEFUL_SHUTDOWN (RFC 8326) is announced before the prefixes are withdrawn",
          }),
        },
        {
          ...strict,
          description: "BGP announcement of the anycast prefixes, as a lease; absent: the node announces nothing",
        },
      ),
    ),
    cache: Type.Object(
      {
        memoryBytes: Type.Integer({
          minimum: mebibyte,
          maximum: 1024 ** 4,
          default: 256 * mebibyte,
          unit: "B",
          description: "memory for cached bodies and header fields",
        }),
        diskBytes: Type.Integer({
          minimum: 0,
          maximum: 1024 ** 5,
          default: 10 * 1024 * mebibyte,
          unit: "B",
          description: "disk space for the cache, with its index; less is used if the disk is full; 0: no disk cache",
        }),
      },
      { ...strict, default: {}, description: "size of the cache" },
    ),
    delivery: Type.Object(
      {
        inFlightBytes: Type.Integer({
          minimum: mebibyte,
          maximum: 1024 ** 4,
          default: 256 * mebibyte,
          unit: "B",
          description:
            "memory for bodies that clients have not received yet: 64 KiB of each, or all of one from the memory " +
            "cache; a client network gets at most a quarter; a request that finds no room within 5 s gets a 503",
        }),
        bytesPerSecondMin: Type.Integer({
          minimum: 1,
          maximum: mebibyte,
          default: 1024,
          unit: "B/s",
          description:
            "minimum rate of a client, over each 64 KiB and with 30 s to spare; slower clients are disconnected",
        }),
      },
      { ...strict, default: {}, description: "limits for responses that are being sent to clients" },
    ),
    assets: Type.Object(
      {
        privateNetworks: Type.Array(Type.String({ format: "prefix" }), {
          maxItems: 64,
          default: [],
          description:
            "networks of private, loopback or other special addresses that origins of assets hosts may use, such as " +
            "10.0.0.0/8; []: public addresses only",
        }),
      },
      { ...strict, default: {}, description: "origins of assets hosts" },
    ),
    decoders: Type.Object(
      {
        processes: Type.Integer({
          minimum: 1,
          maximum: 256,
          default: 2,
          description: "number of decoder processes, and so of concurrent renderings; use one per core",
        }),
        memoryBytes: Type.Integer({
          minimum: 128 * mebibyte,
          maximum: 1024 ** 4,
          default: 1024 * mebibyte,
          unit: "B",
          description: "limit of a decoder's resident memory; above it, the decoder is killed",
        }),
        sandbox: Type.Unsafe<SandboxMode>({
          type: "string",
          enum: sandboxModes,
          default: "auto",
          description: "required: do not start without a sandbox for decoders; auto: use the sandbox where it works",
        }),
      },
      { ...strict, default: {}, description: "processes that render pictures" },
    ),
    drainMs: Type.Integer({
      minimum: 0,
      maximum: 600_000,
      default: 15_000,
      unit: "ms",
      description:
        "after SIGTERM, how long the node drains before it stops accepting connections, and then, how long responses " +
        "in progress may take (at least 3 s); use more than the usual TTL of steered names (ttlFloorSeconds)",
    }),
    logLevel: Type.Unsafe<(typeof logLevels)[number]>({
      type: "string",
      enum: logLevels,
      default: "info",
      description: "lowest level that is logged to standard error",
    }),
  },
  strict,
);
export type EdgeConfig = Static<typeof edgeConfigSchema>;
