/**
 * Node's TLS servers that complete handshakes: one for each certificate and ticket key that clients use. Node's
 * SNICallback would not work: it adds the named certificate to those of the default, and a client that prefers the
 * default's kind of key gets that one.
 *
 * None of them listens. acceptor.ts hands them connections, and each reports the outcome of its handshakes.
 */
import { LRUCache } from "lru-cache";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { ServedCertificate } from "./certificate.ts";
import { clientTls } from "./settings.ts";
import { ticketKeyName } from "./ticket-keys.ts";

export interface HandshakeEvents {
  readonly done: (socket: TLSSocket) => void;
  /** The socket is destroyed by then, or about to be. */
  readonly failed: (socket: TLSSocket, error: NodeJS.ErrnoException) => void;
}

/** One takes 40 KB and half a millisecond to make. */
const serversMax = 1000;
/** A last resort: acceptor.ts has a shorter deadline. */
const handshakeTimeoutMs = 30_000;

/** @param protocols for ALPN (RFC 7301), the preferred one first */
export function openContexts(
  protocols: readonly string[],
  events: HandshakeEvents,
): (certificate: ServedCertificate, ticketKey: Buffer) => Server {
  const servers = new LRUCache<string, Server>({ max: serversMax });
  /** Certificates have their own number, since the same one may come back with another chain or OCSP response. */
  const numbers = new WeakMap<ServedCertificate, number>();
  let last = 0;
  return (certificate, ticketKey) => {
    let number = numbers.get(certificate);
    if (number === undefined) numbers.set(certificate, (number = last += 1));
    const key = `${number} ${ticketKeyName(ticketKey)}`;
    let server = servers.get(key);
    if (server === undefined) {
      server = makeServer(certificate, ticketKey, protocols, events);
      servers.set(key, server);
    }
    return server;
  };
}

function makeServer(
  { chainPem, keyPem, ocsp }: ServedCertificate,
  ticketKey: Buffer,
  protocols: readonly string[],
  { done, failed }: HandshakeEvents,
): Server {
  const server = createServer({
    ...clientTls,
    cert: chainPem,
    key: keyPem,
    ticketKeys: ticketKey,
    ALPNProtocols: [...protocols],
    handshakeTimeout: handshakeTimeoutMs,
  });
  server.on("secureConnection", done);
  server.on("tlsClientError", (error, socket) => {
    failed(socket, error);
  });
  if (ocsp !== null) {
    server.on("OCSPRequest", (_certificate, _issuer, answer: (error: Error | null, response: Buffer) => void) => {
      answer(null, ocsp);
    });
  }
  return server;
}
