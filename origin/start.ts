/**
 * Starts one origin in this process: its parts from the lock to the listening socket, and stops them in reverse order.
 * main.ts does so for a process; tests do so for themselves.
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import type { Clock } from "#base/clock.ts";
import { command } from "#base/command-name.ts";
import { lockDirectory } from "#base/directory-lock.ts";
import { NearcastError } from "#base/errors.ts";
import { createLifecycle } from "#base/lifecycle.ts";
import { listenFailure } from "#base/listen-failure.ts";
import type { Log } from "#base/log.ts";
import { systemReason } from "#base/system-reason.ts";
import { createSeals } from "#follow/channel/seal.ts";
import { secretsInOrder } from "#secret/fleet-secret.ts";
import { buildApp } from "./app.ts";
import { openSqliteCatalogue } from "./catalogue/sqlite.ts";
import { openIntroductionBudget } from "./channel/introductions.ts";
import { openConnectedNodes } from "./channel/connections.ts";
import { openPurgeReports } from "./channel/purge-reports.ts";
import { openQuestions } from "./channel/questions.ts";
import type { OriginConfig } from "./config.ts";
import { openFeedHub } from "./feed/hub.ts";
import { openFleetLimits } from "./fleet/upload-limits.ts";
import { openFleetReader } from "./fleet/stored-fleets.ts";
import { openFleetJudging } from "./fleet/judge-in-thread.ts";
import { openFleetSecret } from "./fleet/fleet-secret-file.ts";
import { openRefusals } from "./refused-tokens.ts";
import { openRosterKeeper } from "./roster/roster-changes.ts";
import { openDirectoryStore } from "./store/directory-store.ts";
import { openHolds } from "./store/holds.ts";
import { startSweep } from "./store/sweep-blobs.ts";
import type { TokenKind } from "./token/token-kind.ts";
import { openTokens } from "./token/tokens.ts";
import { openUploads, type Inspector } from "./upload/store-upload.ts";

export interface OriginDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** The decoder pool; its creator closes it. */
  readonly inspector: Inspector;
}

export interface RunningOrigin {
  /** Such as `http://127.0.0.1:7070`, with the port that the system chose. */
  readonly url: string;
  readonly originId: string;
  /** The files that contain the tokens. */
  readonly tokenFiles: Readonly<Record<TokenKind, string>>;
  /** Ends the feed, lets requests finish for `drainMs`, then closes everything. */
  readonly close: () => Promise<void>;
}

/** Time for closing after the drain: the last commits and the catalogue's checkpoint. */
const closingMsMax = 800;
/** While draining. */
const idleCheckMs = 50;

/**
 * @throws NearcastError CONFLICT when another origin runs on the directory, INTERNAL for a token others can read,
 *   DISK_FAILED for a directory that can't be created
 */
export async function startOrigin(config: OriginConfig, deps: OriginDeps): Promise<RunningOrigin> {
  const { clock, log, inspector } = deps;
  const lifecycle = createLifecycle(log);
  try {
    const dataDir = resolve(config.dataDir);
    await makeDataDirectory(dataDir);
    lifecycle.defer("lock", lockDirectory(dataDir, `another origin is running on ${dataDir}`));
    const secretsDir = join(dataDir, "secrets");
    await refuseLostCatalogue(dataDir);
    const catalogue = openSqliteCatalogue(join(dataDir, "catalogue.sqlite"), config.keep, clock);
    lifecycle.defer("catalogue", catalogue.close);
    await mkdir(secretsDir, { recursive: true, mode: 0o700 });
    const fleetSecret = await openFleetSecret(secretsDir, catalogue);
    const store = await openDirectoryStore(dataDir);
    const holds = openHolds();
    const fleetReader = openFleetReader();
    const judgeFleet = openFleetJudging();
    const fleetLimits = await openFleetLimits(catalogue, fleetReader, log);
    const uploads = openUploads({ store, catalogue, holds, inspector, clock, limits: config.limits });
    const settings = { ...config.feed, ...config.limits };
    const roster = openRosterKeeper(catalogue, fleetReader.read, config.limits);
    const members = async () => new Set((await roster.nodes()).map(({ node }) => node));
    const feed = await openFeedHub({ catalogue, settings, members, clock, log });
    const seals = createSeals(() => secretsInOrder(fleetSecret.secrets()));
    const connected = openConnectedNodes(clock);
    const refusals = openRefusals({ catalogue, clock, log });
    lifecycle.defer("refused attempts", refusals.close);
    const questions = openQuestions({ connected, refusals, seals, clock });
    const purgeReports = openPurgeReports({ connected, clock });
    // One per subscriber, and one more if the fleet secret changed meanwhile.
    const introductions = openIntroductionBudget(2 * config.limits.subscribersPerAddressMax, clock);
    const channel = { seals, connected, questions, purgeReports, introductions };
    const overlapMs = config.tokens.overlapHours * 3_600_000;
    const tokens = await openTokens({ secretsDir, catalogue, overlapMs, changed: feed.wake, clock, log });
    lifecycle.defer("token files", tokens.close);
    const parts = {
      store,
      catalogue,
      uploads,
      feed,
      fleetLimits,
      fleetSecret,
      roster,
      fleetReader,
      judgeFleet,
      ...channel,
    };
    const { app, countSwept } = await buildApp({ config, tokens, refusals, clock, log, ...parts });
    const sweepDeps = { store, catalogue, holds, clock, log, intervalMs: config.sweepIntervalMs };
    const sweep = startSweep({ ...sweepDeps, onRemoved: countSwept });
    lifecycle.defer("sweep", sweep.close);
    lifecycle.defer("listener", async () => {
      purgeReports.close();
      await feed.close();
      const cancelCut = clock.after(config.drainMs, () => {
        app.server.closeAllConnections();
      });
      // Connections whose last response comes during the drain would stay open although no request will follow.
      const cancelIdle = clock.every(idleCheckMs, () => {
        app.server.closeIdleConnections();
      });
      await app.close();
      cancelCut();
      cancelIdle();
      await uploads.settled();
    });
    await app.listen({ host: config.listen.host, port: config.listen.port }).catch((error: unknown) => {
      throw listenFailure("HTTP", config.listen, error);
    });
    const url = urlOf(app.server.address() as AddressInfo);
    log.info({ url, dataDir }, "ready");
    if (!isLoopback(config.listen.host)) {
      log.warn(
        { host: config.listen.host },
        "tokens are sent unencrypted to this address: keep it on a private network, or put a TLS proxy in front of it",
      );
    }
    return {
      url,
      originId: catalogue.originId,
      tokenFiles: tokens.files,
      close: async () => {
        await lifecycle.stop(config.drainMs + closingMsMax);
      },
    };
  } catch (error) {
    await lifecycle.stop(closingMsMax);
    throw error;
  }
}

/** A service without `dataDir` gets here: the default is relative to `/`, which a service can't write to. */
async function makeDataDirectory(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new NearcastError(
      "DISK_FAILED",
      `can't create the data directory ${dataDir}: ${systemReason(cause)}. Set dataDir (--data) to a directory ` +
        `that the origin's user can write to, such as /var/lib/nearcast-origin`,
      { cause },
    );
  }
}

/**
 * SQLite treats a missing or an empty file as a new catalogue. With stored blobs that would delete them: no version
 * refers to any blob, so the sweep would remove them all.
 */
async function refuseLostCatalogue(dataDir: string): Promise<void> {
  const path = join(dataDir, "catalogue.sqlite");
  const sizeBytes = await stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
  if (sizeBytes !== undefined && sizeBytes > 0) return;
  for (const shard of await readdir(join(dataDir, "blobs")).catch(() => [])) {
    if ((await readdir(join(dataDir, "blobs", shard))).length === 0) continue;
    throw new NearcastError(
      "DISK_FAILED",
      `the catalogue ${path} is ${sizeBytes === 0 ? "empty" : "missing"}, but pictures are stored beside ` +
        `it. Restore a backup: ` +
        `\`${command} restore FOLDER --force\`. To start over without them, move ${join(dataDir, "blobs")} away`,
    );
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
