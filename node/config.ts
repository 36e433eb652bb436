/** What one edge machine must be told. Everything that edges must agree on is in the fleet document instead. */
import { type Static, Type } from "typebox";
import { logLevels } from "#base/log.ts";
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
const shortName = "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$";

export const edgeConfigSchema = Type.Object(
  {
    node: word(shortName, "this node's name, as in the fleet document"),
    site: word(shortName, "this node's site, as in the fleet document"),
    dataDir: Type.String({ minLength: 1, default: "./data", description: "cache, last fleet document, feed position" }),
    origin: Type.Object(
      {
        url: Type.String({ format: "http-url", description: "base URL of the origin" }),
        tokenFile: Type.String({ minLength: 1, description: "file with the edge token that the origin made" }),
      },
      strict,
    ),
    http: Type.Array(endpoint(8080, "where pictures are served"), { minItems: 1, maxItems: 64, default: [{}] }),
    admin: Type.Object(
      {
        ...endpointFields(8081),
        hosts: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
          maxItems: 64,
          default: [],
          description: "names to answer to beside localhost and IP addresses, such as a scraper's name for this node",
        }),
      },
      { ...strict, default: {}, description: "health, metrics and explain; keep it on loopback" },
    ),
    dns: Type.Object(
      {
        addresses: Type.Array(endpoint(5300, "where DNS answers, UDP and TCP"), { maxItems: 64, default: [{}] }),
        geoFiles: Type.Optional(
          Type.Array(Type.String({ minLength: 1 }), {
            maxItems: 8,
            description: "paths of .mmdb files instead of the city database from npm; []: steer without geo data",
          }),
        ),
        geoCheckSeconds: Type.Integer({
          minimum: 1,
          maximum: 86_400,
          default: 30,
          unit: "s",
          description: "how often these files are looked at; a changed one is checked and taken while queries come",
        }),
        asnFile: Type.Optional(
          Type.String({
            minLength: 1,
            description: "path of an .mmdb file of AS numbers, for overrides by `asn`; without it those match nobody",
          }),
        ),
        threads: Type.Unsafe<number | "auto">({
          type: ["integer", "string"],
          minimum: 0,
          maximum: 64,
          pattern: "^auto$",
          default: 1,
          description:
            "threads that answer UDP; auto: cores − 1, at least 1; 0: none, but the main one by Node's sockets",
        }),
        responsesPerSecond: Type.Integer({
          minimum: 0,
          maximum: 10_000_000,
          default: 1000,
          unit: "/s",
          description: "UDP answers to one network (/24, IPv6 /56) without DNS cookies; floods are forged; 0: no limit",
        }),
        slip: Type.Integer({
          minimum: 0,
          maximum: 10,
          default: 2,
          description:
            "past that, every Nth query gets a truncated answer, so that real clients ask again by TCP; 0: never",
        }),
        amplificationMax: Type.Integer({
          minimum: 0,
          maximum: 100,
          default: 3,
          description:
            "longest UDP answer without a cookie, in lengths of its query: forging must not pay; 0: no limit",
        }),
        identity: Type.Object(
          {
            nsid: Type.Optional(
              identityText('what NSID (RFC 5001) says when it is asked for, default the node\'s name; "": nothing'),
            ),
            id: Type.Optional(identityText('what id.server CH TXT says, default the node\'s name; "": it is REFUSED')),
            version: Type.Optional(identityText("what version.bind CH TXT says; absent: it is REFUSED")),
          },
          { ...strict, default: {}, description: "what the responder says of itself" },
        ),
      },
      { ...strict, default: {} },
    ),
    peer: Type.Optional(
      Type.Object(
        {
          host: Type.String({ format: "ip", description: "an address of this machine that the other nodes reach" }),
          port: Type.Integer({ minimum: 1, maximum: 65_535, default: 8082 }),
        },
        {
          ...strict,
          description: "where this node answers its peers, as in the fleet document; process i of several: port + i",
        },
      ),
    ),
    announce: Type.Optional(
      Type.Object(
        {
          neighbor: endpoint(179, "the BIRD of this machine"),
          source: Type.String({
            format: "ip",
            default: "127.0.0.2",
            description: "the address that the session comes from; process i of several adds i to it",
          }),
          holdSeconds: Type.Integer({
            minimum: 3,
            maximum: 90,
            default: 3,
            unit: "s",
            description: "a frozen process loses its announcement after so long",
          }),
          nextHops: Type.Array(Type.String({ format: "ip" }), {
            minItems: 1,
            maxItems: 2,
            description: "addresses of this machine that BIRD announces as the next hop: one IPv4, one IPv6",
          }),
          keyFile: Type.Optional(
            Type.String({
              minLength: 1,
              maxLength: 4096,
              description:
                "file with the TCP MD5 key of the session with BIRD, made by `nearcast bgp config --output`; " +
                "absent: any user of this machine can take the lease",
            }),
          ),
          checkHost: Type.Optional(
            Type.String({ maxLength: 253, description: "image host that the node asks itself for; default the first" }),
          ),
          checkPath: Type.Optional(
            Type.String({
              pattern: "^/[!-~]*$",
              maxLength: 1024,
              description: "picture that must be right before anything is announced; absent: only that HTTP answers",
            }),
          ),
          shutdownMs: Type.Integer({
            minimum: 0,
            maximum: 600_000,
            default: 10_000,
            unit: "ms",
            description: "how long GRACEFUL_SHUTDOWN (RFC 8326) is announced before the withdrawal",
          }),
        },
        { ...strict, description: "the lease of the anycast addresses; absent: nothing is announced" },
      ),
    ),
    cache: Type.Object(
      {
        memoryBytes: Type.Integer({
          minimum: mebibyte,
          maximum: 1024 ** 4,
          default: 256 * mebibyte,
          unit: "B",
          description: "bodies and headers in memory",
        }),
        diskBytes: Type.Integer({
          minimum: 0,
          maximum: 1024 ** 5,
          default: 10 * 1024 * mebibyte,
          unit: "B",
          description: "files on disk; 0: none",
        }),
      },
      { ...strict, default: {} },
    ),
    decoders: Type.Object(
      {
        processes: Type.Integer({
          minimum: 1,
          maximum: 256,
          default: 2,
          description: "renderings at the same time; one per core is a good number",
        }),
        memoryBytes: Type.Integer({
          minimum: 128 * mebibyte,
          maximum: 1024 ** 4,
          default: 1024 * mebibyte,
          unit: "B",
          description: "resident memory at which a decoder is killed",
        }),
        sandbox: Type.Unsafe<SandboxMode>({
          type: "string",
          enum: sandboxModes,
          default: "auto",
          description: "required: nothing starts unless decoders are sandboxed; auto: they are where that works",
        }),
      },
      { ...strict, default: {} },
    ),
    drainMs: Type.Integer({
      minimum: 0,
      maximum: 600_000,
      default: 15_000,
      unit: "ms",
      description: "after SIGTERM: how long it says `draining` before it stops to accept; longer than names' TTLs",
    }),
    logLevel: Type.Unsafe<(typeof logLevels)[number]>({
      type: "string",
      enum: logLevels,
      default: "info",
      description: "what is logged to standard error",
    }),
  },
  strict,
);
export type EdgeConfig = Static<typeof edgeConfigSchema>;
