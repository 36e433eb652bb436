/**
 * An edge, put together: the only place that knows all its rooms. DNS is handed in by main.ts.
 *
 *   memory of the fleet ─▶ caches ─▶ feed (replays missed purges) ─▶ HTTP ─▶ probes ─▶ first judgement ─▶ DNS ─▶ ready
 *
 * The order matters: nothing is served from disk before the missed purges are applied (or the origin is known to be
 * away), no name is answered before every node was judged once, and the node is ready when the first snapshot of names
 * answers on every thread.
 */
import type { FastifyInstance } from "fastify";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { sleep, type Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { before, createLifecycle } from "#base/lifecycle.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { problemLines } from "#base/schema.ts";
import type { Fleet } from "#fleet/document.ts";
import { parseFleet } from "#fleet/read-document.ts";
import { type FeedEvent, type FeedFollower, followFeed } from "#fleet/feed.ts";
import { createLoadMeter } from "#fleet/load-meter.ts";
import { type FleetVersion, openFleetMemory } from "#fleet/memory.ts";
import { openProber, probePath } from "#fleet/probe.ts";
import { readPurgeEvent } from "#fleet/purge-event.ts";
import { secretEventKind } from "#fleet/secret.ts";
import { openDecoderPool } from "#image/pool.ts";
import { openDiskTier } from "./cache/disk.ts";
import { openMemoryTier } from "./cache/memory.ts";
import { openRecords } from "./cache/records.ts";
import { joinTiers } from "./cache/tiers.ts";
import type { EdgeConfig } from "./config.ts";
import { openAssetFetcher } from "./fetch/asset.ts";
import { openOriginClient } from "./fetch/origin.ts";
import { openProbeClient } from "./fetch/probe.ts";
import { followSecrets } from "./fetch/secrets.ts";
import { buildAdminApp } from "./http/admin.ts";
import { buildEdgeApp, type Presence } from "./http/app.ts";
import { type Listener, listen } from "./http/listener.ts";
import { understand } from "./http/understand.ts";
import { openNames, type StartDns } from "./names.ts";
import { declareMetrics } from "./observe/declare.ts";
import { createMetrics } from "./observe/metrics.ts";
import { createAssetServer } from "./serve/asset.ts";
import { createImageServer } from "./serve/image.ts";
import { createPurger } from "./serve/purger.ts";

export interface EdgeDeps {
  startDns: StartDns;
  clock: Clock;
  random: Random;
  log: Log;
}

export interface Edge {
  http: readonly { address: string; port: number }[];
  admin: { address: string; port: number };
  dns: () => readonly { host: string; port: number }[];
  /** Resolves when pictures and names are answered. */
  ready: Promise<void>;
  /** Says `draining` for as long as configured (or until `hurry`), then stops everything. */
  drain: () => Promise<void>;
  hurry: () => void;
}

/** How long the start waits for the origin before it goes on with what it remembers. */
const firstContactMs = 3000;
/** How long a request waits for missed purges to be applied; after that it fails rather than serve something purged. */
const gateMs = 5000;
const requestGraceMs = 3000;
const stopMs = 8000;
const fleetRetryMs = 1000;

/** @throws the failure of whatever could not be started; what was started before is stopped again */
export async function startEdge(config: EdgeConfig, deps: EdgeDeps): Promise<Edge> {
  const { clock, random, log } = deps;
  const lifecycle = createLifecycle(log);
  try {
    return await start();
  } catch (error) {
    await lifecycle.stop(stopMs);
    throw error;
  }

  async function start(): Promise<Edge> {
    const token = await readToken(config.origin.tokenFile);
    const memory = await openFleetMemory(config.dataDir);
    let current: FleetVersion | null = await memory.loadFleet();
    let presence: Presence = "starting";
    let feed: FeedFollower | undefined;
    const hurried = new AbortController();
    const ended = new AbortController();
    lifecycle.defer("waiting", () => {
      ended.abort(new Error("closing"));
    });

    const origin = openOriginClient({ url: config.origin.url, token, clock, random });
    lifecycle.defer("origin client", origin.close);
    const fetcher = openAssetFetcher({ node: config.node, clock, random });
    lifecycle.defer("asset fetcher", fetcher.close);
    const decoders = openDecoderPool({
      size: config.decoders.processes,
      clock,
      log,
      limits: { memoryBytesMax: config.decoders.memoryBytes },
    });
    lifecycle.defer("decoders", decoders.close);
    const memoryTier = openMemoryTier(config.cache.memoryBytes);
    const diskTier = await openDiskTier({
      directory: join(config.dataDir, "cache"),
      bytesMax: config.cache.diskBytes,
      clock,
      log,
    });
    lifecycle.defer("disk cache", diskTier.close);
    const tiers = joinTiers(memoryTier, diskTier);
    const records = openRecords(diskTier);

    const document = (): Fleet => {
      if (current === null) throw new NearcastError("NOT_READY", "this node has no fleet document yet");
      return current.document;
    };
    const feedSeq = (): number => feed?.position()?.seq ?? 0;
    const shared = { tiers, fleet: document, feedSeq, clock, log };
    const images = createImageServer({
      ...shared,
      records,
      origin,
      renderer: decoders,
      // While one picture is in a decoder, the next one's source is read.
      rendersAtOnce: 2 * config.decoders.processes,
    });
    const assets = createAssetServer({ ...shared, fetcher });
    const purger = createPurger({ images, assets, tiers, records, fleet: () => current?.document ?? null });

    const probes = openProbeClient();
    lifecycle.defer("probe client", probes.close);
    const load = createLoadMeter(clock);
    const keptShareOf = (site: string): number => prober.keptShares().get(site) ?? 1;
    const prober = openProber({
      self: config.node,
      probe: (baseUrl, timeoutMs) => probes.probe(new URL(probePath, baseUrl).href, timeoutMs),
      changed: () => {
        names.refresh();
      },
      judgedRound: (soonestMs) => {
        names.setSoonestChanges(soonestMs);
      },
      clock,
      random,
      log,
    });
    lifecycle.defer("probes", prober.close);

    const secrets = followSecrets({
      known: await memory.loadSecrets(),
      ask: origin.secrets,
      store: memory.storeSecrets,
      changed: (fresh) => {
        names.setSecrets(fresh);
      },
      clock,
      log,
    });
    lifecycle.defer("fleet secret", secrets.close);

    const names = openNames({
      config,
      startDns: deps.startDns,
      inputs: () => {
        if (current === null) return null;
        const { document: fleet, version } = current;
        return { fleet, version, siteStates: prober.sites(), keptShares: prober.keptShares() };
      },
      soonestChangesMs: prober.soonestChangesMs,
      secrets: secrets.secrets,
      log,
    });

    async function takeFleet(): Promise<void> {
      const { version, text } = await origin.fleet();
      if (current?.version === version) return;
      const parsed = parseFleet(text);
      if (!parsed.ok) {
        log.error(
          { version, problems: problemLines(parsed.problems) },
          "the fleet document can't be used; the last good one stays",
        );
        return;
      }
      await memory.storeFleet(version, text);
      current = { version, document: parsed.value };
      if (!parsed.value.sites.some((site) => site.name === config.site)) {
        log.warn({ site: config.site, version }, "this node's site is not in the fleet document");
      }
      log.info({ version }, "a fleet document is in force");
      // Before this node itself can be probed, its own judgement would be "down".
      if (presence !== "starting") prober.watch(parsed.value);
      names.refresh();
    }

    async function apply(event: FeedEvent): Promise<void> {
      if (event.kind === "fleet") await takeFleet();
      else if (event.kind === "purge") await purger.apply(event.seq, readPurgeEvent(event.data));
      else if (event.kind === secretEventKind) await secrets.take();
      else log.warn({ kind: event.kind }, "an event of the feed is of a kind that this version does not know");
    }

    feed = followFeed({
      async open(since, signal) {
        const stream = await origin.feed(since, signal);
        // Missed rotations are in the feed, but not what another origin has, or one that was upgraded.
        secrets.refresh();
        return stream;
      },
      position: await memory.loadPosition(),
      save: memory.storePosition,
      apply,
      async reset(reason) {
        log.info({ reason }, "everything cached is dropped");
        await purger.dropAll();
        // Without any document begin() asks for it, again and again; an origin may have none yet.
        if (current !== null) await takeFleet();
      },
      clock,
      random,
      log,
    });
    lifecycle.defer("feed", feed.close);

    const metrics = createMetrics();
    declareMetrics(metrics, {
      memoryTier,
      diskTier,
      decoders,
      images,
      origin,
      fetcher,
      records,
      feed,
      clock,
      dns: names.part,
      dnsVersion: names.version,
      fleetVersion: () => current?.version ?? 0,
      hasFleetSecret: () => secrets.id() !== null,
      siteStates: prober.sites,
      keptShares: prober.keptShares,
      siteLoads: prober.loads,
      load,
      isReady: () => unready().length === 0,
    });

    function unready(): string[] {
      const reasons: string[] = [];
      if (presence !== "ready") reasons.push(presence);
      if (current === null) reasons.push("no fleet document: the origin was never reached");
      if (config.dns.addresses.length > 0 && names.version() === 0) reasons.push("DNS does not answer yet");
      return reasons;
    }

    const gate = (): Promise<void> | null => {
      const waiting = feed?.gate() ?? null;
      if (waiting === null) return null;
      return before(AbortSignal.timeout(gateMs), waiting).catch(() => {
        throw new NearcastError("NOT_READY", "missed purges are still being applied");
      });
    };
    const edgeApp = buildEdgeApp({
      node: config.node,
      site: config.site,
      images,
      assets,
      fleet: () => current,
      presence: () => presence,
      load,
      keptShare: () => keptShareOf(config.site),
      gate,
      served: metrics.served,
      clock,
      log,
    });
    lifecycle.defer("edge application", () => edgeApp.close());
    const adminApp = buildAdminApp({
      unready,
      status,
      metrics,
      explainUrl,
      explainName: (question) => names.part()?.explain(question),
    });
    lifecycle.defer("admin application", () => adminApp.close());
    const admin = await listenOn(config.admin, adminApp);
    lifecycle.defer("admin listener", () => admin.close(100));

    function status(): Record<string, unknown> {
      const health = prober.health();
      const states = prober.sites();
      return {
        node: config.node,
        site: config.site,
        pid: process.pid,
        presence,
        ready: unready().length === 0,
        unready: unready(),
        fleetVersion: current?.version ?? null,
        fleetSecret: secrets.id(),
        requestsPerSecond: load.requestsPerSecond(),
        feed: {
          state: feed?.state() ?? "disconnected",
          position: feed?.position() ?? null,
          heardMsAgo: ageMs(feed?.heardAtMs() ?? null),
        },
        sites: (current?.document.sites ?? []).map((site) => ({
          name: site.name,
          state: states.get(site.name) ?? "unknown",
          requestsPerSecond: prober.loads().get(site.name) ?? null,
          keptShare: keptShareOf(site.name),
          addresses: site.addresses,
          nodes: site.nodes.map((node) => {
            const known = health.get(node.name);
            return { name: node.name, state: known?.state ?? "unknown", reason: known?.reason ?? "not probed yet" };
          }),
        })),
        cache: { memory: memoryTier.stats(), disk: diskTier.stats(), records: records.size() },
        decoders: decoders.stats(),
        origin: { ...origin.counts(), isBroken: origin.isBroken() },
        dns: names.status(),
      };
    }

    function ageMs(atMs: number | null): number | null {
      return atMs === null ? null : Math.round(clock.monotonicMs() - atMs);
    }

    async function explainUrl(url: URL, accept: string | undefined): Promise<Record<string, unknown>> {
      const target = url.pathname + url.search;
      const fields = { host: url.host, ...(accept === undefined ? {} : { accept }) };
      const understood = understand(document(), { method: "GET", target, fields });
      const { kind, order } = understood;
      const answer = kind === "images" ? await images.explain(order) : await assets.explain(order);
      const about = kind === "images" ? { variant: order.variant, varies: order.varies } : { target: order.target };
      return { host: order.host.name, kind, ...about, ...answer };
    }

    // Pictures: as soon as the missed purges are applied, or the origin is known to be away.
    await Promise.race([feed.firstContact, sleep(clock, firstContactMs)]);
    const listeners: Listener[] = [];
    for (const endpoint of config.http) {
      const listener = await listenOn(endpoint, edgeApp);
      listeners.push(listener);
      lifecycle.defer(`listener ${endpoint.host}:${listener.port}`, () => listener.close(requestGraceMs));
    }
    /** The rest of the start may wait for the origin, for as long as it takes. */
    async function begin(): Promise<void> {
      while (current === null) {
        await takeFleet().catch((error: unknown) => {
          log.warn({ reason: (error as Error).message }, "there is no fleet document yet; asking the origin again");
        });
        if (current === null) await sleep(clock, fleetRetryMs, ended.signal);
      }
      await decoders.ready();
      if (presence === "starting") presence = "ready";
      prober.watch(document());
      await prober.judged();
      if (config.dns.addresses.length === 0 || ended.signal.aborted) return;
      // Deferred here, so that at the end names are the first to be silent.
      lifecycle.defer("DNS", names.close);
      await names.start();
    }

    return {
      http: listeners,
      admin,
      dns: () => names.part()?.addresses() ?? [],
      ready: begin(),
      async drain() {
        presence = "draining";
        log.info({ drainMs: config.drainMs }, "draining");
        await sleep(clock, config.drainMs, hurried.signal).catch(() => undefined); // hurried: go on at once
        await lifecycle.stop(stopMs);
      },
      hurry() {
        hurried.abort(new Error("hurried"));
      },
    };
  }
}

async function listenOn(endpoint: { host: string; port: number }, app: FastifyInstance): Promise<Listener> {
  try {
    await app.ready();
    return await listen(endpoint.host, endpoint.port, (request, response) => {
      app.routing(request, response);
    });
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new NearcastError("CANNOT_LISTEN", `HTTP can't listen on ${endpoint.host} port ${endpoint.port}: ${reason}`, {
      cause: error,
    });
  }
}

async function readToken(path: string): Promise<string> {
  let token: string;
  try {
    token = (await readFile(path, "utf8")).trim();
  } catch (error) {
    throw new NearcastError("INTERNAL", `origin.tokenFile can't be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (/^[\x21-\x7e]{16,200}$/.test(token)) return token;
  throw new NearcastError("INTERNAL", `origin.tokenFile ${path} does not hold a token of 16 to 200 characters`);
}
