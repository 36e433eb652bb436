/**
 * An HTTPS listener of the node's own with certificates of the test's, and clients for it. The tests know nothing of
 * how it terminates TLS.
 */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import type { TestContext } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { systemClock } from "#base/clock.ts";
import type { Answer } from "../../../node/front/connection.ts";
import { type Listener, listen } from "../../../node/http/listener.ts";
import { openTlsAcceptor, type TlsAcceptor, type TlsParts } from "../../../node/tls/acceptor.ts";
import { readCertificate, type ServedCertificate } from "../../../node/tls/certificate.ts";
import { indexCertificates } from "../../../node/tls/certificate-index.ts";
import { openTicketKeys } from "../../../node/tls/ticket-keys.ts";
import type { Pair } from "../../../deploy/cli/certificate-maker.ts";
import { testAuthority } from "../../support/certificates.ts";
import { sendHit } from "../front/fronted.ts";

export interface Secured {
  listener: Listener;
  acceptor: TlsAcceptor;
  /** What the application and the front were asked: `front /hit/1 127.0.0.1 secure`. */
  seen: string[];
}

export function served(pair: Pair, ocsp: Buffer | null = null): ServedCertificate {
  const place = { certificateFile: "a.crt", keyFile: "a.key", ocspFile: ocsp === null ? null : "a.ocsp" };
  const read = readCertificate(place, { chainPem: pair.certificatePem, keyPem: pair.keyPem, ocsp });
  if (read.outcome === "unusable") throw new Error(read.problem);
  return read.certificate;
}

/** `/hit/…` is answered by the front, everything else by the application. */
export async function startSecured(
  t: TestContext,
  certificates: readonly ServedCertificate[] | TlsParts["certificates"],
  options: Partial<TlsParts> & { application?: RequestListener; secrets?: () => readonly Uint8Array[] } = {},
): Promise<Secured> {
  const { application, secrets = () => [], clock = systemClock, ...more } = options;
  const seen: string[] = [];
  const index =
    typeof certificates === "function" ? certificates : () => indexCertificates(certificates, undefined, Date.now());
  const acceptor = openTlsAcceptor({
    certificates: index,
    ticketKeys: openTicketKeys(secrets, clock),
    protocols: ["http/1.1"],
    clock,
    ...more,
  });
  const answer: Answer = (request) => {
    const { bytes, head, socket } = request;
    const target = bytes.toString("latin1", head.targetStart, head.targetEnd);
    if (!target.startsWith("/hit")) return "relay";
    seen.push(`front ${target} ${socket.remoteAddress}`);
    const size = /^\/hit\/(\d+)$/.exec(target)?.[1];
    return sendHit(request, size === undefined ? Buffer.from(target) : Buffer.alloc(Number(size), "abcdefg"));
  };
  const echo: RequestListener = (asked, response) => {
    const isSecure = "encrypted" in asked.socket && asked.socket.encrypted === true;
    seen.push(`server ${asked.url} ${asked.socket.remoteAddress} ${isSecure ? "secure" : "clear"}`);
    response.setHeader("X-By", "server").end(asked.url);
  };
  const listener = await listen("127.0.0.1", 0, application ?? echo, {
    front: { answer, clock: systemClock, tls: acceptor },
    check: 200,
  });
  t.after(async () => {
    acceptor.close();
    await listener.close(0);
  });
  return { listener, acceptor, seen };
}

/** A client of Node's that trusts the tests' authority; rejects when the handshake fails. */
export async function openSecure(
  t: TestContext,
  at: { port: number },
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: at.port, ca: testAuthority.certificatePem, ...options });
  t.after(() => socket.destroy());
  await once(socket, "secureConnect");
  socket.on("error", () => undefined);
  return socket;
}

/** Sends text, and resolves with everything until the other side closes. */
export async function exchangeSecure(socket: TLSSocket, text: string): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.write(text);
  if (!socket.closed) await once(socket, "close");
  return Buffer.concat(chunks).toString("latin1");
}
