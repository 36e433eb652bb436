/** The metrics of the DNS responder. */
import type { Metrics } from "./metrics-registry.ts";

/** The counters of a responder (dns/counters.ts), since its start and over all its threads. */
export interface DnsNumbers {
  /** Packets by transport and outcome. */
  outcomes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  truncated: number;
  clientSubnets: number;
  steered: number;
  failures: number;
  sendErrors: number;
  cookiesValid: number;
  cookiesInvalid: number;
  batches: number;
  tcpAccepted: number;
  tcpRefused: number;
  tcpCut: number;
}

/** The parts of a responder that metrics read. */
export interface DnsObserved {
  stats: () => DnsNumbers;
  /** TCP connections that are open now. */
  connections: () => number;
  /** Batch threads; 0 when Node's sockets answer. */
  threads: () => number;
}

/** What these metrics read. */
export interface ObservedDns {
  /** Undefined while DNS does not answer yet, or is disabled. */
  dns: () => DnsObserved | undefined;
  dnsVersion: () => number;
}

export function declareDns(metrics: Metrics, { dns, dnsVersion }: ObservedDns): void {
  const gauge = (name: string, help: string, read: (part: DnsObserved) => number): void => {
    metrics.observe({ name, help, kind: "gauge", read: () => ofDns(read) });
  };
  const counter = (name: string, help: string, read: (numbers: DnsNumbers) => number): void => {
    metrics.observe({ name, help, kind: "counter", read: () => ofDns((part) => read(part.stats())) });
  };
  const ofDns = (read: (part: DnsObserved) => number): number => {
    const part = dns();
    return part === undefined ? 0 : read(part);
  };

  metrics.observe({
    name: "nearcast_dns_queries_total",
    help: "DNS messages received, by transport and outcome",
    kind: "counter",
    labels: ["transport", "outcome"],
    read: () =>
      Object.entries(dns()?.stats().outcomes ?? {}).flatMap(([transport, outcomes]) =>
        Object.entries(outcomes).map(([outcome, value]) => ({ labels: { transport, outcome }, value })),
      ),
  });
  counter("nearcast_dns_truncated_total", "Answers with TC=1", (numbers) => numbers.truncated);
  counter(
    "nearcast_dns_failures_total",
    "Queries answered with SERVFAIL because of an internal error",
    (numbers) => numbers.failures,
  );
  counter("nearcast_dns_client_subnets_total", "Queries with a client subnet", (numbers) => numbers.clientSubnets);
  counter("nearcast_dns_steered_total", "Queries for the addresses of a steered name", (numbers) => numbers.steered);
  counter("nearcast_dns_send_errors_total", "Answers that the system failed to send", (numbers) => numbers.sendErrors);
  metrics.observe({
    name: "nearcast_dns_cookies_total",
    help: "Server cookies in queries; an invalid one is too old or not from this fleet",
    kind: "counter",
    labels: ["validity"],
    read: () => {
      const numbers = dns()?.stats();
      if (numbers === undefined) return [];
      return [
        { labels: { validity: "valid" }, value: numbers.cookiesValid },
        { labels: { validity: "invalid" }, value: numbers.cookiesInvalid },
      ];
    },
  });
  counter("nearcast_dns_batches_total", "System calls that received queries on batch threads", (numbers) => {
    return numbers.batches;
  });
  gauge("nearcast_dns_threads", "Batch threads that answer UDP; 0: the main thread answers", (part) => part.threads());
  counter("nearcast_dns_tcp_accepted_total", "TCP connections accepted", (numbers) => numbers.tcpAccepted);
  counter(
    "nearcast_dns_tcp_refused_total",
    "TCP connections closed because of a connection limit",
    (numbers) => numbers.tcpRefused,
  );
  counter(
    "nearcast_dns_tcp_cut_total",
    "TCP connections closed because they were idle or slow, or sent too long a message",
    (numbers) => {
      return numbers.tcpCut;
    },
  );
  gauge("nearcast_dns_tcp_connections", "Open TCP connections", (part) => part.connections());
  gauge("nearcast_dns_fleet_version", "Version of the fleet document that DNS answers from; 0: none", dnsVersion);
}
