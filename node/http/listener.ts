/**
 * HTTP servers on explicit addresses in front of one Fastify application, with every limit of Node's parser set.
 *
 * What never reaches the application (a header section too large, a request that is no HTTP) is answered by
 * base/unreadable-request.
 */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { answerUnreadable } from "#base/unreadable-request.ts";

/**
 * Request line and fields together. Browsers send 1–4 KB, proxies in between seldom more than 16; the rest is room for
 * a request target that is too long to arrive here and be told so (414, http/target).
 */
const headerBytesMax = 96 * 1024;
/** Connections per address; the kernel's backlog holds what comes beyond. An idle one costs some 10 KB. */
const connectionsMax = 20_000;
const keepAliveMs = 65_000;
const headersMs = 10_000;
/** No request of ours has a body worth waiting for. */
const requestMs = 30_000;
/** A client that takes nothing for so long is gone. */
const socketIdleMs = 120_000;

export interface Listener {
  address: string;
  port: number;
  /** Stops to accept, lets running requests end, then closes what is left after `graceMs`. */
  close: (graceMs: number) => Promise<void>;
}

/** @throws the system's error when the address can't be bound */
export async function listen(host: string, port: number, application: RequestListener): Promise<Listener> {
  const server = createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: 5000,
      keepAlive: true,
      noDelay: true,
    },
    application,
  );
  server.maxConnections = connectionsMax;
  server.maxRequestsPerSocket = 0;
  server.setTimeout(socketIdleMs);
  server.on("clientError", answerUnreadable);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 4096, ipv6Only: host.includes(":") }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address() as AddressInfo;
  return { address: bound.address, port: bound.port, close: (graceMs) => closeServer(server, graceMs) };
}

function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => {
      server.closeAllConnections();
    }, graceMs);
    server.close(() => {
      clearTimeout(force);
      resolve();
    });
    server.closeIdleConnections();
  });
}
