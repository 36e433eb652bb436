/**
 * The responder's counters: one array per answering thread, in shared memory, so that the main thread can read them
 * directly. Each array has one writer; readStats() sums over threads.
 *
 *   index   [udp outcomes…][tcp outcomes…][named counters…]
 */

/**
 *   Exactly one of these per packet:
 *   answered: noerror (records), nodata, nxdomain, yxdomain, referral, refused, formerr, notimp, badvers, servfail
 *   slipped:  limited: an empty answer with TC=1 (or NOERROR with a cookie only)
 *   silent:   ignored-response (QR=1), ignored-short (less than a header), ignored-port (source port 0),
 *             ignored-rate (the rate limit)
 */
export const outcomes = [
  "noerror",
  "nodata",
  "nxdomain",
  "yxdomain",
  "referral",
  "refused",
  "formerr",
  "notimp",
  "badvers",
  "servfail",
  "slipped",
  "ignored-response",
  "ignored-short",
  "ignored-port",
  "ignored-rate",
] as const;
export type Outcome = (typeof outcomes)[number];

export const transportNames = ["udp", "tcp"] as const;
export type TransportName = (typeof transportNames)[number];

const named = [
  // UDP answers with TC=1: they did not fit, or would have amplified a spoofed query too much.
  "truncated",
  // Queries with a client subnet (RFC 7871).
  "clientSubnets",
  // Questions for a steered address.
  "steered",
  // Queries that failed internally; each was answered with SERVFAIL, and the first was logged.
  "failures",
  "sendErrors",
  "cookiesValid",
  // The server cookie is not ours or too old: the client gets a new one.
  "cookiesInvalid",
  // System calls on the batch path that returned queries; queries / batches is the mean size of a batch.
  "batches",
  "tcpAccepted",
  // Connections closed to make room, in total or within their network.
  "tcpRefused",
  // Connections closed because they were silent or slow, or sent a message that is too long.
  "tcpCut",
] as const;
export type CounterName = (typeof named)[number];

/** Float64: whole numbers to 2^53 without allocation, and a torn read is impossible on the processors Node runs on. */
export type Counters = Float64Array;

const outcomesCount = outcomes.length;
const namedStart = transportNames.length * outcomesCount;
const countersLength = namedStart + named.length;

export function newCounters(): Counters {
  return new Float64Array(new SharedArrayBuffer(countersLength * Float64Array.BYTES_PER_ELEMENT));
}

/** The index at which an outcome is counted for a transport. Computed once per thread, not per query. */
export function outcomeIndex(transport: TransportName, outcome: Outcome): number {
  return transportNames.indexOf(transport) * outcomesCount + outcomes.indexOf(outcome);
}

export function counterIndex(name: CounterName): number {
  return namedStart + named.indexOf(name);
}

export function count(counters: Counters, index: number): void {
  counters[index] = (counters[index] ?? 0) + 1;
}

export interface DnsStats extends Readonly<Record<CounterName, number>> {
  readonly outcomes: Readonly<Record<TransportName, Readonly<Record<Outcome, number>>>>;
}

/** The sum over all threads. */
export function readStats(threads: readonly Counters[]): DnsStats {
  const sum = (index: number): number => threads.reduce((total, counters) => total + (counters[index] ?? 0), 0);
  const ofTransport = (transport: TransportName): Record<Outcome, number> =>
    Object.fromEntries(outcomes.map((outcome) => [outcome, sum(outcomeIndex(transport, outcome))])) as Record<
      Outcome,
      number
    >;
  const byName = Object.fromEntries(named.map((name) => [name, sum(counterIndex(name))])) as Record<
    CounterName,
    number
  >;
  return { outcomes: { udp: ofTransport("udp"), tcp: ofTransport("tcp") }, ...byName };
}
