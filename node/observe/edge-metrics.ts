/**
 * The metrics of an edge: name, help, and the source of each value. Those of the node, its fleet and the feed are
 * declared here; those of caches, traffic, TLS and DNS in the files of these names. HTTP requests are counted in
 * metrics-registry.ts.
 */
import type { Clock } from "#base/clock.ts";
import type { FeedFollower } from "#follow/feed.ts";
import type { NodeHealth, SiteState, SiteStates } from "#health/health.ts";
import type { LoadMeter } from "#health/load-meter.ts";
import type { PeerCounts } from "../serve/peers.ts";
import { declareCaches, type ObservedCaches } from "./cache-metrics.ts";
import { declareDns, type ObservedDns } from "./dns-metrics.ts";
import { declareHttp2, type ObservedHttp2 } from "./http2-metrics.ts";
import { declareLanes, type ObservedLanes } from "./lane-metrics.ts";
import { type Metrics, withoutLabels } from "./metrics-registry.ts";
import {
  declareBodies,
  declareColdTurns,
  declarePeers,
  declareUpstreams,
  type ObservedTraffic,
} from "./traffic-metrics.ts";
import { declareTls, type ObservedTls } from "./tls-metrics.ts";

/** What the metrics of an edge read. */
export interface Observed
  extends ObservedCaches, ObservedTraffic, ObservedDns, ObservedTls, ObservedLanes, ObservedHttp2 {
  release: string;
  feed: FeedFollower;
  clock: Clock;
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
  const { gauge, counter } = withoutLabels(metrics);

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
    "1 if this node reaches no other node, else 0; it then answers DNS with the addresses of its own site",
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
  declareLanes(metrics, parts);
  declareHttp2(metrics, parts);
  declareColdTurns(metrics, parts);
  declareBodies(metrics, parts);
  declareUpstreams(metrics, parts);
  if (parts.peers !== undefined && parts.peers !== null) declarePeers(metrics, parts.peers.counts);
  declareTls(metrics, parts);
  declareDns(metrics, parts);
}
