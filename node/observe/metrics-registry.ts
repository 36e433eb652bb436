/**
 * Prometheus metrics of an edge. Other files count in plain numbers; the metrics get their names here.
 *
 * No label takes its values from users: hosts, paths and addresses would let anyone fill the scraper's memory. `host`
 * is one of a limited number of hosts of the fleet document; all others are `other`.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { countDuration, type DurationCounts, durationMetric, newDurationCounts } from "./request-durations.ts";
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

type DeclareNumber = (name: string, help: string, read: () => number) => void;

/** Declares metrics without labels. */
export function withoutLabels({ observe }: Pick<Metrics, "observe">): { gauge: DeclareNumber; counter: DeclareNumber } {
  return {
    gauge(name, help, read) {
      observe({ name, help, kind: "gauge", read });
    },
    counter(name, help, read) {
      observe({ name, help, kind: "counter", read });
    },
  };
}

/** Each host adds about 20 series. A fleet document has up to 10,000 hosts. */
const hostLabelsMax = 500;

export function createMetrics(): Metrics {
  const registry = new Registry();
  const hosts = new Map<string, Served>();
  const others: Served = new Map();
  const durations = new Map<string, DurationCounts>();
  registry.registerMetric(durationMetric(durations));
  const metrics: Metrics = {
    served({ host, kind, outcome, status, durationMs, bodyBytes }) {
      const cell = cellOf(host === null ? others : servedOf(hosts, others, host), kind, outcome);
      const statusClass = Math.floor(status / 100);
      cell.requests[statusClass] = (cell.requests[statusClass] ?? 0) + 1;
      cell.bodyBytes += bodyBytes;
      let counts = durations.get(outcome);
      if (counts === undefined) durations.set(outcome, (counts = newDurationCounts()));
      countDuration(counts, durationMs / 1000);
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
    read: () =>
      cellsOf(hosts, others).flatMap(({ labels, cell }) =>
        [...cell.requests].flatMap((value, statusClass) =>
          value === 0 ? [] : [{ labels: { ...labels, status: `${statusClass}xx` }, value }],
        ),
      ),
  });
  metrics.observe({
    name: "nearcast_http_body_bytes_total",
    help: "Bytes of bodies sent",
    kind: "counter",
    labels: ["host", "kind", "outcome"],
    read: () => cellsOf(hosts, others).map(({ labels, cell }) => ({ labels, value: cell.bodyBytes })),
  });
  return metrics;
}

/** Request counts of one host: by kind, then by outcome. Nested maps, so that a request hashes no labels. */
type Served = Map<string, Map<string, Cell>>;

interface Cell {
  /** By first digit of the status. */
  readonly requests: Float64Array;
  bodyBytes: number;
}

function servedOf(hosts: Map<string, Served>, others: Served, host: string): Served {
  const known = hosts.get(host);
  if (known !== undefined) return known;
  if (hosts.size >= hostLabelsMax) return others;
  const served: Served = new Map();
  hosts.set(host, served);
  return served;
}

function cellOf(served: Served, kind: string, outcome: string): Cell {
  let cells = served.get(kind);
  if (cells === undefined) served.set(kind, (cells = new Map()));
  let cell = cells.get(outcome);
  if (cell === undefined) cells.set(outcome, (cell = { requests: new Float64Array(10), bodyBytes: 0 }));
  return cell;
}

function cellsOf(
  hosts: ReadonlyMap<string, Served>,
  others: Served,
): { labels: Record<"host" | "kind" | "outcome", string>; cell: Cell }[] {
  return [...hosts, ["other", others] as const].flatMap(([host, served]) =>
    [...served].flatMap(([kind, cells]) =>
      [...cells].map(([outcome, cell]) => ({ labels: { host, kind, outcome }, cell })),
    ),
  );
}
