/** Which numbers of which room are published under which name. */
import type { Clock } from "#base/clock.ts";
import type { FeedFollower } from "#follow/feed.ts";
import type { NodeHealth, SiteState, SiteStates } from "#health/health.ts";
import type { LoadMeter } from "#health/load-meter.ts";
import type { DecoderPool } from "#image/pool.ts";
import type { DiskTier } from "../cache/disk.ts";
import type { MemoryTier } from "../cache/memory.ts";
import type { Records } from "../cache/records.ts";
import type { AssetFetcher } from "../fetch/asset.ts";
import type { OriginClient } from "../fetch/origin.ts";
import type { ImageServer } from "../serve/image.ts";
import type { PeerCounts } from "../serve/peers.ts";
import type { Metrics } from "./metrics-registry.ts";

/** What a responder counts (dns/counters.ts), since its start and over all its threads. */
export interface DnsNumbers {
  /** Packets by transport and what became of them. */
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

/** What a responder shows of itself to those who measure. */
export interface DnsObserved {
  stats: () => DnsNumbers;
  /** TCP connections that are open now. */
  connections: () => number;
  /** Batch threads; 0 where Node's sockets answer. */
  threads: () => number;
}

export interface Observed {
  release: string;
  memoryTier: MemoryTier;
  diskTier: DiskTier;
  decoders: DecoderPool;
  images: ImageServer;
  origin: OriginClient;
  fetcher: AssetFetcher;
  records: Records;
  feed: FeedFollower;
  clock: Clock;
  /** Undefined while names are not answered yet, or not at all. */
  dns: () => DnsObserved | undefined;
  dnsVersion: () => number;
  fleetVersion: () => number;
  hasFleetSecret: () => boolean;
  siteStates: () => SiteStates;
  /** Site → part of its clients that it keeps, 0 to 1. */
  keptShares: () => ReadonlyMap<string, number>;
  /** Site → requests per second; a site of which nothing is known is not there. */
  siteLoads: () => ReadonlyMap<string, number>;
  load: LoadMeter;
  loopDelayMs: () => number;
  health: () => ReadonlyMap<string, NodeHealth>;
  isIsolated: () => boolean;
  /** Undefined while there is no lease, or none is wanted. */
  lease: () => { announced: readonly string[]; falls: number } | undefined;
  /** Absent or null: this node has no peers. */
  peers?: { counts: () => PeerCounts } | null;
  isReady: () => boolean;
}

const states: readonly SiteState[] = ["up", "draining", "down"];

export function declareMetrics(metrics: Metrics, parts: Observed): void {
  const { memoryTier, diskTier, decoders, images, origin, fetcher, records, feed, clock } = parts;
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "gauge", read });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "counter", read });
  };

  metrics.observe({
    name: "nearcast_build_info",
    help: "Always 1; the label names the release that runs",
    kind: "gauge",
    labels: ["version"],
    read: () => [{ labels: { version: parts.release }, value: 1 }],
  });
  gauge("nearcast_ready", "1 when this node may get clients", () => Number(parts.isReady()));
  gauge("nearcast_fleet_version", "Version of the fleet document in force; 0: none", parts.fleetVersion);
  metrics.observe({
    name: "nearcast_site_up",
    help: "1 when DNS may answer with this site",
    kind: "gauge",
    labels: ["site"],
    read: () => [...parts.siteStates()].map(([site, state]) => ({ labels: { site }, value: Number(state === "up") })),
  });
  metrics.observe({
    name: "nearcast_site_state",
    help: "1 for the state in which this node sees the site, 0 for the others",
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
  bySite("nearcast_site_kept_share", "Part of its clients that a site keeps; the rest is shed to others", () =>
    parts.keptShares(),
  );
  bySite("nearcast_site_requests_per_second", "What a site's nodes say that they serve", () => parts.siteLoads());
  metrics.observe({
    name: "nearcast_node_up",
    help: "1 when this node sees the other as up",
    kind: "gauge",
    labels: ["node"],
    read: () => [...parts.health()].map(([node, { state }]) => ({ labels: { node }, value: Number(state === "up") })),
  });
  gauge("nearcast_nodes_unproven", "Nodes in whose place something answers without proof of the fleet secret", () => {
    return [...parts.health().values()].filter(({ isUnproven }) => isUnproven === true).length;
  });
  gauge("nearcast_isolated", "1 when this node reaches no other, and so answers with its own site", () =>
    Number(parts.isIsolated()),
  );
  gauge("nearcast_lease_prefixes", "Prefixes that this node announces", () => parts.lease()?.announced.length ?? 0);
  counter("nearcast_lease_falls_total", "Times that the announcement was taken back, but for drains", () => {
    return parts.lease()?.falls ?? 0;
  });
  gauge("nearcast_loop_delay_seconds", "How late the event loop is, over the last ten seconds", () => {
    return parts.loopDelayMs() / 1000;
  });
  gauge("nearcast_http_bytes_per_second", "Bodies that this node serves, over the last ten seconds", () =>
    parts.load.bytesPerSecond(),
  );
  gauge("nearcast_http_requests_per_second", "What this node serves, over the last ten seconds", () =>
    parts.load.requestsPerSecond(),
  );
  gauge("nearcast_fleet_secret_known", "1 when this node has the fleet's secret; 0: its DNS cookies are its own", () =>
    Number(parts.hasFleetSecret()),
  );
  gauge("nearcast_feed_live", "1 when the origin's feed is followed and caught up", () =>
    Number(feed.state() === "live"),
  );
  gauge("nearcast_feed_position", "Number of the last event that was applied", () => feed.position()?.seq ?? 0);
  gauge("nearcast_feed_silence_seconds", "Since something was last heard of the origin", () => {
    const heardAtMs = feed.heardAtMs();
    return heardAtMs === null ? -1 : (clock.monotonicMs() - heardAtMs) / 1000;
  });

  gauge("nearcast_cache_records", "Sources whose present meaning is known", records.size);
  for (const [tier, stats] of [
    ["memory", memoryTier.stats],
    ["disk", diskTier.stats],
  ] as const) {
    gauge(`nearcast_cache_${tier}_bytes`, `Bytes in the ${tier} tier`, () => stats().bytes);
    gauge(`nearcast_cache_${tier}_bytes_max`, `Bound of the ${tier} tier`, () => stats().bytesMax);
    gauge(`nearcast_cache_${tier}_objects`, `Objects in the ${tier} tier`, () => stats().entries);
    counter(`nearcast_cache_${tier}_evictions_total`, "Objects removed for room", () => stats().evictions);
  }
  counter("nearcast_cache_disk_corrupt_total", "Files that failed their checksum", () => diskTier.stats().corrupt);
  counter("nearcast_cache_disk_write_failures_total", "Objects not written", () => diskTier.stats().writeFailures);
  counter("nearcast_cache_disk_refused_total", "Objects not taken: too large, or too much waits to be written", () => {
    return diskTier.stats().refused;
  });

  counter("nearcast_origin_requests_total", "Questions to the origin about sources", () => origin.counts().sources);
  counter("nearcast_origin_fetches_total", "Sources whose bytes the origin sent", () => origin.counts().sourceBodies);
  counter("nearcast_origin_failures_total", "Questions to the origin that failed", () => origin.counts().failures);
  counter("nearcast_asset_fetches_total", "Requests to origins of assets hosts", () => fetcher.counts().fetches);
  counter("nearcast_asset_failures_total", "Those that failed", () => fetcher.counts().failures);
  counter("nearcast_renders_total", "Variants rendered", () => images.counts().renders);
  counter("nearcast_render_failures_total", "Renderings that failed", () => images.counts().renderFailures);
  counter("nearcast_revalidations_total", "Sources asked for again", () => images.counts().revalidations);
  gauge("nearcast_decoders_busy", "Decoder processes at work", () => decoders.stats().busy);
  gauge("nearcast_decoders_queued", "Renderings that wait", () => images.counts().waiting + decoders.stats().queued);
  counter("nearcast_decoder_crashes_total", "Decoder processes that died", () => decoders.stats().crashes);
  counter("nearcast_decoder_timeouts_total", "Renderings over their time", () => decoders.stats().timeouts);
  counter("nearcast_decoder_memory_kills_total", "Decoders over their memory", () => decoders.stats().memoryKills);

  if (parts.peers !== undefined && parts.peers !== null) declarePeers(metrics, parts.peers.counts);
  declareDns(metrics, parts);
}

function declarePeers(metrics: Metrics, counts: () => PeerCounts): void {
  metrics.observe({
    name: "nearcast_peer_answers_total",
    help: "Answers of other nodes, by what they were asked as: owner in the site, site with room (spill), shield",
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
    help: "Questions of other nodes sent elsewhere: too many renderings wait (busy), missing their purges (behind)",
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
  counter("nearcast_peer_failures_total", "Questions to other nodes that brought nothing", (now) => now.failed);
  counter("nearcast_peer_unfit_total", "Answers of other nodes that were not what was asked for", (now) => now.unfit);
  counter("nearcast_peer_replicated_total", "Hot variants fetched before anyone asked here", (now) => now.replicated);
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
    help: "Packets, by transport and what became of them",
    kind: "counter",
    labels: ["transport", "outcome"],
    read: () =>
      Object.entries(dns()?.stats().outcomes ?? {}).flatMap(([transport, outcomes]) =>
        Object.entries(outcomes).map(([outcome, value]) => ({ labels: { transport, outcome }, value })),
      ),
  });
  counter("nearcast_dns_truncated_total", "Answers that told the client to ask by TCP", (numbers) => numbers.truncated);
  counter("nearcast_dns_failures_total", "Queries answered SERVFAIL for a fault here", (numbers) => numbers.failures);
  counter("nearcast_dns_client_subnets_total", "Queries with a client subnet", (numbers) => numbers.clientSubnets);
  counter("nearcast_dns_steered_total", "Questions for a steered address", (numbers) => numbers.steered);
  counter("nearcast_dns_send_errors_total", "Answers the system did not take", (numbers) => numbers.sendErrors);
  metrics.observe({
    name: "nearcast_dns_cookies_total",
    help: "Server cookies that clients showed; an invalid one is not ours, or too old",
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
  counter("nearcast_dns_batches_total", "System calls that brought queries to batch threads", (numbers) => {
    return numbers.batches;
  });
  gauge("nearcast_dns_threads", "Batch threads that answer UDP; 0: Node's sockets do", (part) => part.threads());
  counter("nearcast_dns_tcp_accepted_total", "TCP connections taken", (numbers) => numbers.tcpAccepted);
  counter("nearcast_dns_tcp_refused_total", "TCP connections closed for want of room", (numbers) => numbers.tcpRefused);
  counter("nearcast_dns_tcp_cut_total", "TCP connections cut: silent, slow or too long a message", (numbers) => {
    return numbers.tcpCut;
  });
  gauge("nearcast_dns_tcp_connections", "TCP connections that are open", (part) => part.connections());
  gauge(
    "nearcast_dns_fleet_version",
    "Version of the fleet document that names are answered from; 0: none",
    dnsVersion,
  );
}
