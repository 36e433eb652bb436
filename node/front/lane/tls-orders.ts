/**
 * What the main thread tells lanes about TLS: certificates and ticket keys, at the start and after each change. Each
 * certificate is sent once. Its names are sent with each change, under its number.
 */
import type { ServedCertificate } from "../../tls/certificate.ts";
import type { ByKind, CertificateIndex } from "../../tls/certificate-index.ts";
import type { HandshakeLimits } from "../../tls/handshake-results.ts";
import type { TicketKeys } from "../../tls/ticket-keys.ts";

/** What lanes need for TLS. */
export interface LaneTlsParts {
  readonly certificates: () => CertificateIndex;
  readonly ticketKeys: () => TicketKeys;
  /** For ALPN, the preferred one first. */
  readonly protocols: readonly string[];
  readonly limits?: Partial<HandshakeLimits>;
}

/** Numbers of the certificates of a name, by kind of key. */
export type CertificateNumbers = Readonly<Partial<Record<keyof ByKind, number>>>;

export type TlsOrder =
  | {
      readonly kind: "certificates";
      readonly added: ReadonlyMap<number, ServedCertificate>;
      readonly removed: readonly number[];
      readonly byName: ReadonlyMap<string, CertificateNumbers>;
      readonly fallback: CertificateNumbers;
    }
  | {
      readonly kind: "ticketKeys";
      readonly current: Uint8Array;
      readonly accepted: ReadonlyMap<string, Uint8Array>;
    };

export interface TlsOrders {
  /** What has changed since the last call. */
  readonly changes: () => readonly TlsOrder[];
  /** All that a lane has to know which was not told anything, as of the last changes(). */
  readonly all: () => readonly TlsOrder[];
}

export function openTlsOrders({ certificates, ticketKeys }: LaneTlsParts): TlsOrders {
  const numbers = new WeakMap<ServedCertificate, number>();
  let last = 0;
  let index: CertificateIndex | undefined;
  let keys: TicketKeys | undefined;
  let told = new Map<number, ServedCertificate>();

  const numberOf = (certificate: ServedCertificate): number => {
    let number = numbers.get(certificate);
    if (number === undefined) numbers.set(certificate, (number = last += 1));
    return number;
  };
  const indexOrder = (before: ReadonlyMap<number, ServedCertificate>): TlsOrder | undefined => {
    if (index === undefined) return undefined;
    const now = new Map<number, ServedCertificate>();
    const numbered = ({ ecdsa, rsa }: ByKind): CertificateNumbers => {
      for (const one of [ecdsa, rsa]) if (one !== undefined) now.set(numberOf(one), one);
      return {
        ...(ecdsa === undefined ? {} : { ecdsa: numberOf(ecdsa) }),
        ...(rsa === undefined ? {} : { rsa: numberOf(rsa) }),
      };
    };
    const byName = new Map([...index.byName].map(([name, kinds]) => [name, numbered(kinds)]));
    const fallback = numbered(index.fallback);
    told = now;
    const added = new Map([...now].filter(([number]) => !before.has(number)));
    const removed = [...before.keys()].filter((number) => !now.has(number));
    return { kind: "certificates", added, removed, byName, fallback };
  };
  const keysOrder = (): TlsOrder | undefined =>
    keys === undefined ? undefined : { kind: "ticketKeys", current: keys.current, accepted: keys.accepted };
  const present = (...orders: (TlsOrder | undefined)[]): TlsOrder[] => orders.filter((order) => order !== undefined);

  return {
    changes() {
      const [newIndex, newKeys] = [certificates(), ticketKeys()];
      const [hasIndex, hasKeys] = [newIndex !== index, newKeys !== keys];
      index = newIndex;
      keys = newKeys;
      return present(hasIndex ? indexOrder(told) : undefined, hasKeys ? keysOrder() : undefined);
    },
    all: () => present(indexOrder(new Map()), keysOrder()),
  };
}
