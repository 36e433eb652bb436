/** The metrics of HTTP/2: connections, streams, and what was ended. Requests are counted like those of HTTP/1.1. */
import { http2CountsOf } from "../front/lane/counts.ts";
import { addHttp2Counts, floods, type Http2Counts } from "../http2/counts.ts";
import type { ObservedLanes } from "./lane-metrics.ts";
import { type Metrics, withoutLabels } from "./metrics-registry.ts";

/** What these metrics read. */
export interface ObservedHttp2 extends ObservedLanes {
  /** Of the main thread. */
  http2: Http2Counts;
}

export function declareHttp2(metrics: Metrics, { http2, lanes }: ObservedHttp2): void {
  const now = (): Http2Counts => {
    const open = lanes();
    return open === null ? http2 : addHttp2Counts(http2, http2CountsOf(open.counts()));
  };
  const { gauge, counter } = withoutLabels(metrics);
  gauge("nearcast_http2_connections", "Open HTTP/2 connections of clients", () => now().open);
  gauge("nearcast_http2_streams", "Requests over HTTP/2 in progress", () => now().streams);
  counter("nearcast_http2_connections_total", "HTTP/2 connections of clients", () => now().connections);
  counter("nearcast_http2_malformed_total", "Requests over HTTP/2 that were malformed, and got no response", () => {
    return now().malformed;
  });
  metrics.observe({
    name: "nearcast_http2_floods_total",
    help: "HTTP/2 connections closed for too many reset streams or too many frames that serve no request, by cause",
    kind: "counter",
    labels: ["cause"],
    read: () => {
      const counts = now().floods;
      return floods.map((cause) => ({ labels: { cause }, value: counts[cause] }));
    },
  });
}
