/** The origin's metrics, in their own registry so that two origins in one process (tests) stay separate. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "#base/clock.ts";
import { type ProcessMetric, processMetrics } from "#base/process-metrics.ts";
import { readRelease } from "#base/release.ts";
import { type ClosedReason, closedReasons } from "./http/server.ts";
import type { Refusals } from "./refused-tokens.ts";

export interface OriginMetrics {
  readonly contentType: string;
  readonly print: () => Promise<string>;
  readonly countSwept: (blobs: number) => void;
  readonly countUnauthenticatedClosed: (reason: ClosedReason) => void;
}

/** The part of a request that is measured. */
interface MeasuredRequest {
  readonly method: string;
  readonly routeOptions: { readonly url?: string | undefined };
}

/** Hooks that count requests and measure how long they take. */
interface RequestHooks {
  readonly onRequest: (request: MeasuredRequest) => Promise<void>;
  readonly onResponse: (request: MeasuredRequest, reply: { readonly statusCode: number }) => Promise<void>;
}

/** @param sources `dataDir`: the directory of the catalogue and the blobs */
export function openMetrics(sources: {
  dataDir: string;
  clock: Clock;
  uploads: () => { running: number; inspecting: number; waiting: number };
  feed: () => { subscribers: number; published: number; cut: number };
  refusals: Pick<Refusals, "counts">;
}): OriginMetrics & { readonly requestHooks: RequestHooks } {
  const { clock } = sources;
  const registry = new Registry();
  const registers = [registry];
  // A closure for each, because prom-client reads the value when it prints.
  const gauge = (name: string, help: string, read: ProcessMetric["read"]): void => {
    void new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await read());
      },
    });
  };
  const counter = (name: string, help: string, read: ProcessMetric["read"]): void => {
    void new Counter({
      name,
      help,
      registers,
      async collect() {
        const now = await read();
        this.reset();
        this.inc(now);
      },
    });
  };
  for (const { name, help, kind, read } of processMetrics(sources.dataDir, clock)) {
    (kind === "counter" ? counter : gauge)(name, help, read);
  }
  const build = new Gauge({
    name: "nearcast_build_info",
    help: "Always 1; the label is the running release",
    labelNames: ["version"],
    registers,
  });
  build.set({ version: readRelease() }, 1);
  gauge("nearcast_origin_uploads", "Uploads in progress", () => sources.uploads().running);
  gauge("nearcast_origin_inspections", "Uploads that are being decoded", () => sources.uploads().inspecting);
  gauge("nearcast_origin_inspections_waiting", "Uploads that wait to be decoded", () => sources.uploads().waiting);
  gauge("nearcast_origin_feed_subscribers", "Edges that follow the feed", () => sources.feed().subscribers);
  counter("nearcast_origin_feed_published_total", "Events sent to the feed", () => sources.feed().published);
  counter(
    "nearcast_origin_feed_cut_total",
    "Subscribers disconnected because they were too slow",
    () => sources.feed().cut,
  );
  const swept = new Counter({
    name: "nearcast_origin_blobs_swept_total",
    help: "Unused blobs removed",
    registers,
  });
  void new Counter({
    name: "nearcast_origin_tokens_refused_total",
    help: "Requests refused because of their token: malformed, unknown, or an edge token instead of the writer's",
    labelNames: ["reason"],
    registers,
    collect() {
      this.reset();
      for (const [reason, count] of Object.entries(sources.refusals.counts())) this.inc({ reason }, count);
    },
  });
  const unauthenticatedClosed = new Counter({
    name: "nearcast_origin_unauthenticated_connections_closed_total",
    help: "Connections without a valid token that were closed: too slow, or above the limit of a network or of all",
    labelNames: ["reason"],
    registers,
  });
  // Each reason exists from the start, so that its first increase is visible.
  for (const reason of closedReasons) unauthenticatedClosed.inc({ reason }, 0);
  const requests = new Counter({
    name: "nearcast_origin_requests_total",
    help: "Requests answered",
    labelNames: ["route", "method", "status"],
    registers,
  });
  const seconds = new Histogram({
    name: "nearcast_origin_request_seconds",
    help: "Time from the request header to the end of the response",
    labelNames: ["route", "method"],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers,
  });
  const startedMs = new WeakMap<object, number>();
  return {
    contentType: registry.contentType,
    print: async () => await registry.metrics(),
    countSwept: (blobs) => {
      swept.inc(blobs);
    },
    countUnauthenticatedClosed: (reason) => {
      unauthenticatedClosed.inc({ reason });
    },
    requestHooks: {
      onRequest: async (request) => {
        startedMs.set(request, clock.monotonicMs());
      },
      onResponse: async (request, reply) => {
        // The route's pattern, never the path: labels must stay few.
        const route = request.routeOptions.url ?? "none";
        const { method } = request;
        requests.inc({ route, method, status: reply.statusCode });
        seconds.observe(
          { route, method },
          (clock.monotonicMs() - (startedMs.get(request) ?? clock.monotonicMs())) / 1000,
        );
      },
    },
  };
}
