/** What the lanes count: one array per lane in shared memory, with one writer, which the main thread reads. */
import type { Http2Counts } from "../../http2/counts.ts";
import { failuresBy, handshakeFailures, type TlsCounts } from "../../tls/handshake-results.ts";

const names = [
  /** Of the lane's loop: several a second, unless it hangs. */
  "turns",
  /** How often a delay was measured (lane-delay.ts), and the sum. */
  "delays",
  "delayMs",
  /** Connections that are open now. */
  "open",
  "accepted",
  /** Connections closed to make room for others, or because no descriptor was left. */
  "refused",
  /** Requests that lanes answered themselves. */
  "answered",
  /** Requests, or parts of a connection, passed to the main thread. */
  "relayed",
  /** Connections taken back from the main thread. */
  "returned",
  /** Connections closed because they were silent, or did not read their response. */
  "timedOut",
  /** Connections with HTTP/2 since the start, those that are open, and their requests in progress. */
  "http2Connections",
  "http2Open",
  "http2Streams",
  /** Requests that were malformed. */
  "http2Malformed",
  /** Connections closed because of what they cost. */
  "http2ResetFloods",
  "http2FrameFloods",
  "receivedBytes",
  "sentBytes",
  /** TLS connections whose handshake is not complete, and those that are open. */
  "handshakes",
  "secured",
  /** Completed handshakes. */
  "full12",
  "resumed12",
  "full13",
  "resumed13",
  ...handshakeFailures.map((failure) => `handshake ${failure}` as const),
] as const;
export type CountName = (typeof names)[number];

export type Counts = Float64Array<SharedArrayBuffer>;

const indexByName = Object.fromEntries(names.map((name, index) => [name, index])) as Record<CountName, number>;

export function newCounts(): Counts {
  return new Float64Array(new SharedArrayBuffer(names.length * Float64Array.BYTES_PER_ELEMENT));
}

export function count(counts: Counts, name: CountName, more = 1): void {
  const index = indexByName[name];
  counts[index] = (counts[index] ?? 0) + more;
}

export function read(counts: Counts, name: CountName): number {
  return counts[indexByName[name]] ?? 0;
}

/** The lane is dead: it has no connections any more. */
export function forgetOpen(counts: Counts): void {
  for (const name of ["open", "handshakes", "secured", "http2Open", "http2Streams"] as const)
    counts[indexByName[name]] = 0;
}

/** Sums over all lanes. */
export function sumOf(lanes: readonly Counts[]): Record<CountName, number> {
  return Object.fromEntries(
    names.map((name, index) => [name, lanes.reduce((sum, counts) => sum + (counts[index] ?? 0), 0)]),
  ) as Record<CountName, number>;
}

/** What lanes have counted of HTTP/2. */
export function http2CountsOf(sums: Readonly<Record<CountName, number>>): Http2Counts {
  return {
    connections: sums.http2Connections,
    open: sums.http2Open,
    streams: sums.http2Streams,
    malformed: sums.http2Malformed,
    floods: { resets: sums.http2ResetFloods, frames: sums.http2FrameFloods },
  };
}

/** What lanes have counted of TLS. */
export function tlsCountsOf(sums: Readonly<Record<CountName, number>>): TlsCounts {
  return {
    completed: {
      "TLSv1.2": { full: sums.full12, resumed: sums.resumed12 },
      "TLSv1.3": { full: sums.full13, resumed: sums.resumed13 },
    },
    failed: failuresBy((failure) => sums[`handshake ${failure}`]),
    active: sums.handshakes,
    connections: sums.secured,
  };
}
