/**
 * The settings of one origin, and their sources:
 *
 *   defaults  <  the YAML file of --config  <  NEARCAST_ORIGIN_… in the environment  <  flags
 *
 * One schema defines every key with its range, unit and meaning; unknown keys, unknown variables and values out of
 * range are all reported at once, and the origin does not start. Settings that all edges share are in the fleet
 * document.
 */
import { ConfigError, loadConfig } from "#base/read-config.ts";
import { logLevels, type LogLevel } from "#base/log.ts";
import { check } from "#base/schema.ts";
import { type SandboxMode, sandboxModes } from "#image/require-sandbox.ts";
import { Type, type Static } from "typebox";

const strict = { additionalProperties: false } as const;
const section = (description: string) => ({ ...strict, default: {}, description }) as const;

const count = (fallback: number, minimum: number, maximum: number, description: string) =>
  Type.Integer({ minimum, maximum, default: fallback, description });
const milliseconds = (fallback: number, minimum: number, maximum: number, description: string) =>
  Type.Integer({ minimum, maximum, default: fallback, unit: "ms", description });

export const originConfigSchema = Type.Object(
  {
    listen: Type.Object(
      {
        host: Type.String({
          minLength: 1,
          maxLength: 255,
          default: "127.0.0.1",
          description: "address to listen on; tokens are sent in clear text, so use a private network or TLS in front",
        }),
        port: count(7070, 0, 65_535, "TCP port; 0: any free port"),
        trustedProxies: Type.Array(Type.String({ minLength: 2, maxLength: 50 }), {
          maxItems: 32,
          default: [],
          description: "addresses or networks of proxies whose X-Forwarded-For is trusted, for the audit log",
        }),
      },
      section("address of the HTTP listener"),
    ),
    dataDir: Type.String({
      minLength: 1,
      maxLength: 4096,
      default: "./data/origin",
      description: "data directory: blobs, catalogue and tokens",
    }),
    log: Type.Object(
      {
        level: Type.Unsafe<LogLevel>({
          type: "string",
          enum: logLevels,
          default: "info",
          description: "lowest level that is logged",
        }),
      },
      section("the log on standard error"),
    ),
    limits: Type.Object(
      {
        uploadsMax: count(64, 1, 10_000, "concurrent uploads; more get a 503"),
        // Each inspection holds one whole file in memory: 2 × 100 MiB here, and the same again in the decoders.
        inspectionsMax: count(2, 1, 64, "uploads that are decoded at the same time; the others wait"),
        inspectionTimeoutMs: milliseconds(30_000, 100, 300_000, "time limit for decoding one upload"),
        uploadStallMs: milliseconds(30_000, 100, 600_000, "an upload that sends nothing for this long is aborted"),
        uploadTimeoutMs: milliseconds(3_600_000, 1000, 86_400_000, "time limit for one upload"),
        subscribersMax: count(1000, 1, 100_000, "edges that follow the feed at the same time"),
        subscribersPerAddressMax: count(
          256,
          1,
          100_000,
          "edges that follow the feed from one IPv4 address or IPv6 /64, at most a quarter of them without proof of " +
            "the fleet secret; beyond that, the oldest without proof is closed",
        ),
        nodesPerTokenMax: count(256, 1, 10_000, "nodes that may join with one edge token"),
        nodesPerAddressMax: count(8, 1, 10_000, "nodes that may join with the same address or host name"),
        connectionsMax: count(4096, 16, 100_000, "open connections; more are refused"),
        verifyBytesPerSecond: Type.Integer({
          minimum: 10_000_000,
          maximum: 10_000_000_000,
          default: 100_000_000,
          unit: "B",
          description: "how fast `nearcast verify` may read the store",
        }),
        unauthenticatedPerNetworkMax: count(
          64,
          1,
          10_000,
          "connections without a valid token from one IPv4 address or IPv6 /64; beyond that, the oldest is closed",
        ),
        unauthenticatedTimeoutMs: milliseconds(
          10_000,
          100,
          60_000,
          "time for a connection to present a valid token, and for a refused one to finish its body",
        ),
      },
      section("limits for uploads, connections and nodes"),
    ),
    decoders: Type.Object(
      {
        sandbox: Type.Unsafe<SandboxMode>({
          type: "string",
          enum: sandboxModes,
          default: "auto",
          description: "required: do not start without a sandbox for decoders; auto: use the sandbox where it works",
        }),
      },
      section("processes that check uploads"),
    ),
    keep: Type.Object(
      {
        versionsPerName: count(100, 1, 1000, "versions kept of each picture; older ones are dropped"),
        fleetVersions: count(1000, 1, 100_000, "versions kept of the fleet document"),
        events: count(100_000, 10, 10_000_000, "feed events kept; an edge that missed more drops its cache"),
        auditDays: count(400, 1, 36_500, "days that audit entries are kept"),
        // About 300 bytes each. Counted by kind, so a flood of uploads can't displace the entries of purges or
        // publications.
        auditEntries: count(
          100_000,
          10,
          10_000_000,
          "limit of audit entries of each kind, counted by the names in them; beyond it, the oldest are dropped",
        ),
      },
      section("how much history the origin keeps"),
    ),
    tokens: Type.Object(
      {
        overlapHours: count(24, 0, 744, "how long the previous token is accepted after a rotation"),
      },
      section("rotation of tokens"),
    ),
    feed: Type.Object(
      {
        heartbeatMs: milliseconds(2000, 10, 60_000, "interval between heartbeats of the feed"),
        bufferBytesMax: Type.Integer({
          minimum: 16_384,
          maximum: 268_435_456,
          default: 1_048_576,
          unit: "B",
          description:
            "limit of the bytes buffered for one subscriber; above it, the subscriber is disconnected and reconnects",
        }),
        stallMs: milliseconds(30_000, 100, 600_000, "a subscriber that reads nothing for this long is disconnected"),
      },
      section("the feed that edges follow"),
    ),
    sweepIntervalMs: milliseconds(
      60_000,
      10,
      86_400_000,
      "interval between steps of the sweep for unused blobs; each step covers 1/256 of them",
    ),
    drainMs: milliseconds(4000, 0, 60_000, "time for open requests to finish when the origin stops"),
  },
  strict,
);
export type OriginConfig = Static<typeof originConfigSchema>;

/** `NEARCAST_ORIGIN_LISTEN__PORT=0` sets `listen.port`. */
export const environmentPrefix = "NEARCAST_ORIGIN";

export interface ConfigSources {
  /** Path of the YAML file. */
  file?: string | undefined;
  environment?: Readonly<Record<string, string | undefined>>;
  /** Values of flags; they override the file and the environment. */
  flags?: { dataDir?: string | undefined; host?: string | undefined; port?: number | undefined };
}

/** The frozen configuration. @throws ConfigError with all problems of the first source that has any */
export async function loadOriginConfig(sources: ConfigSources = {}): Promise<OriginConfig> {
  const { file, environment = {}, flags = {} } = sources;
  const told = await loadConfig(originConfigSchema, file, environmentPrefix, environment);
  const listen = {
    ...told.listen,
    ...(flags.host === undefined ? {} : { host: flags.host }),
    ...(flags.port === undefined ? {} : { port: flags.port }),
  };
  const checked = check(originConfigSchema, {
    ...told,
    listen,
    ...(flags.dataDir === undefined ? {} : { dataDir: flags.dataDir }),
  });
  if (!checked.ok) throw new ConfigError("the flags", checked.problems);
  return checked.value;
}
