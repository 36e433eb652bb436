/** TLS for clients: certificates from files, ticket keys from the fleet secret, and the acceptor of all listeners. */
import type { Clock } from "#base/clock.ts";
import type { Lifecycle } from "#base/lifecycle.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { EdgeConfig } from "../../config.ts";
import { tlsCountsOf } from "../../front/lane/counts.ts";
import type { Lanes } from "../../front/lane/lanes.ts";
import type { LaneTlsParts } from "../../front/lane/tls-orders.ts";
import { openTlsAcceptor, type TlsAcceptor } from "../../tls/acceptor.ts";
import { type Certificates, openCertificates, uncovered } from "../../tls/certificates.ts";
import { addTlsCounts, type TlsCounts } from "../../tls/handshake-results.ts";
import { openTicketKeys } from "../../tls/ticket-keys.ts";

export interface TlsPart {
  readonly certificates: Certificates;
  readonly acceptor: TlsAcceptor;
  /** The same for lanes. */
  readonly forLanes: LaneTlsParts;
  /** Of the acceptor, and of lanes. */
  readonly counts: () => TlsCounts;
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
  /** Null: none are open yet, or there are none. */
  lanes: () => Pick<Lanes, "counts" | "refreshTls"> | null;
  lifecycle: Lifecycle;
  clock: Clock;
  log: Log;
}): Promise<TlsPart | null> {
  const { fleet: currentFleet, secrets, lanes, lifecycle, clock, log } = options;
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
      lanes()?.refreshTls();
    },
    clock,
    log,
  });
  lifecycle.defer("certificates", certificates.close);
  const forLanes: LaneTlsParts = {
    certificates: certificates.index,
    ticketKeys: openTicketKeys(secrets, clock),
    protocols: ["h2", "http/1.1"],
  };
  const acceptor = openTlsAcceptor({ ...forLanes, clock });
  lifecycle.defer("TLS handshakes", acceptor.close);
  judge(certificates);
  const refresh = (): void => {
    if (currentFleet() !== judgedFor) judge(certificates);
  };
  const counts = (): TlsCounts => {
    const open = lanes();
    return open === null ? acceptor.counts() : addTlsCounts(acceptor.counts(), tlsCountsOf(open.counts()));
  };
  return { certificates, acceptor, forLanes, counts, hostsWithout: () => without, refresh };
}
