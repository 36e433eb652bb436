/** What the responder counts. Plain numbers in one object; whoever publishes them gives them their names. */

/**
 *   One of these per packet, whatever happened to it:
 *   answered: noerror (records), nodata, nxdomain, referral, refused, formerr, notimp, badvers, servfail
 *   silent:   ignored-response (QR=1), ignored-short (less than a header), ignored-port (source port 0)
 */
export type Outcome =
  | "noerror"
  | "nodata"
  | "nxdomain"
  | "referral"
  | "refused"
  | "formerr"
  | "notimp"
  | "badvers"
  | "servfail"
  | "ignored-response"
  | "ignored-short"
  | "ignored-port";

export type TransportName = "udp" | "tcp";

export interface DnsStats {
  /** Packets by transport and outcome. */
  readonly outcomes: { readonly [transport in TransportName]: { [outcome in Outcome]: number } };
  /** UDP answers that did not fit and told the client to ask by TCP. */
  truncated: number;
  /** Queries with a client subnet (RFC 7871). */
  clientSubnets: number;
  /** Questions for a steered address. */
  steered: number;
  /** Queries that failed inside; each was answered SERVFAIL, and the first was logged. */
  failures: number;
  sendErrors: number;
  tcp: {
    /** Open now. */
    connections: number;
    accepted: number;
    /** Closed because others needed the room, in all or in their network. */
    refused: number;
    /** Cut for being silent, slow, or for sending a message that is too long. */
    cut: number;
  };
}

const zeros: { readonly [outcome in Outcome]: 0 } = {
  noerror: 0,
  nodata: 0,
  nxdomain: 0,
  referral: 0,
  refused: 0,
  formerr: 0,
  notimp: 0,
  badvers: 0,
  servfail: 0,
  "ignored-response": 0,
  "ignored-short": 0,
  "ignored-port": 0,
};

export function newStats(): DnsStats {
  return {
    outcomes: { udp: { ...zeros }, tcp: { ...zeros } },
    truncated: 0,
    clientSubnets: 0,
    steered: 0,
    failures: 0,
    sendErrors: 0,
    tcp: { connections: 0, accepted: 0, refused: 0, cut: 0 },
  };
}
