/**
 * The results and limits of handshakes, shared by the main thread (acceptor.ts) and lanes (front/lane/). Pure.
 */

/** How handshakes end, besides completion. */
export const handshakeFailures = [
  "closed", // by the client
  "timeout",
  "crowded", // too many at once, or their network had the most
  "not-tls",
  "protocol", // no common version, suite or application protocol
  "refused", // by the client: it does not accept the certificate, for example
  "invalid",
] as const;
export type HandshakeFailure = (typeof handshakeFailures)[number];

export interface TlsCounts {
  /** Completed handshakes by version, and those of them that resumed a session. */
  readonly completed: Readonly<Record<"TLSv1.2" | "TLSv1.3", { full: number; resumed: number }>>;
  readonly failed: Readonly<Record<HandshakeFailure, number>>;
  /** Connections that have not completed their handshake. */
  readonly active: number;
  /** Connections that have. */
  readonly connections: number;
}

export interface HandshakeLimits {
  /** Connections whose handshake is not complete; each holds up to 100 KB. */
  readonly handshakes: number;
  /** … of one client network. */
  readonly handshakesOfNetwork: number;
  /** From the connection to the end of the handshake. */
  readonly handshakeMs: number;
}

export const handshakeLimits: HandshakeLimits = {
  handshakes: 2048,
  handshakesOfNetwork: 512,
  handshakeMs: 10_000,
};

/** What several count together. */
export function addTlsCounts(one: TlsCounts, other: TlsCounts): TlsCounts {
  const sum = (version: "TLSv1.2" | "TLSv1.3"): { full: number; resumed: number } => {
    const [mine, theirs] = [one.completed[version], other.completed[version]];
    return { full: mine.full + theirs.full, resumed: mine.resumed + theirs.resumed };
  };
  return {
    completed: { "TLSv1.2": sum("TLSv1.2"), "TLSv1.3": sum("TLSv1.3") },
    failed: failuresBy((failure) => one.failed[failure] + other.failed[failure]),
    active: one.active + other.active,
    connections: one.connections + other.connections,
  };
}

/** A number for each failure. */
export function failuresBy(count: (failure: HandshakeFailure) => number): Record<HandshakeFailure, number> {
  return Object.fromEntries(handshakeFailures.map((word) => [word, count(word)])) as Record<HandshakeFailure, number>;
}

/**
 * By OpenSSL's reasons; alerts come from the client (RFC 8446 §6.2).
 * @param code such as `ERR_SSL_NO_SHARED_CIPHER`, or an errno's name
 */
export function failureOf(code: string): HandshakeFailure {
  if (code === "ECONNRESET" || code === "EPIPE") return "closed";
  if (code === "ERR_TLS_HANDSHAKE_TIMEOUT") return "timeout";
  if (/UNSUPPORTED_PROTOCOL|NO_SHARED_CIPHER|NO_SUITABLE|VERSION|APPLICATION_PROTOCOL/.test(code)) return "protocol";
  if (/_ALERT_/.test(code)) return "refused";
  return "invalid";
}

/** Whether bytes that are no TLS are a request of HTTP in the clear. */
export function isPlainHttp(bytes: Buffer): boolean {
  return /^[A-Z]{3,16} /.test(bytes.toString("latin1", 0, 20));
}

const plainBody = "This port speaks HTTPS. Use https:// instead of http://.\n";

/** The response to HTTP in the clear, so that people see what is wrong. */
export const plainRefusal =
  "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
  `Content-Length: ${plainBody.length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${plainBody}`;
