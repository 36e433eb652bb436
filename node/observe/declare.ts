/** Which numbers of which room are published under which name. */
import type { Clock } from "#base/clock.ts";
import type { FeedFollower } from "#fleet/feed.ts";
import type { SiteStates } from "#fleet/health.ts";
import type { DecoderPool } from "#image/pool.ts";
import type { DiskTier } from "../cache/disk.ts";
import type { MemoryTier } from "../cache/memory.ts";
import type { Records } from "../cache/records.ts";
import type { AssetFetcher } from "../fetch/asset.ts";
import type { OriginClient } from "../fetch/origin.ts";
import type { ImageServer } from "../serve/image.ts";
import type { Metrics } from "./metrics.ts";

type Outcomes = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface Observed {
  memoryTier: MemoryTier;
  diskTier: DiskTier;
  decoders: DecoderPool;
  images: ImageServer;
  origin: OriginClient;
  fetcher: AssetFetcher;
  records: Records;
  feed: FeedFollower;
  clock: Clock;
  dnsStats: () => { outcomes: Outcomes; truncated: number; failures: number } | undefined;
  fleetVersion: () => number;
  siteStates: () => SiteStates;
  isReady: () => boolean;
}

export function declareMetrics(metrics: Metrics, parts: Observed): void {
  const { memoryTier, diskTier, decoders, images, origin, fetcher, records, feed, clock } = parts;
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "gauge", read });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    metrics.observe({ name, help, kind: "counter", read });
  };

  gauge("nearcast_ready", "1 when this node may get clients", () => Number(parts.isReady()));
  gauge("nearcast_fleet_version", "Version of the fleet document in force; 0: none", parts.fleetVersion);
  metrics.observe({
    name: "nearcast_site_up",
    help: "1 when DNS may answer with this site",
    kind: "gauge",
    labels: ["site"],
    read: () => [...parts.siteStates()].map(([site, state]) => ({ labels: { site }, value: Number(state === "up") })),
  });
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

  metrics.observe({
    name: "nearcast_dns_queries_total",
    help: "Packets, by transport and what became of them",
    kind: "counter",
    labels: ["transport", "outcome"],
    read: () =>
      Object.entries(parts.dnsStats()?.outcomes ?? {}).flatMap(([transport, outcomes]) =>
        Object.entries(outcomes).map(([outcome, value]) => ({ labels: { transport, outcome }, value })),
      ),
  });
  counter(
    "nearcast_dns_truncated_total",
    "Answers that told the client to ask by TCP",
    () => parts.dnsStats()?.truncated ?? 0,
  );
  counter(
    "nearcast_dns_failures_total",
    "Queries answered SERVFAIL for a fault here",
    () => parts.dnsStats()?.failures ?? 0,
  );
}
