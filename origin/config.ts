/**
 * What one origin must be told, and where it may be told it:
 *
 *   defaults  <  the YAML file of --config  <  NEARCAST_ORIGIN_… in the environment  <  flags
 *
 * One schema holds every key with its range, unit and meaning; unknown keys, unknown variables and values out of range
 * are all reported at once, and the origin does not start. What all edges share stands in the fleet document instead.
 */
import { ConfigError, loadConfig } from "#base/config.ts";
import { logLevels, type LogLevel } from "#base/log.ts";
import { check } from "#base/schema.ts";
import { type SandboxMode, sandboxModes } from "#image/require-sandbox.ts";
import { Type, type Static } from "typebox";

const strict = { additionalProperties: false } as const;
const section = { ...strict, default: {} } as const;

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
          description:
            "address to listen on; tokens travel in the clear, so others need a private network or TLS before it",
        }),
        port: count(7070, 0, 65_535, "TCP port; 0 lets the system choose one"),
        trustedProxies: Type.Array(Type.String({ minLength: 2, maxLength: 50 }), {
          maxItems: 32,
          default: [],
          description:
            "addresses or networks whose X-Forwarded-For is believed; the audit log has the proxy's address otherwise",
        }),
      },
      section,
    ),
    dataDir: Type.String({
      minLength: 1,
      maxLength: 4096,
      default: "./data/origin",
      description: "where blobs, the catalogue and the tokens are kept",
    }),
    log: Type.Object(
      {
        level: Type.Unsafe<LogLevel>({
          type: "string",
          enum: logLevels,
          default: "info",
          description: "least level logged",
        }),
      },
      section,
    ),
    limits: Type.Object(
      {
        uploadsMax: count(64, 1, 10_000, "uploads at one time; more are answered 503"),
        // Each inspection holds one whole file in memory: 2 × 100 MiB here, and as much again in the decoders.
        inspectionsMax: count(2, 1, 64, "uploads that are decoded at one time; the others wait"),
        inspectionTimeoutMs: milliseconds(30_000, 100, 300_000, "decoding one upload, from its start"),
        uploadStallMs: milliseconds(30_000, 100, 600_000, "an upload that brings no byte for so long is cut"),
        uploadTimeoutMs: milliseconds(3_600_000, 1000, 86_400_000, "one whole upload"),
        subscribersMax: count(1000, 1, 100_000, "edges that follow the feed at one time"),
        subscribersPerAddressMax: count(
          256,
          1,
          100_000,
          "of them from one address or IPv6 /64, a quarter without proof; past it the oldest of those gives way",
        ),
        nodesPerTokenMax: count(256, 1, 10_000, "nodes that join with one edge token: all edges probe each of them"),
        nodesPerAddressMax: count(8, 1, 10_000, "nodes that join at one address or host name"),
        connectionsMax: count(4096, 16, 100_000, "open connections; more are refused"),
        verifyBytesPerSecond: Type.Integer({
          minimum: 10_000_000,
          maximum: 10_000_000_000,
          default: 100_000_000,
          unit: "B",
          description: "what `nearcast verify` may read of the store in a second",
        }),
        unauthenticatedPerNetworkMax: count(
          64,
          1,
          10_000,
          "connections without a valid token, of one IPv4 address or IPv6 /64; past it the oldest is closed",
        ),
        unauthenticatedTimeoutMs: milliseconds(
          10_000,
          100,
          60_000,
          "what a connection gets to present a valid token, and a refused one to finish its body",
        ),
      },
      section,
    ),
    decoders: Type.Object(
      {
        sandbox: Type.Unsafe<SandboxMode>({
          type: "string",
          enum: sandboxModes,
          default: "auto",
          description: "required: nothing starts unless decoders are sandboxed; auto: they are where that works",
        }),
      },
      section,
    ),
    keep: Type.Object(
      {
        versionsPerName: count(100, 1, 1000, "versions kept of one name; older ones are dropped"),
        fleetVersions: count(1000, 1, 100_000, "fleet versions kept"),
        events: count(100_000, 10, 10_000_000, "events kept; an edge that was away for longer drops what it cached"),
        auditDays: count(400, 1, 36_500, "days that audit entries are kept: a year, and time to ask about it"),
        // About 300 bytes each. Counted by kind, so a flood of uploads can't push out who purged or published.
        auditEntries: count(100_000, 10, 10_000_000, "names that audit entries of one kind hold; older entries go"),
      },
      section,
    ),
    tokens: Type.Object(
      {
        overlapHours: count(24, 0, 744, "how long the token before is accepted after a rotation"),
      },
      section,
    ),
    feed: Type.Object(
      {
        heartbeatMs: milliseconds(2000, 10, 60_000, "between two heartbeats of the feed"),
        bufferBytesMax: Type.Integer({
          minimum: 16_384,
          maximum: 268_435_456,
          default: 1_048_576,
          unit: "B",
          description: "bytes that may wait for one subscriber; one that is slower is cut and comes back",
        }),
        stallMs: milliseconds(30_000, 100, 600_000, "a subscriber that takes no byte for so long is cut"),
      },
      section,
    ),
    sweepIntervalMs: milliseconds(60_000, 10, 86_400_000, "between two steps of the sweep, each a 256th of the blobs"),
    drainMs: milliseconds(4000, 0, 60_000, "what requests get to finish when the origin stops"),
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
  /** What flags gave; they win over file and environment. */
  flags?: { dataDir?: string | undefined; host?: string | undefined; port?: number | undefined };
}

/** The frozen configuration. @throws ConfigError with all problems of the source that has some */
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
