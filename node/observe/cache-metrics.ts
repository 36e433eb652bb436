/** The metrics of the cache tiers, and of the requests and renderings that fill them. */
import type { DecoderPool } from "#image/pool.ts";
import type { DiskTier } from "../cache/disk/disk-tier.ts";
import type { MemoryTier } from "../cache/memory.ts";
import type { Records } from "../cache/records.ts";
import type { AssetFetcher } from "../fetch/asset.ts";
import type { OriginClient } from "../fetch/origin.ts";
import type { ReadyHits } from "../http/ready-hits.ts";
import type { ImageServer } from "../serve/image.ts";
import { type Metrics, withoutLabels } from "./metrics-registry.ts";

/** What these metrics read. */
export interface ObservedCaches {
  memoryTier: MemoryTier;
  diskTier: DiskTier;
  decoders: DecoderPool;
  images: ImageServer;
  origin: OriginClient;
  fetcher: AssetFetcher;
  records: Records;
  ready: ReadyHits;
}

/** The cache tiers, and the requests and renderings that fill them. */
export function declareCaches(metrics: Metrics, parts: ObservedCaches): void {
  const { memoryTier, diskTier, decoders, images, origin, fetcher, records, ready } = parts;
  const { gauge, counter } = withoutLabels(metrics);
  gauge("nearcast_ready_responses", "Ready responses in memory", () => ready.counts().records);
  gauge("nearcast_ready_bytes", "Bytes of ready responses in memory", () => ready.counts().usedBytes);
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
  gauge(
    "nearcast_cache_disk_limit_bytes",
    "Bytes that the disk tier may take now: less than nearcast_cache_disk_bytes_max after the disk was full",
    () => diskTier.stats().limitBytes,
  );
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
    "Objects not stored: too large, too many bytes waiting to be written, or the disk not used after a failure",
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
  gauge("nearcast_cache_disk_readable", "0 while a failure keeps the edge from reading the disk, else 1", () =>
    Number(diskTier.stats().canRead),
  );
  gauge(
    "nearcast_cache_disk_writable",
    "0 while a failure keeps the edge from writing to the disk, or if the disk cache is off, else 1",
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
function declareRenderQueue(metrics: Metrics, { images }: Pick<ObservedCaches, "images">): void {
  metrics.observe({
    name: "nearcast_render_queue_cost_seconds",
    help: "Estimated time of a decoder for all renderings that wait",
    kind: "gauge",
    read: () => images.counts().turns.waitingCostMs / 1000,
  });
  metrics.observe({
    name: "nearcast_render_refusals_total",
    help:
      "Renderings refused: too many of the client's network wait (network), too many wait in total (queue), or the " +
      "source is in quarantine (quarantine)",
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
    help: "Sources that are not rendered at the moment, because their decoders failed repeatedly",
    kind: "gauge",
    read: () => images.counts().quarantined,
  });
}
