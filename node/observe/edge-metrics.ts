/**
 * The metrics of an edge: name, help, and the source of each value. New metrics are declared here; those of HTTP
 * requests are counted in metrics-registry.ts.
 */
import type { Clock } from "#base/clock.ts";
import type { FeedFollower } from "#follow/feed.ts";
import type { NodeHealth, SiteState, SiteStates } from "#health/health.ts";
import type { LoadMeter } from "#health/load-meter.ts";
import type { DecoderPool } from "#image/pool.ts";
import type { DiskTier } from "../cache/disk/disk-tier.ts";
import type { MemoryTier } from "../cache/memory.ts";
import type { Records } from "../cache/records.ts";
import type { TransferRules } from "../deliver/transfer.ts";
import type { AssetFetcher } from "../fetch/asset.ts";
import type { OriginClient } from "../fetch/origin.ts";
import type { UpstreamStats } from "../fetch/upstream/upstream.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ColdTurns } from "../serve/cold-turns.ts";
import type { ImageServer } from "../serve/image.ts";
import type { PeerCounts } from "../serve/peers.ts";
import type { Metrics } from "./metrics-registry.ts";

/** The counters of a responder (dns/counters.ts), since its start and over all its threads. */
export interface DnsNumbers {
  /** Packets by transport and outcome. */
  outcomes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  truncated: number;
  clientSubnets: number;
  steered: number;
  failures: number;
  sendErrors: number;
  cookiesValid: number;
  cookiesInvalid: number;
  batches: number;
  tcpAccepted: number;
  tcpRefused: number;
  tcpCut: number;
}

/** The parts of a responder that metrics read. */
export interface DnsObserved {
  stats: () => DnsNumbers;
  /** TCP connections that are open now. */
  connections: () => number;
  /** Batch threads; 0 when Node's sockets answer. */
  threads: () => number;
}

export interface Observed {
  release: string;
  memoryTier: MemoryTier;
  diskTier: DiskTier;
  decoders: DecoderPool;
  images: ImageServer;
  assets: Pick<AssetServer, "fills">;
  coldTurns: Pick<ColdTurns, "counts">;
  transfers: Pick<TransferRules, "budget" | "counts">;
  origin: OriginClient;
  fetcher: AssetFetcher;
  records: Records;
  feed: FeedFollower;
  clock: Clock;
  /** Undefined while DNS does not answer yet, or is disabled. */
  dns: () => DnsObserved | undefined;
  dnsVersion: () => number;
  fleetVersion: () => number;
  hasFleetSecret: () => boolean;
  siteStates: () => SiteStates;
  /** Site → share of its clients that it keeps, 0 to 1. */
  keptShares: () => ReadonlyMap<string, number>;
  /** Site → requests per second; a site without data is missing. */
  siteLoads: () => ReadonlyMap<string, number>;
  load: LoadMeter;
  loopDelayMs: () => number;
  health: () => ReadonlyMap<string, NodeHealth>;
  isIsolated: () => boolean;
  /** Undefined while there is no lease, or none is configured. */
  lease: () => { announced: readonly string[]; falls: number } | undefined;
  /** Absent or null: this node has no peers. */
  peers?: { counts: () => PeerCounts } | null;
  isReady: () => boolean;
}

const states: readonly SiteState[] = ["up", "draining", "down"];

export function declareMetrics(metrics: Metrics, parts: Observed): void {
  const { feed, clock } = parts;
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "gauge", read });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "counter", read });
  };

  metrics.observe({
    name: "nearcast_build_info",
    help: "Always 1; the label is the running release",
    kind: "gauge",
    labels: ["version"],
    read: () => [{ labels: { version: parts.release }, value: 1 }],
  });
  gauge("nearcast_ready", "1 if this node is ready to get clients, else 0", () => Number(parts.isReady()));
  gauge("nearcast_fleet_version", "Version of the current fleet document; 0: none", parts.fleetVersion);
  metrics.observe({
    name: "nearcast_site_up",
    help: "1 if the site is up, else 0",
    kind: "gauge",
    labels: ["site"],
    read: () => [...parts.siteStates()].map(([site, state]) => ({ labels: { site }, value: Number(state === "up") })),
  });
  metrics.observe({
    name: "nearcast_site_state",
    help: "1 for the current state of the site as this node sees it, 0 for the other states",
    kind: "gauge",
    labels: ["site", "state"],
    read: () =>
      [...parts.siteStates()].flatMap(([site, current]) =>
        states.map((state) => ({ labels: { site, state }, value: Number(state === current) })),
      ),
  });
  const bySite = (name: string, help: string, read: () => ReadonlyMap<string, number>): void => {
    const rows = () => [...read()].map(([site, value]) => ({ labels: { site }, value }));
    metrics.observe({ name, help, kind: "gauge", labels: ["site"], read: rows });
  };
  bySite(
    "nearcast_site_kept_share",
    "Share of its clients that DNS still sends to a site, 0 to 1; below 1, the site is full",
    () => parts.keptShares(),
  );
  bySite("nearcast_site_requests_per_second", "Requests per second of a site, as its nodes report them", () =>
    parts.siteLoads(),
  );
  metrics.observe({
    name: "nearcast_node_up",
    help: "1 if this node sees the other node as up, else 0",
    kind: "gauge",
    labels: ["node"],
    read: () => [...parts.health()].map(([node, { state }]) => ({ labels: { node }, value: Number(state === "up") })),
  });
  gauge("nearcast_nodes_unproven", "Nodes whose health answers carry no proof of the fleet secret", () => {
    return [...parts.health().values()].filter(({ isUnproven }) => isUnproven === true).length;
  });
  gauge(
    "nearcast_isolated",
    "1 if this node reaches no other node, else 0; it then answers DNS with its own site",
    () => Number(parts.isIsolated()),
  );
  gauge(
    "nearcast_lease_prefixes",
    "Prefixes that this node announces over BGP",
    () => parts.lease()?.announced.length ?? 0,
  );
  counter("nearcast_lease_falls_total", "Withdrawals of the BGP announcement, except for drains", () => {
    return parts.lease()?.falls ?? 0;
  });
  gauge("nearcast_loop_delay_seconds", "Delay of the event loop, over the last ten seconds", () => {
    return parts.loopDelayMs() / 1000;
  });
  gauge("nearcast_http_bytes_per_second", "Bytes of bodies sent per second, over the last ten seconds", () =>
    parts.load.bytesPerSecond(),
  );
  gauge("nearcast_http_requests_per_second", "Requests answered per second, over the last ten seconds", () =>
    parts.load.requestsPerSecond(),
  );
  gauge(
    "nearcast_fleet_secret_known",
    "1 if this node has the fleet secret; 0: only this node accepts its DNS cookies",
    () => Number(parts.hasFleetSecret()),
  );
  gauge("nearcast_feed_live", "1 if this node follows the origin's feed and has applied all its events, else 0", () =>
    Number(feed.state() === "live"),
  );
  gauge("nearcast_feed_position", "Number of the last event that this node applied", () => feed.position()?.seq ?? 0);
  gauge("nearcast_feed_silence_seconds", "Time since the last byte from the feed; -1: none yet", () => {
    const heardAtMs = feed.heardAtMs();
    return heardAtMs === null ? -1 : (clock.monotonicMs() - heardAtMs) / 1000;
  });

  declareCaches(metrics, parts);
  declareColdTurns(metrics, parts);
  declareBodies(metrics, parts);
  declareUpstreams(metrics, parts);
  if (parts.peers !== undefined && parts.peers !== null) declarePeers(metrics, parts.peers.counts);
  declareDns(metrics, parts);
}

/** The cache tiers, and the requests and renderings that fill them. */
function declareCaches(metrics: Metrics, parts: Observed): void {
  const { memoryTier, diskTier, decoders, images, origin, fetcher, records } = parts;
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "gauge", read });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "counter", read });
  };
  gauge("nearcast_cache_records", "Source records in memory", records.size);
  for (const [tier, stats] of [
    ["memory", memoryTier.stats],
    ["disk", diskTier.stats],
  ] as const) {
    gauge(`nearcast_cache_${tier}_bytes`, `Bytes in the ${tier} tier`, () => stats().bytes);
    gauge(`nearcast_cache_${tier}_bytes_max`, `Limit of the ${tier} tier, in bytes`, () => stats().bytesMax);
    gauge(`nearcast_cache_${tier}_objects`, `Objects in the ${tier} tier`, () => stats().entries);
    counter(`nearcast_cache_${tier}_evictions_total`, "Objects evicted to make room", () => stats().evictions);
  }
  counter(
    "nearcast_cache_disk_corrupt_total",
    "Cached objects that were damaged on disk",
    () => diskTier.stats().corrupt,
  );
  counter(
    "nearcast_cache_disk_write_failures_total",
    "Objects that could not be written",
    () => diskTier.stats().writeFailures,
  );
  counter(
    "nearcast_cache_disk_refused_total",
    "Objects not stored: too large, too many bytes wait to be written, or the disk is left alone after a failure",
    () => diskTier.stats().refused,
  );
  counter(
    "nearcast_cache_disk_read_failures_total",
    "Objects that could not be read from disk",
    () => diskTier.stats().readFailures,
  );
  counter("nearcast_cache_disk_read_bytes_total", "Bytes of bodies that were read from disk", () => {
    return diskTier.stats().bodyBytesRead;
  });
  counter("nearcast_cache_disk_copied_bytes_total", "Bytes of bodies that were written again to make room", () => {
    return diskTier.stats().copiedBytes;
  });
  gauge("nearcast_cache_disk_index_bytes", "Memory of the index of the disk tier", () => diskTier.stats().indexBytes);
  gauge("nearcast_cache_disk_open_files", "Files that the disk tier has open", () => diskTier.stats().openFiles);
  gauge("nearcast_cache_disk_readable", "0 while the disk is not read after a failure, else 1", () =>
    Number(diskTier.stats().canRead),
  );
  gauge(
    "nearcast_cache_disk_writable",
    "0 while the disk is not written after a failure, or if it is off, else 1",
    () => Number(diskTier.stats().canWrite),
  );

  counter("nearcast_origin_requests_total", "Requests to the origin for sources", () => origin.counts().sources);
  counter("nearcast_origin_fetches_total", "Sources fetched from the origin", () => origin.counts().sourceBodies);
  counter("nearcast_origin_failures_total", "Requests to the origin that failed", () => origin.counts().failures);
  counter("nearcast_asset_fetches_total", "Requests to the origins of assets hosts", () => fetcher.counts().fetches);
  counter(
    "nearcast_asset_failures_total",
    "Requests to the origins of assets hosts that got no response",
    () => fetcher.counts().failures,
  );
  counter("nearcast_renders_total", "Variants rendered", () => images.counts().renders);
  counter("nearcast_render_failures_total", "Renderings that failed", () => images.counts().renderFailures);
  counter(
    "nearcast_revalidations_total",
    "Conditional requests to the origin for stale sources",
    () => images.counts().revalidations,
  );
  declareRenderQueue(metrics, parts);
  gauge("nearcast_decoders_busy", "Decoder processes that are working", () => decoders.stats().busy);
  gauge(
    "nearcast_decoders_queued",
    "Renderings that wait",
    () => images.counts().turns.waiting + decoders.stats().queued,
  );
  counter("nearcast_decoder_crashes_total", "Decoder processes that crashed", () => decoders.stats().crashes);
  counter("nearcast_decoder_timeouts_total", "Renderings above their time limit", () => decoders.stats().timeouts);
  counter(
    "nearcast_decoder_memory_kills_total",
    "Decoders above their memory limit",
    () => decoders.stats().memoryKills,
  );
}

/** The queue of renderings, and who is refused there. */
function declareRenderQueue(metrics: Metrics, { images }: Pick<Observed, "images">): void {
  metrics.observe({
    name: "nearcast_render_queue_cost_seconds",
    help: "Estimated time of a decoder for all renderings that wait",
    kind: "gauge",
    read: () => images.counts().turns.waitingCostMs / 1000,
  });
  metrics.observe({
    name: "nearcast_render_refusals_total",
    help:
      "Renderings refused: too many wait of the client's network (network) or altogether (queue), or the source is " +
      "in quarantine (quarantine)",
    kind: "counter",
    labels: ["reason"],
    read: () => {
      const { turns, quarantineRefusals } = images.counts();
      return [
        { labels: { reason: "network" }, value: turns.networkRefusals },
        { labels: { reason: "queue" }, value: turns.queueRefusals },
        { labels: { reason: "quarantine" }, value: quarantineRefusals },
      ];
    },
  });
  metrics.observe({
    name: "nearcast_render_abandoned_total",
    help: "Renderings that all clients left: dropped from the queue (waiting), or stopped (running)",
    kind: "counter",
    labels: ["state"],
    read: () => {
      const { dropped, stopped } = images.counts().turns;
      return [
        { labels: { state: "waiting" }, value: dropped },
        { labels: { state: "running" }, value: stopped },
      ];
    },
  });
  metrics.observe({
    name: "nearcast_render_sources_quarantined",
    help: "Sources that are not rendered for a while, because their decoders failed repeatedly",
    kind: "gauge",
    read: () => images.counts().quarantined,
  });
}

/** Bodies on their way: to clients and peers, and from the origins of assets hosts. */
function declareBodies(metrics: Metrics, { transfers, assets }: Pick<Observed, "transfers" | "assets">): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "gauge", read });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "counter", read });
  };
  const { budget, counts } = transfers;
  gauge("nearcast_delivery_in_flight_bytes", "Memory held by responses on their way to clients", () => {
    return budget.counts().heldBytes;
  });
  gauge("nearcast_delivery_waiting", "Responses that wait for memory (delivery.inFlightBytes)", () => {
    return budget.counts().waiting;
  });
  counter("nearcast_delivery_refused_total", "Requests that got a 503 because no memory became free in time", () => {
    return counts.refused;
  });
  counter(
    "nearcast_delivery_too_slow_total",
    "Responses cut because their receiver took less than the minimum rate (delivery.bytesPerSecondMin)",
    () => counts.tooSlow,
  );
  counter("nearcast_delivery_no_room_total", "Responses cut because no memory became free for their rest", () => {
    return counts.noRoom;
  });
  gauge("nearcast_fills_active", "Bodies on their way from origins of assets hosts into the cache", () => {
    return assets.fills().running;
  });
  gauge("nearcast_fills_bytes", "Memory held by such bodies, and by slow readers of those that have arrived", () => {
    return assets.fills().bytes;
  });
}

/** Requests that wait for their turn to ask the origin or another node. */
function declareColdTurns(metrics: Metrics, { coldTurns: { counts } }: Pick<Observed, "coldTurns">): void {
  metrics.observe({
    name: "nearcast_cold_waiting",
    help: "Requests that no cache can answer and that wait for their turn",
    kind: "gauge",
    read: () => counts().waiting,
  });
  metrics.observe({
    name: "nearcast_cold_refused_total",
    help: "Requests that got a 503 because too many of them waited, or for too long",
    kind: "counter",
    read: () => counts().refused,
  });
  metrics.observe({
    name: "nearcast_cold_abandoned_total",
    help: "Requests for which nothing was fetched because their client had left before their turn",
    kind: "counter",
    read: () => counts().left,
  });
}

/** Origins with a label of their own: those with the most requests. A fleet document may name thousands. */
const upstreamsShownMax = 100;

/** The origin of the pictures, and the origins of assets hosts: each with the host of its URL as label. */
function declareUpstreams(metrics: Metrics, { origin, fetcher }: Pick<Observed, "origin" | "fetcher">): void {
  const shown = (): UpstreamStats[] => [
    origin.upstream(),
    ...fetcher
      .upstreams()
      .toSorted((a, b) => b.requests - a.requests)
      .slice(0, upstreamsShownMax),
  ];
  const declare = (
    kind: "gauge" | "counter",
    name: string,
    help: string,
    read: (stats: UpstreamStats) => number,
  ): void => {
    // The same origin may have pictures and assets, over separate connections.
    const rows = () => {
      const values = new Map<string, number>();
      for (const stats of shown()) values.set(stats.name, (values.get(stats.name) ?? 0) + read(stats));
      return [...values].map(([host, value]) => ({ labels: { origin: host }, value }));
    };
    metrics.observe({ name: `nearcast_upstream_${name}`, help, kind, labels: ["origin"], read: rows });
  };
  declare("gauge", "requests_active", "Requests in progress at an origin", (stats) => stats.placesInUse);
  declare("gauge", "requests_waiting", "Requests that wait for a connection to an origin", (stats) => {
    return stats.placesWaiting;
  });
  declare(
    "gauge",
    "bodies_held",
    "Responses whose clients are slow, and event streams: they don't count as active",
    (stats) => {
      return stats.bodiesHeld;
    },
  );
  declare("counter", "requests_total", "Requests sent to an origin, with retries and hedges", (stats) => {
    return stats.requests;
  });
  declare("counter", "connections_total", "Connections opened to an origin", (stats) => stats.connectionsOpened);
  declare("counter", "retries_total", "Requests sent again after a connection failed", (stats) => stats.retries);
  declare("counter", "hedges_total", "Second requests sent because a response was late", (stats) => stats.hedges);
  declare("counter", "hedges_won_total", "Second requests whose response came first", (stats) => stats.hedgesWon);
  declare("counter", "probes_total", "Requests sent to find out whether an origin works again", (stats) => {
    return stats.probes;
  });
  declare("counter", "busy_total", "Requests refused because too many waited for an origin", (stats) => stats.refused);
  declare(
    "counter",
    "gave_way_total",
    "Requests to an origin that hung, and were ended because others waited",
    (stats) => stats.gaveWay,
  );
  metrics.observe({
    name: "nearcast_upstream_breaker_open",
    help: "1 while an origin gets no requests because it failed repeatedly, 0.5 while it recovers, else 0",
    kind: "gauge",
    labels: ["origin"],
    read() {
      const values = new Map<string, number>();
      for (const { name, breaker } of shown()) values.set(name, Math.max(values.get(name) ?? 0, brokenness[breaker]));
      return [...values].map(([name, value]) => ({ labels: { origin: name }, value }));
    },
  });
}

const brokenness: Readonly<Record<UpstreamStats["breaker"], number>> = {
  closed: 0,
  recovering: 0.5,
  probing: 1,
  open: 1,
};

function declarePeers(metrics: Metrics, counts: () => PeerCounts): void {
  metrics.observe({
    name: "nearcast_peer_answers_total",
    help: "Responses from other nodes, by their role: owner in the site, site with room (spill), shield",
    kind: "counter",
    labels: ["role"],
    read: () => {
      const { relayed, spilled, shielded } = counts();
      return [
        { labels: { role: "owner" }, value: relayed },
        { labels: { role: "spill" }, value: spilled },
        { labels: { role: "shield" }, value: shielded },
      ];
    },
  });
  metrics.observe({
    name: "nearcast_peer_refusals_total",
    help: "Requests of other nodes refused: too many renderings wait (busy), or purges are missing (behind)",
    kind: "counter",
    labels: ["reason"],
    read: () => {
      const { busy, behind } = counts();
      return [
        { labels: { reason: "busy" }, value: busy },
        { labels: { reason: "behind" }, value: behind },
      ];
    },
  });
  const counter = (name: string, help: string, read: (now: PeerCounts) => number): void => {
    metrics.observe({ name, help, kind: "counter", read: () => read(counts()) });
  };
  counter("nearcast_peer_failures_total", "Requests to other nodes that failed", (now) => now.failed);
  counter("nearcast_peer_unfit_total", "Responses from other nodes that did not match the request", (now) => now.unfit);
  counter(
    "nearcast_peer_replicated_total",
    "Hot variants fetched before a client requested them",
    (now) => now.replicated,
  );
}

function declareDns(metrics: Metrics, { dns, dnsVersion }: Observed): void {
  const gauge = (name: string, help: string, read: (part: DnsObserved) => number): void => {
    metrics.observe({ name, help, kind: "gauge", read: () => ofDns(read) });
  };
  const counter = (name: string, help: string, read: (numbers: DnsNumbers) => number): void => {
    metrics.observe({ name, help, kind: "counter", read: () => ofDns((part) => read(part.stats())) });
  };
  const ofDns = (read: (part: DnsObserved) => number): number => {
    const part = dns();
    return part === undefined ? 0 : read(part);
  };

  metrics.observe({
    name: "nearcast_dns_queries_total",
    help: "DNS messages received, by transport and outcome",
    kind: "counter",
    labels: ["transport", "outcome"],
    read: () =>
      Object.entries(dns()?.stats().outcomes ?? {}).flatMap(([transport, outcomes]) =>
        Object.entries(outcomes).map(([outcome, value]) => ({ labels: { transport, outcome }, value })),
      ),
  });
  counter("nearcast_dns_truncated_total", "Answers with TC=1", (numbers) => numbers.truncated);
  counter(
    "nearcast_dns_failures_total",
    "Queries answered with SERVFAIL because of an internal error",
    (numbers) => numbers.failures,
  );
  counter("nearcast_dns_client_subnets_total", "Queries with a client subnet", (numbers) => numbers.clientSubnets);
  counter("nearcast_dns_steered_total", "Queries for the addresses of a steered name", (numbers) => numbers.steered);
  counter("nearcast_dns_send_errors_total", "Answers that the system failed to send", (numbers) => numbers.sendErrors);
  metrics.observe({
    name: "nearcast_dns_cookies_total",
    help: "Server cookies in queries; an invalid one is too old or not from this fleet",
    kind: "counter",
    labels: ["validity"],
    read: () => {
      const numbers = dns()?.stats();
      if (numbers === undefined) return [];
      return [
        { labels: { validity: "valid" }, value: numbers.cookiesValid },
        { labels: { validity: "invalid" }, value: numbers.cookiesInvalid },
      ];
    },
  });
  counter("nearcast_dns_batches_total", "System calls that received queries on batch threads", (numbers) => {
    return numbers.batches;
  });
  gauge("nearcast_dns_threads", "Batch threads that answer UDP; 0: the main thread answers", (part) => part.threads());
  counter("nearcast_dns_tcp_accepted_total", "TCP connections accepted", (numbers) => numbers.tcpAccepted);
  counter(
    "nearcast_dns_tcp_refused_total",
    "TCP connections closed because of a connection limit",
    (numbers) => numbers.tcpRefused,
  );
  counter(
    "nearcast_dns_tcp_cut_total",
    "TCP connections closed because they were idle or slow, or sent too long a message",
    (numbers) => {
      return numbers.tcpCut;
    },
  );
  gauge("nearcast_dns_tcp_connections", "Open TCP connections", (part) => part.connections());
  gauge("nearcast_dns_fleet_version", "Version of the fleet document that DNS answers from; 0: none", dnsVersion);
}
