/** The metrics of bodies and requests in progress: to clients and peers, and to origins and other nodes. */
import type { TransferRules } from "../deliver/transfer.ts";
import type { AssetFetcher } from "../fetch/asset.ts";
import type { OriginClient } from "../fetch/origin.ts";
import type { UpstreamStats } from "../fetch/upstream/upstream.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ColdTurns } from "../serve/cold-turns.ts";
import type { PeerCounts } from "../serve/peers.ts";
import { type Metrics, withoutLabels } from "./metrics-registry.ts";

/** What these metrics read. */
export interface ObservedTraffic {
  assets: Pick<AssetServer, "fills">;
  coldTurns: Pick<ColdTurns, "counts">;
  transfers: Pick<TransferRules, "budget" | "counts">;
  origin: OriginClient;
  fetcher: AssetFetcher;
}

/** Requests that wait for their turn to ask the origin or another node. */
export function declareColdTurns(
  metrics: Metrics,
  { coldTurns: { counts } }: Pick<ObservedTraffic, "coldTurns">,
): void {
  metrics.observe({
    name: "nearcast_cold_waiting",
    help: "Requests that no cache can answer, and that are waiting for their turn",
    kind: "gauge",
    read: () => counts().waiting,
  });
  metrics.observe({
    name: "nearcast_cold_refused_total",
    help: "Requests that got a 503 because too many of them were waiting, or because they had waited too long",
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

/** Bodies in progress: to clients and peers, and from the origins of assets hosts. */
export function declareBodies(
  metrics: Metrics,
  { transfers, assets }: Pick<ObservedTraffic, "transfers" | "assets">,
): void {
  const { gauge, counter } = withoutLabels(metrics);
  const { budget, counts } = transfers;
  gauge("nearcast_delivery_in_flight_bytes", "Memory held by responses that are being sent to clients", () => {
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
    "Responses cut off because their receiver read less than the minimum rate (delivery.bytesPerSecondMin)",
    () => counts.tooSlow,
  );
  counter("nearcast_delivery_no_room_total", "Responses cut off because no memory became free in time", () => {
    return counts.noRoom;
  });
  gauge("nearcast_fills_active", "Bodies being fetched from origins of assets hosts into the cache", () => {
    return assets.fills().running;
  });
  gauge("nearcast_fills_bytes", "Memory held by such bodies, and by slow readers of those that have arrived", () => {
    return assets.fills().bytes;
  });
}

/** Origins with a label of their own: those with the most requests. A fleet document may name thousands. */
const upstreamsShownMax = 100;

/** The origin of the pictures, and the origins of assets hosts: each with the host of its URL as label. */
export function declareUpstreams(
  metrics: Metrics,
  { origin, fetcher }: Pick<ObservedTraffic, "origin" | "fetcher">,
): void {
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
  declare("gauge", "bodies_held", "Slow responses and event streams, which do not count as active", (stats) => {
    return stats.bodiesHeld;
  });
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

/** Responses from other nodes, and refusals of their requests. */
export function declarePeers(metrics: Metrics, counts: () => PeerCounts): void {
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
  const { counter } = withoutLabels(metrics);
  counter("nearcast_peer_failures_total", "Requests to other nodes that failed", () => counts().failed);
  counter("nearcast_peer_left_total", "Requests of other nodes that were given up before their response began", () => {
    return counts().left;
  });
  counter("nearcast_peer_unfit_total", "Responses from other nodes that did not match the request", () => {
    return counts().unfit;
  });
  counter("nearcast_peer_replicated_total", "Hot variants fetched before a client requested them", () => {
    return counts().replicated;
  });
}
