/** The metrics of HTTP/2: connections, streams, and what was ended. Requests are counted like those of HTTP/1.1. */
import { floods, type Http2Counts } from "../http2/counts.ts";
import { type Metrics, withoutLabels } from "./metrics-registry.ts";

/** What these metrics read. */
export interface ObservedHttp2 {
  http2: Http2Counts;
}

export function declareHttp2(metrics: Metrics, { http2 }: ObservedHttp2): void {
  const { gauge, counter } = withoutLabels(metrics);
  gauge("nearcast_http2_connections", "Open HTTP/2 connections of clients", () => http2.open);
  gauge("nearcast_http2_streams", "Requests over HTTP/2 in progress", () => http2.streams);
  counter("nearcast_http2_connections_total", "HTTP/2 connections of clients", () => http2.connections);
  counter("nearcast_http2_malformed_total", "Requests over HTTP/2 that were malformed, and got no response", () => {
    return http2.malformed;
  });
  metrics.observe({
    name: "nearcast_http2_floods_total",
    help: "HTTP/2 connections closed for too many reset streams or too many frames that serve no request, by cause",
    kind: "counter",
    labels: ["cause"],
    read: () => floods.map((cause) => ({ labels: { cause }, value: http2.floods[cause] })),
  });
}
