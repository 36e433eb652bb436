/**
 * An HTTPS listener of the node's own with certificates of the test's, and clients for it. The tests know nothing of
 * how it terminates TLS: in the main thread, or in a lane, which then lends each connection to the main thread.
 */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { test, type TestContext } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { systemClock } from "#base/clock.ts";
import type { Answer } from "../../../node/front/connection.ts";
import { tlsCountsOf } from "../../../node/front/lane/counts.ts";
import { laneTlsMissing, lanesMissing, openLanes } from "../../../node/front/lane/lanes.ts";
import { type Listener, listen } from "../../../node/http/listener.ts";
import { openTlsAcceptor, type TlsParts } from "../../../node/tls/acceptor.ts";
import { readCertificate, type ServedCertificate } from "../../../node/tls/certificate.ts";
import { indexCertificates } from "../../../node/tls/certificate-index.ts";
import type { TlsCounts } from "../../../node/tls/handshake-results.ts";
import { openTicketKeys } from "../../../node/tls/ticket-keys.ts";
import type { Pair } from "../../../deploy/cli/certificate-maker.ts";
import { testAuthority } from "../../support/certificates.ts";
import { keptLog } from "../../support/kept-log.ts";
import { needs } from "../../support/needs.ts";
import { sendHit } from "../front/fronted.ts";

/** What terminates TLS. */
export type Through = "the main thread" | "a lane";

/** Runs a test through the main thread, and through a lane, where there can be one. */
export function testBoth(title: string, body: (t: TestContext, through: Through) => Promise<void>): void {
  for (const through of ["the main thread", "a lane"] as const) {
    test(`through ${through}: ${title}`, async (t) => {
      const missing = through === "a lane" ? (lanesMissing() ?? laneTlsMissing()) : undefined;
      if (needs(t, missing === undefined, missing ?? "")) await body(t, through);
    });
  }
}

export interface Secured {
  listener: Listener;
  counts: () => TlsCounts;
  /** Lanes learn of a change a second later. This does it now. */
  refresh: () => void;
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
  options: Partial<TlsParts> & {
    application?: RequestListener;
    secrets?: () => readonly Uint8Array[];
    through?: Through;
  } = {},
): Promise<Secured> {
  const { application, secrets = () => [], through = "the main thread", clock = systemClock, ...more } = options;
  const seen: string[] = [];
  const index =
    typeof certificates === "function" ? certificates : () => indexCertificates(certificates, undefined, Date.now());
  const parts = { certificates: index, ticketKeys: openTicketKeys(secrets, clock), protocols: ["http/1.1"], ...more };
  const acceptor = openTlsAcceptor({ ...parts, clock });
  const lanes =
    through === "a lane"
      ? await openLanes({ count: 1, tls: parts, clock: systemClock, log: keptLog().log })
      : undefined;
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
    lanes,
  });
  t.after(async () => {
    acceptor.close();
    await listener.close(0);
    await lanes?.close();
  });
  return {
    listener,
    counts: () => (lanes === undefined ? acceptor.counts() : tlsCountsOf(lanes.counts())),
    refresh: () => lanes?.refreshTls(),
    seen,
  };
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
