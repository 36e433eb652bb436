/** TLS for clients: certificates from files, ticket keys from the fleet secret, and the acceptor of all listeners. */
import type { Clock } from "#base/clock.ts";
import type { Lifecycle } from "#base/lifecycle.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { EdgeConfig } from "../../config.ts";
import { openTlsAcceptor, type TlsAcceptor } from "../../tls/acceptor.ts";
import { type Certificates, openCertificates, uncovered } from "../../tls/certificates.ts";
import { openTicketKeys } from "../../tls/ticket-keys.ts";

export interface TlsPart {
  readonly certificates: Certificates;
  readonly acceptor: TlsAcceptor;
  /** Hosts of the fleet document that no certificate covers. */
  readonly hostsWithout: () => readonly string[];
  /** Another fleet document is in force. */
  readonly refresh: () => void;
}

/** How many hosts without certificate a log line names. */
const namesTold = 10;

/**
 * Null: this node does not serve HTTPS.
 * @throws NearcastError INTERNAL if no certificate is usable
 */
export async function openTls(options: {
  config: Pick<EdgeConfig, "https">;
  /** Null before the first document. */
  fleet: () => Fleet | null;
  /** The fleet secrets, the current one first. */
  secrets: () => readonly Uint8Array[];
  lifecycle: Lifecycle;
  clock: Clock;
  log: Log;
}): Promise<TlsPart | null> {
  const { fleet: currentFleet, secrets, lifecycle, clock, log } = options;
  const { https } = options.config;
  if (https === undefined) return null;
  let judgedFor: Fleet | null = null;
  let without: readonly string[] = [];
  const judge = (certificates: Certificates): void => {
    const fleet = currentFleet();
    judgedFor = fleet;
    const before = new Set(without);
    without = uncovered(certificates.index(), fleet?.hosts.map(({ name }) => name) ?? []);
    const fresh = without.filter((name) => !before.has(name));
    if (fresh.length === 0) return;
    log.warn(
      { hosts: fresh.slice(0, namesTold), count: fresh.length },
      "no certificate for hosts of the fleet document: browsers refuse them over HTTPS",
    );
  };
  const certificates: Certificates = await openCertificates({
    settings: https,
    changed() {
      judge(certificates);
    },
    clock,
    log,
  });
  lifecycle.defer("certificates", certificates.close);
  const acceptor = openTlsAcceptor({
    certificates: certificates.index,
    ticketKeys: openTicketKeys(secrets, clock),
    protocols: ["h2", "http/1.1"],
    clock,
  });
  lifecycle.defer("TLS handshakes", acceptor.close);
  judge(certificates);
  const refresh = (): void => {
    if (currentFleet() !== judgedFor) judge(certificates);
  };
  return { certificates, acceptor, hostsWithout: () => without, refresh };
}
