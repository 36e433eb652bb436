/** The TLS of a lane: its certificates and ticket keys, which arrive as orders, and the handshakes in progress. */
import { createHandshakes } from "#base/handshakes.ts";
import type { ByKind } from "../../tls/certificate-index.ts";
import { type LaneTls } from "./lane.ts";
import { createNetworkQueue } from "../network-queue.ts";
import type { CertificateNumbers, TlsOrder } from "./tls-orders.ts";

export function openLaneTls(parts: Pick<LaneTls, "ssl" | "native" | "contexts" | "limits" | "report">): LaneTls {
  const { ssl, limits } = parts;
  const { handshakes, handshakesOfNetwork } = limits;
  const steps = new Map<number, number>();
  return {
    ...parts,
    steps,
    countSteps: ssl.onStep((of) => {
      if (!steps.has(of)) ssl.returnAfterSteps(of);
      steps.set(of, (steps.get(of) ?? 0) + 1);
    }),
    certificates: new Map(),
    index: null,
    handshakes: new Map(),
    pending: createHandshakes({ handshakes, handshakesPerAddress: handshakesOfNetwork }),
    queue: createNetworkQueue(),
    begun: 0,
    reported: new WeakSet(),
  };
}

/** Handshakes that begin from now on use what the order says. */
export function takeTlsOrder(tls: LaneTls, order: TlsOrder): void {
  if (order.kind === "ticketKeys") {
    const accepted = new Map([...order.accepted].map(([name, key]) => [name, Buffer.from(key)]));
    tls.contexts.setTicketKeys({ current: Buffer.from(order.current), accepted });
    return;
  }
  const { certificates } = tls;
  for (const [number, certificate] of order.added) {
    // Buffers arrive as plain arrays.
    const ocsp = certificate.ocsp === null ? null : Buffer.from(certificate.ocsp);
    certificates.set(number, { ...certificate, ocsp });
  }
  for (const number of order.removed) certificates.delete(number);
  const byKind = (numbers: CertificateNumbers): ByKind => {
    const kinds = Object.entries(numbers).map(([kind, number]) => [kind, certificates.get(number)] as const);
    return Object.fromEntries(kinds.filter(([, certificate]) => certificate !== undefined));
  };
  const byName = new Map([...order.byName].map(([name, numbers]) => [name, byKind(numbers)]));
  tls.index = { byName, fallback: byKind(order.fallback) };
}
