/** The metrics of the lanes: threads that own the connections of clients. */
import type { CountName } from "../front/lane/counts.ts";
import { type Metrics, withoutLabels } from "./metrics-registry.ts";

/** What these metrics read. */
export interface ObservedLanes {
  /** Null: the main thread owns the connections. */
  lanes: () => {
    count: number;
    counts: () => Record<CountName, number>;
    restarts: () => number;
    delayMs: () => number;
    untold: () => number;
  } | null;
}

export function declareLanes(metrics: Metrics, { lanes }: ObservedLanes): void {
  const { gauge, counter } = withoutLabels(metrics);
  const of = (name: CountName) => (): number => lanes()?.counts()[name] ?? 0;
  gauge("nearcast_lanes", "Threads that own the connections of clients; 0: the main thread owns them", () => {
    return lanes()?.count ?? 0;
  });
  counter("nearcast_lane_restarts_total", "Lanes that died and were replaced", () => lanes()?.restarts() ?? 0);
  gauge("nearcast_lane_delay_seconds", "Time that clients wait for a lane, over the last ten seconds", () => {
    return (lanes()?.delayMs() ?? 0) / 1000;
  });
  gauge("nearcast_lane_connections", "Open connections of clients in lanes", of("open"));
  counter("nearcast_lane_accepted_total", "Connections that lanes accepted", of("accepted"));
  counter(
    "nearcast_lane_refused_total",
    "Connections that lanes closed to make room for others, or for lack of descriptors",
    of("refused"),
  );
  counter(
    "nearcast_lane_timeouts_total",
    "Connections that lanes closed because their clients were silent or read nothing of a response",
    of("timedOut"),
  );
  counter("nearcast_lane_answered_total", "Requests that lanes answered themselves", of("answered"));
  counter(
    "nearcast_lane_untold_total",
    "Requests that lanes answered and no other metric counts, because the main thread was too far behind",
    () => lanes()?.untold() ?? 0,
  );
  counter("nearcast_lane_relayed_total", "Times that a lane passed requests to the main thread", of("relayed"));
  counter(
    "nearcast_lane_returned_total",
    "Times that a lane took an idle connection back from the main thread",
    of("returned"),
  );
  counter("nearcast_lane_received_bytes_total", "Bytes that lanes received from clients", of("receivedBytes"));
  counter("nearcast_lane_sent_bytes_total", "Bytes that lanes sent to clients", of("sentBytes"));
}
