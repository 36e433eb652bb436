/**
 * An edge, put together: the only place that knows all its rooms. DNS is handed in by main.ts.
 *
 *   membership ─▶ caches ─▶ feed (replays missed purges) ─▶ HTTP, peers ─▶ probes ─▶ first judgement ─▶ DNS ─▶ ready
 *                                                                                                         └─▶ lease
 * The order matters: nothing is served from disk before the missed purges are applied (or the origin is known to be
 * away), no name is answered before every node was judged once, the node is ready when the first snapshot of names
 * answers on every thread, and announced when its own answers have been right for a while.
 *
 * At the end it is the other way round: the announcement and the names say `elsewhere` first, what comes all the same
 * is served, and only then does anything stop.
 */
import type { FastifyInstance } from "fastify";
import { mkdir } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { sleep, type Clock } from "#base/clock.ts";
import { lockDirectory } from "#base/directory-lock.ts";
import { NearcastError } from "#base/errors.ts";
import { before, createLifecycle } from "#base/lifecycle.ts";
import type { Log } from "#base/log.ts";
import { processMetrics } from "#base/process-metrics.ts";
import type { Random } from "#base/random.ts";
import { readRelease } from "#base/release.ts";
import type { Fleet } from "#document/document.ts";
import { adminTargetOf } from "#follow/channel/admin-target.ts";
import { createSeals } from "#follow/channel/seal.ts";
import { fleetSchema } from "#document/document.ts";
import { type FeedEvent, type FeedFollower, followFeed } from "#follow/feed.ts";
import { silenceOf } from "#follow/origin-silence.ts";
import { createLoadMeter } from "#health/load-meter.ts";
import type { NodeWord } from "#health/health.ts";
import { liveFleet } from "#health/live-fleet.ts";
import { type Damage, openFleetMemory } from "#follow/fleet-memory.ts";
import { openProber } from "#health/prober.ts";
import { readPurgeEvent } from "#follow/purge-event.ts";
import { rosterEventKind } from "#document/roster.ts";
import { secretEventKind } from "#secret/fleet-secret.ts";
import { tokenEventKind, tokenId } from "#secret/edge-token.ts";
import { vocabularyOf } from "#document/vocabulary.ts";
import { openDecoderPool } from "#image/pool.ts";
import { requireSandbox } from "#image/require-sandbox.ts";
import { type Announcement, openAnnouncement } from "./announcement.ts";
import { openDiskTier } from "./cache/disk.ts";
import { openMemoryTier } from "./cache/memory.ts";
import { openRecords } from "./cache/records.ts";
import { joinTiers } from "./cache/tiers.ts";
import type { EdgeConfig } from "./config.ts";
import { openAssetFetcher } from "./fetch/asset.ts";
import { openOriginChannel } from "./fetch/channel.ts";
import { openOriginClient } from "./fetch/origin.ts";
import { openProbeClient } from "./fetch/probe.ts";
import { followNextToken } from "./fetch/next-token.ts";
import { followSecrets } from "./fetch/secrets.ts";
import { openTokenFile } from "./fetch/token-file.ts";
import { buildAdminApp } from "./http/admin.ts";
import { buildEdgeApp, type Presence } from "./http/app.ts";
import { type Listener, listen } from "./http/listener.ts";
import { understandForOwner } from "./http/understand.ts";
import { openMembership, type Standing } from "./membership.ts";
import { openNames, type StartDns } from "./names.ts";
import { openNeighbours } from "./neighbours.ts";
import { declareMetrics } from "./observe/declare.ts";
import { type LoopMeter, openLoopMeter } from "./observe/loop-meter.ts";
import { createMetrics } from "./observe/metrics.ts";
import type { Fellows } from "./processes/siblings.ts";
import type { ProcessPlace } from "./processes/place.ts";
import { createAssetServer } from "./serve/asset.ts";
import { createImageServer } from "./serve/image.ts";
import { createPurger } from "./serve/purger.ts";
import { describeSites } from "./site-views.ts";

export interface EdgeDeps {
  startDns: StartDns;
  /** Which of this machine's processes this one is. */
  process: ProcessPlace;
  fellows: Fellows;
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
/** Another node is asked whether it announces what this one is about to let go. */
const askMs = 500;
const stopMs = 8000;
const fleetRetryMs = 1000;
const lockAdvice = "stop it, or give this one a data directory of its own (dataDir)";

/** @throws the failure of whatever could not be started; what was started before is stopped again */
export async function startEdge(config: EdgeConfig, deps: EdgeDeps): Promise<Edge> {
  const { process: place, fellows, clock, random, log } = deps;
  const lifecycle = createLifecycle(log);
  try {
    return await start();
  } catch (error) {
    await lifecycle.stop(stopMs);
    throw error;
  }

  async function start(): Promise<Edge> {
    // Processes of one machine share the file; the first one writes it.
    const tokenFile = await openTokenFile({ path: config.origin.tokenFile, mayWrite: place.index === 0, clock, log });
    lifecycle.defer("token file", tokenFile.close);
    await mkdir(config.dataDir, { recursive: true });
    lifecycle.defer(
      "lock",
      lockDirectory(config.dataDir, `another edge is running on ${config.dataDir}: ${lockAdvice}`),
    );
    const damaged: Damage[] = [];
    const memory = await openFleetMemory(config.dataDir, (damage) => {
      damaged.push(damage);
      log.error(damage, "a file of this edge is damaged");
    });
    const release = readRelease();
    let presence: Presence = "starting";
    let announcement: Announcement | undefined;
    let feed: FeedFollower | undefined;
    const hurried = new AbortController();
    const ended = new AbortController();
    lifecycle.defer("waiting", () => {
      ended.abort(new Error("closing"));
    });

    const origin = openOriginClient({
      url: config.origin.url,
      token: tokenFile,
      clock,
      random,
      onTokenRefused: () => {
        log.error({ reason: origin.tokenComplaint(tokenFile.path) }, "the origin refuses this node's token");
      },
    });
    lifecycle.defer("origin client", origin.close);
    const fetcher = openAssetFetcher({ node: config.node, clock, random });
    lifecycle.defer("asset fetcher", fetcher.close);
    const decoders = openDecoderPool({
      size: config.decoders.processes,
      clock,
      log,
      limits: { memoryBytesMax: config.decoders.memoryBytes },
      sandbox: config.decoders.sandbox,
    });
    lifecycle.defer("decoders", decoders.close);
    await requireSandbox(config.decoders.sandbox, decoders);
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

    const membership = await openMembership({
      node: config.node,
      site: config.site,
      memory,
      origin,
      changed: fleetChanged,
      clock,
      log,
    });
    lifecycle.defer("membership", membership.close);
    const feedSeq = (): number => feed?.position()?.seq ?? 0;
    const { peer } = config;
    const neighbours =
      peer === undefined
        ? null
        : openNeighbours({
            config: { ...config, peer },
            place,
            fleet: () => membership.current()?.document ?? null,
            prober: () => prober,
            isReady: () => presenceTold() === "ready",
            rendersWaiting: () => images.counts().waiting,
            secrets: () => secrets.secrets(),
            position: () => feed?.position() ?? null,
            gate: () => feed?.gate() ?? null,
            clock,
            log,
          });
    if (neighbours !== null) lifecycle.defer("neighbours", neighbours.close);
    const peers = neighbours?.peers ?? null;
    const shared = { tiers, fleet: membership.fleet, feedSeq, peers, clock, log };
    const images = createImageServer({
      ...shared,
      records,
      origin,
      renderer: decoders,
      // While one picture is in a decoder, the next one's source is read.
      rendersAtOnce: 2 * config.decoders.processes,
    });
    const assets = createAssetServer({ ...shared, fetcher });
    const purger = createPurger({
      images,
      assets,
      tiers,
      records,
      fleet: () => membership.current()?.document ?? null,
    });

    const probes = openProbeClient({ secrets: () => secrets.secrets(), clock });
    lifecycle.defer("probe client", probes.close);
    const load = createLoadMeter(clock);
    // Begun when the start is over: what that holds up is no load.
    let loop: LoopMeter | undefined;
    fellows.follow(() => ({
      requestsPerSecond: load.requestsPerSecond(),
      bytesPerSecond: load.bytesPerSecond(),
      rendersWaiting: images.counts().waiting,
      loopDelayMs: loop?.delayMs() ?? 0,
    }));
    lifecycle.defer("fellows", fellows.close);
    const keptShareOf = (site: string): number => prober.keptShares().get(site) ?? 1;
    const prober = openProber({
      self: config.node,
      presence: presenceTold,
      word,
      probe: probes.probe,
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
        channel.secretsChanged();
      },
      clock,
      log,
    });
    lifecycle.defer("fleet secret", secrets.close);
    const nextToken = followNextToken({ file: tokenFile, ask: origin.nextToken, clock, log });
    lifecycle.defer("next token", nextToken.close);

    const channel = openOriginChannel({
      introduction: () => ({
        node: config.node,
        site: config.site,
        process: place.index,
        processes: place.count,
        release,
        understands: vocabularyOf(fleetSchema),
      }),
      presence: () => ({
        state: presenceTold(),
        fleetVersion: membership.current()?.version ?? 0,
        feedSeq: feedSeq(),
      }),
      async answer(question, isBrief) {
        // The admin listener's own answers, so that both ways tell the same.
        const url = adminTargetOf(question, isBrief);
        const { statusCode, payload } = await adminApp.inject({ method: "GET", url });
        return { status: statusCode, json: payload };
      },
      tell: origin.tell,
      seals: createSeals(() => secrets.secrets()),
      clock,
      log,
    });
    lifecycle.defer("origin channel", channel.close);

    const names = openNames({
      config,
      startDns: deps.startDns,
      inputs: () => {
        const current = membership.current();
        if (current === null) return null;
        // The prober's own stays the same object while nothing in it changes.
        const fleet = prober.live() ?? liveFleet(current.document, prober.health());
        return { fleet, version: current.version, siteStates: prober.sites(), keptShares: prober.keptShares() };
      },
      soonestChangesMs: prober.soonestChangesMs,
      secrets: secrets.secrets,
      process: place,
      log,
    });

    function fleetChanged(fleet: Fleet): void {
      // Before this node itself can be probed, its own judgement would be "down".
      if (presence !== "starting") prober.watch(fleet);
      names.refresh();
      announcement?.refresh();
    }

    /** What others are told: its own word, or that it wants no new clients. */
    function presenceTold(): Presence {
      return presence === "ready" && membership.standing() !== "listed" ? "draining" : presence;
    }

    function word(): NodeWord {
      const { requestsPerSecond, bytesPerSecond, rendersWaiting, loopDelayMs } = fellows.total();
      return {
        load: requestsPerSecond,
        bytesPerSecond,
        rendersWaiting,
        loopDelayMs,
        keptShare: keptShareOf(config.site),
        processes: fellows.count,
        ...prober.view(),
        fleetVersion: membership.current()?.version ?? 0,
        feedSeq: feedSeq(),
        release,
        announced: announcement?.healthy() ?? [],
      };
    }

    async function apply(event: FeedEvent): Promise<void> {
      if (event.kind === "fleet") await membership.takeFleet();
      else if (event.kind === rosterEventKind) await membership.takeRoster(event.data);
      else if (event.kind === "purge") {
        const report = await purger.apply(event.seq, readPurgeEvent(event.data));
        if (report !== undefined) channel.report(report);
      } else if (event.kind === secretEventKind) await secrets.take();
      // Behind the feed's back: a token that can't be had must not hold purges up.
      else if (event.kind === tokenEventKind) nextToken.refresh();
      else log.warn({ kind: event.kind }, "an event of the feed is of a kind that this version does not know");
    }

    const followedFromMs = clock.monotonicMs();
    feed = followFeed({
      async open(since, signal) {
        const stream = await origin.feed(since, signal);
        // Missed rotations are in the feed, but not what another origin has, or one that was upgraded.
        secrets.refresh();
        nextToken.refresh();
        membership.refresh();
        return stream;
      },
      position: await memory.loadPosition(),
      save: memory.storePosition,
      apply,
      async reset(reason) {
        log.info({ reason }, "everything cached is dropped");
        await purger.dropAll();
        // Without any document begin() asks for it, again and again; an origin may have none yet.
        if (membership.current() !== null) await membership.takeFleet();
      },
      connected: channel.opened,
      asked: channel.asked,
      clock,
      random,
      log,
    });
    lifecycle.defer("feed", feed.close);

    const metrics = createMetrics();
    for (const metric of processMetrics(config.dataDir, clock)) metrics.observe(metric);
    declareMetrics(metrics, {
      release,
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
      fleetVersion: () => membership.current()?.version ?? 0,
      hasFleetSecret: () => secrets.id() !== null,
      siteStates: prober.sites,
      keptShares: prober.keptShares,
      siteLoads: prober.loads,
      load,
      peers,
      loopDelayMs: () => loop?.delayMs() ?? 0,
      health: prober.health,
      isIsolated: prober.isIsolated,
      lease: () => announcement?.state(),
      isReady: () => unready().length === 0,
    });

    function unready(): string[] {
      const reasons: string[] = [];
      const why = presence === "ready" ? whyNotListed(membership.standing()) : presence;
      if (why !== undefined) reasons.push(why);
      const complaint = origin.tokenComplaint(tokenFile.path);
      if (complaint !== undefined) reasons.push(complaint);
      if (membership.current() === null) reasons.push(whyNoFleet());
      if (config.dns.addresses.length > 0 && names.version() === 0) reasons.push("DNS does not answer yet");
      return reasons;
    }

    /** What its owner should know, and no reason to send clients elsewhere. */
    function warnings(): string[] {
      // An origin that refuses the token is there.
      if (origin.tokenRefusal() !== null) return [];
      return [feedWarning(), nextToken.warning()].filter((one) => one !== undefined);
    }

    function feedWarning(): string | undefined {
      return silenceOf(feed?.heardAtMs() ?? null, followedFromMs, clock.monotonicMs());
    }

    function whyNoFleet(): string {
      const lost = damaged.find(({ what }) => what === "fleet document");
      if (lost === undefined) return "no fleet document: the origin was never reached";
      return `no fleet document: ${lost.file} is damaged, and the origin was not reached since the start`;
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
      fleet: membership.current,
      presence: presenceTold,
      word,
      secrets: secrets.secrets,
      load,
      gate,
      served: metrics.served,
      clock,
      log,
    });
    lifecycle.defer("edge application", () => edgeApp.close());
    const adminApp = buildAdminApp({
      hosts: config.admin.hosts,
      unready,
      warnings,
      status,
      metrics,
      explainUrl,
      explainName: (question) => names.part()?.explain(question),
    });
    lifecycle.defer("admin application", () => adminApp.close());
    const admin = await listenOn(config.admin, adminApp);
    lifecycle.defer("admin listener", () => admin.close(100));

    function status(isBrief: boolean): Record<string, unknown> {
      return {
        node: config.node,
        site: config.site,
        process: place,
        pid: process.pid,
        release,
        presence,
        standing: membership.standing(),
        ready: unready().length === 0,
        unready: unready(),
        damagedAtStart: damaged,
        fleetVersion: membership.current()?.version ?? null,
        rosterRevision: membership.rosterRevision(),
        fleetSecret: secrets.id(),
        originToken: {
          id: tokenId(tokenFile.current()),
          refused: origin.tokenRefusal(),
          warning: origin.tokenRefusal() === null ? (nextToken.warning() ?? null) : null,
        },
        machine: fellows.total(),
        feed: {
          state: feed?.state() ?? "disconnected",
          position: feed?.position() ?? null,
          heardMsAgo: ageMs(feed?.heardAtMs() ?? null),
          warning: origin.tokenRefusal() === null ? (feedWarning() ?? null) : null,
        },
        isIsolated: prober.isIsolated(),
        announce: announcement?.state() ?? null,
        sites: isBrief ? null : describeSites(membership.current()?.document ?? null, prober),
        cache: { memory: memoryTier.stats(), disk: diskTier.stats(), records: records.size() },
        decoders: decoders.stats(),
        peers: neighbours?.counts() ?? null,
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
      const understood = understandForOwner(membership.fleet(), { method: "GET", target, fields });
      const { kind, order } = understood;
      const answer = kind === "images" ? await images.explain(order) : await assets.explain(order);
      const about = kind === "images" ? { variant: order.variant, varies: order.varies } : { target: order.target };
      return { host: order.host.name, kind, ...about, ...answer };
    }

    // Pictures: as soon as the missed purges are applied, or the origin is known to be away.
    await Promise.race([feed.firstContact, sleep(clock, firstContactMs)]);
    const listeners: Listener[] = [];
    async function listenForPictures(): Promise<void> {
      for (const endpoint of config.http) {
        const listener = await listenOn(endpoint, edgeApp, place.sharesPorts);
        listeners.push(listener);
        lifecycle.defer(`listener ${endpoint.host}:${listener.port}`, () => listener.close(requestGraceMs));
      }
    }
    // On shared ports others serve, and a connection that the kernel gives to this process has to be served as well.
    if (!place.sharesPorts) await listenForPictures();
    /** The rest of the start may wait for the origin, for as long as it takes. */
    async function begin(): Promise<void> {
      let toldReason: string | undefined;
      while (membership.current() === null) {
        await membership.takeFleet().catch((error: unknown) => {
          const reason = (error as Error).message;
          // The same reason again and again is told once.
          const level = reason === toldReason ? "debug" : "warn";
          log[level]({ reason }, "there is no fleet document yet; asking the origin again");
          toldReason = reason;
        });
        if (membership.current() === null) await sleep(clock, fleetRetryMs, ended.signal);
      }
      if (secrets.id() === null) {
        // Without it this node could prove nothing, and would be down for all nodes that know it.
        await secrets.take().catch((error: unknown) => {
          log.warn({ reason: (error as Error).message }, "there is no fleet secret yet; asking the origin again");
        });
      }
      await decoders.ready();
      await neighbours?.listen({ images, assets, tiers });
      if (place.sharesPorts) await listenForPictures();
      if (presence === "starting") presence = "ready";
      prober.watch(membership.fleet());
      await prober.judged();
      if (ended.signal.aborted) return;
      if (config.dns.addresses.length > 0) {
        // Deferred here, so that at the end names are silent before pictures are.
        lifecycle.defer("DNS", names.close);
        await names.start();
      }
      loop = openLoopMeter(clock);
      lifecycle.defer("loop meter", loop.close);
      const { announce } = config;
      if (announce === undefined || ended.signal.aborted) return;
      announcement = openAnnouncement({
        config: { ...config, announce },
        processIndex: place.index,
        fleet: () => membership.current()?.document ?? null,
        standing: membership.standing,
        health: prober.health,
        words: prober.words,
        async ask(node) {
          const answer = await probes.probe(node, askMs);
          return answer.outcome === "failed" || answer.outcome === "held" ? undefined : answer.word;
        },
        clock,
        random,
        log,
      });
      lifecycle.defer("lease", announcement.close);
      announcement.refresh();
    }

    return {
      http: listeners,
      admin,
      dns: () => names.part()?.addresses() ?? [],
      ready: begin(),
      async drain() {
        presence = "draining";
        prober.refresh();
        log.info({ drainMs: config.drainMs }, "draining");
        const wait = sleep(clock, config.drainMs, hurried.signal).catch(() => undefined); // hurried: go on at once
        await Promise.all([wait, announcement?.drain()]);
        await lifecycle.stop(stopMs);
      },
      hurry() {
        announcement?.hurry();
        hurried.abort(new Error("hurried"));
      },
    };
  }
}

async function listenOn(
  endpoint: { host: string; port: number },
  app: FastifyInstance,
  reusePort = false,
): Promise<Listener> {
  try {
    await app.ready();
    const route = (request: IncomingMessage, response: ServerResponse): void => {
      app.routing(request, response);
    };
    return await listen(endpoint.host, endpoint.port, route, { reusePort });
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new NearcastError("CANNOT_LISTEN", `HTTP can't listen on ${endpoint.host} port ${endpoint.port}: ${reason}`, {
      cause: error,
    });
  }
}

/** Why this node gets no clients, and what to do about it; undefined where the fleet counts on it. */
function whyNotListed(standing: Standing): string | undefined {
  switch (standing) {
    case "listed":
      return undefined;
    case "draining":
      return "drained by an operator: `nearcast undrain` ends it";
    case "removed":
      return "removed from the fleet; stop nearcast on its machine";
    case "absent":
      return "not a node of this fleet: `nearcast join` makes it one; if it was removed, stop nearcast on its machine";
  }
}
