/**
 * Prometheus metrics of an edge. Other files count in plain numbers; the metrics get their names here.
 *
 * No label takes its values from users: hosts, paths and addresses would let anyone fill the scraper's memory. `host`
 * is one of a limited number of hosts of the fleet document; all others are `other`.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ServedRequest } from "../http/app.ts";

export interface Metrics {
  served: (request: ServedRequest) => void;
  /** Declares a number that is read on each scrape. `read` returns it with its label values. */
  observe: (metric: {
    name: string;
    help: string;
    kind: "counter" | "gauge";
    labels?: readonly string[];
    read: () => number | Promise<number> | readonly { labels: Readonly<Record<string, string>>; value: number }[];
  }) => void;
  /** The metrics in the text exposition format. */
  render: () => Promise<string>;
  contentType: string;
}

/** Each host adds some 20 series. A fleet document has up to 10,000 hosts. */
const hostLabelsMax = 500;

export function createMetrics(): Metrics {
  const registry = new Registry();
  // Plain numbers: prom-client's own counting would hash the labels of every request.
  const requests = new Map<string, { labels: Record<"host" | "kind" | "outcome" | "status", string>; value: number }>();
  const bodyBytes = new Map<string, { labels: Record<"host" | "kind" | "outcome", string>; value: number }>();
  const hosts = new Set<string>();
  const durations = new Histogram({
    name: "nearcast_http_request_duration_seconds",
    help: "Time from the arrival of the request header until the head of the response is handed to the system",
    labelNames: ["outcome"],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  const metrics: Metrics = {
    served({ host: asked, kind, outcome, status, durationMs, bodyBytes: bytes }) {
      if (asked !== null && hosts.size < hostLabelsMax) hosts.add(asked);
      const host = asked !== null && hosts.has(asked) ? asked : "other";
      const statusClass = Math.floor(status / 100);
      const what = `${host} ${kind} ${outcome}`;
      const request = requests.get(`${what} ${statusClass}`);
      if (request === undefined) {
        const labels = { host, kind, outcome, status: `${statusClass}xx` };
        requests.set(`${what} ${statusClass}`, { labels, value: 1 });
      } else request.value += 1;
      const sent = bodyBytes.get(what);
      if (sent === undefined) bodyBytes.set(what, { labels: { host, kind, outcome }, value: bytes });
      else sent.value += bytes;
      durations.observe({ outcome }, durationMs / 1000);
    },
    observe({ name, help, kind, labels = [], read }) {
      const about = { name, help, labelNames: [...labels], registers: [registry] };
      const samples = async () => {
        const now = await read();
        return typeof now === "number" ? [{ labels: {}, value: now }] : now;
      };
      if (kind === "gauge") {
        void new Gauge({
          ...about,
          async collect() {
            const now = await samples();
            this.reset();
            for (const { labels: values, value } of now) this.set(values, value);
          },
        });
        return;
      }
      void new Counter({
        ...about,
        async collect() {
          const now = await samples();
          this.reset();
          for (const { labels: values, value } of now) this.inc(values, value);
        },
      });
    },
    render: () => registry.metrics(),
    contentType: registry.contentType,
  };
  metrics.observe({
    name: "nearcast_http_requests_total",
    help: "Requests answered, by host of the fleet document, kind, outcome and status class",
    kind: "counter",
    labels: ["host", "kind", "outcome", "status"],
    read: () => [...requests.values()],
  });
  metrics.observe({
    name: "nearcast_http_body_bytes_total",
    help: "Bytes of bodies sent",
    kind: "counter",
    labels: ["host", "kind", "outcome"],
    read: () => [...bodyBytes.values()],
  });
  return metrics;
}
