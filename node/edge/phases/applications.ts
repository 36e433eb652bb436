/** The metrics, the application for clients and probes, and the admin application, which listens now. */
import { randomBytes } from "node:crypto";
import { NearcastError } from "#base/errors.ts";
import { before } from "#base/lifecycle.ts";
import { processMetrics } from "#base/process-metrics.ts";
import { buildAdminApp } from "../../http/admin.ts";
import { buildEdgeApp } from "../../http/app.ts";
import { openStreamCalls } from "#base/system-calls.ts";
import type { SharedReady } from "../../front/lane/running-lane.ts";
import { openReadyMemory, type ReadyMemory } from "../../front/ready/ready-memory.ts";
import { publicPortOf } from "../../http/https-policy.ts";
import { createHits, reportSent } from "../../http/hits.ts";
import { keepAliveSeconds, type Listener } from "../../http/listener.ts";
import { openReadyHits, readyBytesFor, type ReadyHits } from "../../http/ready-hits.ts";
import { createHttp2Counts, type Http2Counts } from "../../http2/counts.ts";
import { declareMetrics } from "../../observe/edge-metrics.ts";
import { createMetrics, type Metrics } from "../../observe/metrics-registry.ts";
import { describeStatus, explainUrl } from "../admin-views.ts";
import { type ClientSide, listenOn } from "./client-listeners.ts";
import type { EdgeSetup } from "../setup.ts";
import type { OpenedEdge } from "../opened-edge.ts";
import { fleetVersion, type Parts } from "../parts.ts";
import { healthAnswer } from "./probing.ts";
import { presenceTold } from "../presence.ts";
import { unreadyReasons, warnings } from "../readiness.ts";
import { chooseLanes } from "./client-lanes.ts";

export interface Applications {
  clientSide: ClientSide;
  admin: Listener;
}

/** How long a request waits for missed purges; after that it fails, rather than serve purged content. */
const gateMs = 5000;

/** @throws NearcastError CANNOT_LISTEN */
export async function openApplications(edge: OpenedEdge): Promise<Applications> {
  const { setup, membership, servers, probing, link, dns, tls } = edge;
  const { config, lifecycle, parts, clock, log } = setup;
  const shared = sharedMemory(edge.setup);
  const ready = openReadyHits({
    node: config.node,
    memory: shared?.memory ?? ownMemory(config),
    hasLanes: shared !== undefined,
    settle: () =>
      parts.lanes?.takeSent((...sent) => {
        reportSent(serving, sent);
      }),
    used: servers,
    keepAliveSeconds,
    clock,
  });
  parts.ready = ready;
  lifecycle.defer("ready responses", ready.close);
  const http2Counts = createHttp2Counts();
  const metrics = openMetrics(edge, ready, http2Counts);
  const serving = {
    node: config.node,
    images: servers.images,
    assets: servers.assets,
    fleet: membership.current,
    presence: () => presenceTold(setup),
    load: probing.load,
    gate: () => replayGate(parts),
    served: metrics.served,
    transfers: servers.transfers,
    ready,
    clock,
    log,
  };
  const hits = createHits({ ...serving, isGated: () => (parts.feed?.gate() ?? null) !== null });
  const edgeApp = buildEdgeApp({
    ...serving,
    site: config.site,
    answer: () => healthAnswer(setup),
    secrets: link.secrets.secrets,
    publicPort: publicPortOf(config),
  });
  lifecycle.defer("edge application", () => edgeApp.close());
  const adminApp = buildAdminApp({
    hosts: config.admin.hosts,
    unready: () => unreadyReasons(edge),
    warnings: () => warnings(edge),
    status: (isBrief) => describeStatus(edge, isBrief),
    metrics,
    explainUrl: (url, accept) => explainUrl(edge, url, accept),
    explainName: (question) => dns.part()?.explain(question),
  });
  parts.adminApp = adminApp;
  lifecycle.defer("admin application", () => adminApp.close());
  const admin = await listenOn(config.admin, adminApp);
  lifecycle.defer("admin listener", () => admin.close(100));
  const { accepted } = servers.coldTurns;
  return { clientSide: { edgeApp, hits, ready: shared, http2Counts, accepted, tls }, admin };
}

const newSeed = (): number => randomBytes(4).readInt32LE();

/** Memory for ready responses that lanes can read; undefined: there will be none. */
function sharedMemory(setup: EdgeSetup): SharedReady | undefined {
  const { config } = setup;
  const calls = chooseLanes(setup).count === 0 ? "unwanted" : openStreamCalls();
  if (typeof calls === "string") return undefined;
  const arena = calls.viewArena(calls.mapArena(readyBytesFor(config.cache.memoryBytes)));
  return { memory: openReadyMemory(arena.bytes, newSeed()), arena, keepAliveSeconds };
}

function ownMemory({ cache }: EdgeSetup["config"]): ReadyMemory {
  return openReadyMemory(new ArrayBuffer(readyBytesFor(cache.memoryBytes)), newSeed());
}

function openMetrics(edge: OpenedEdge, ready: ReadyHits, http2: Http2Counts): Metrics {
  const { setup, upstreams, caches, servers, probing, link, dns, following, tls } = edge;
  const { config, release, parts, clock } = setup;
  const { prober, load } = probing;
  const metrics = createMetrics();
  for (const metric of processMetrics(config.dataDir, clock)) metrics.observe(metric);
  declareMetrics(metrics, {
    release,
    ...caches,
    ...upstreams,
    ready,
    images: servers.images,
    assets: servers.assets,
    coldTurns: servers.coldTurns,
    transfers: servers.transfers,
    feed: following.feed,
    clock,
    dns: dns.part,
    dnsVersion: dns.version,
    fleetVersion: () => fleetVersion(parts),
    hasFleetSecret: () => link.secrets.id() !== null,
    siteStates: prober.sites,
    keptShares: prober.keptShares,
    siteLoads: prober.loads,
    load,
    peers: servers.peering?.peers ?? null,
    tls,
    loopDelayMs: () => parts.loop?.delayMs() ?? 0,
    health: prober.health,
    isIsolated: prober.isIsolated,
    lease: () => parts.announcement?.state(),
    lanes: () => parts.lanes,
    http2,
    isReady: () => unreadyReasons(edge).length === 0,
  });
  return metrics;
}

/** Resolves when the missed purges are applied; null: there are none to wait for. */
function replayGate({ feed }: Parts): Promise<void> | null {
  const waiting = feed?.gate() ?? null;
  if (waiting === null) return null;
  return before(AbortSignal.timeout(gateMs), waiting).catch(() => {
    throw new NearcastError("NOT_READY", "this node is still applying missed purges");
  });
}
