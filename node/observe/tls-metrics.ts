/** The metrics of HTTPS: certificates, handshakes, connections. */
import type { Certificates } from "../tls/certificates.ts";
import { handshakeFailures, type TlsCounts } from "../tls/handshake-results.ts";
import type { Metrics } from "./metrics-registry.ts";

/** What these metrics read. */
export interface ObservedTls {
  /** Null: this node does not serve HTTPS. */
  tls: {
    certificates: Pick<Certificates, "all" | "problems" | "counts">;
    /** Of the main thread and of all lanes. */
    counts: () => TlsCounts;
    hostsWithout: () => readonly string[];
  } | null;
}

export function declareTls(metrics: Metrics, { tls }: ObservedTls): void {
  if (tls === null) return;
  const { certificates, counts, hostsWithout } = tls;
  const observe = (kind: "gauge" | "counter", name: string, help: string, read: () => number): void => {
    metrics.observe({ name: `nearcast_tls_${name}`, help, kind, read });
  };
  metrics.observe({
    name: "nearcast_tls_handshakes_total",
    help: "TLS handshakes by version and result; full and resumed ones are complete, the others failed",
    kind: "counter",
    labels: ["version", "result"],
    read: () => {
      const { completed, failed } = counts();
      return [
        ...Object.entries(completed).flatMap(([version, { full, resumed }]) => [
          { labels: { version, result: "full" }, value: full },
          { labels: { version, result: "resumed" }, value: resumed },
        ]),
        ...handshakeFailures.map((result) => ({ labels: { version: "none", result }, value: failed[result] })),
      ];
    },
  });
  observe("gauge", "handshakes_active", "Connections to the HTTPS port whose handshake is not complete", () => {
    return counts().active;
  });
  observe("gauge", "connections", "TLS connections of clients", () => counts().connections);
  observe("gauge", "certificates", "Certificates that are served", () => certificates.all().length);
  observe("gauge", "certificate_expiry_seconds", "Earliest expiry of a served certificate, in seconds since 1970", () =>
    Math.min(...certificates.all().map(({ validToMs }) => validToMs / 1000)),
  );
  observe(
    "gauge",
    "certificate_problems",
    "Certificate files that can't be used, and certificates that clients refuse; status names them",
    () => certificates.problems().length,
  );
  observe("gauge", "hosts_without_certificate", "Hosts of the fleet document without a certificate", () => {
    return hostsWithout().length;
  });
  observe("counter", "certificate_reloads_total", "Changed certificates that were loaded without a restart", () => {
    return certificates.counts().reloads;
  });
  observe("counter", "certificate_reload_failures_total", "Changed certificate files that could not be used", () => {
    return certificates.counts().failedReloads;
  });
}
