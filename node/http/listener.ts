/**
 * HTTP servers on explicit addresses in front of one Fastify application, with every limit of Node's parser set.
 *
 * What never reaches the application (a header section too large, a request that is no HTTP) is answered here, in the
 * same form as all other errors.
 */
import { randomBytes } from "node:crypto";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type ErrorCode, NearcastError, problemOf } from "#base/errors.ts";

/** Request line and fields together. Browsers send 1–4 KB; proxies in between seldom more than 16. */
export const headerBytesMax = 32 * 1024;
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
  server.on("clientError", answerClientError);
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

function answerClientError(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const { code, status, detail } = whatIsWrong(error);
  const problem = problemOf(new NearcastError(code, detail), randomBytes(8).toString("hex"));
  const body = `${JSON.stringify({ ...problem, status })}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${reasonOf[status]}\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

const reasonOf = {
  400: "Bad Request",
  408: "Request Timeout",
  414: "URI Too Long",
  431: "Request Header Fields Too Large",
};

function whatIsWrong(error: NodeJS.ErrnoException & { rawPacket?: Buffer }): {
  code: ErrorCode;
  status: keyof typeof reasonOf;
  detail: string;
} {
  switch (error.code ?? "") {
    case "HPE_HEADER_OVERFLOW": {
      // The first packet without a line's end: it was the target that was too long.
      const start = error.rawPacket?.subarray(0, headerBytesMax / 2).toString("latin1") ?? "";
      if (/^[A-Z]+ [^\r\n]*$/.test(start)) {
        return { code: "URI_TOO_LONG", status: 414, detail: "the request target is longer than 8192 characters" };
      }
      return { code: "BAD_REQUEST", status: 431, detail: `the header section is larger than ${headerBytesMax} bytes` };
    }
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { code: "BAD_REQUEST", status: 408, detail: "the request did not arrive whole in time" };
    default:
      return { code: "BAD_REQUEST", status: 400, detail: "this is not an HTTP/1.1 request" };
  }
}
