/**
 * HTTP servers on given addresses in front of one Fastify application, with every limit of Node's parser set.
 *
 * base/unreadable-request.ts answers requests that never reach the application: a header section that is too large, or
 * bytes that are not HTTP.
 */
import { createServer, type RequestListener, type Server } from "node:http";
import type { ClientConnection } from "../front/client-connection.ts";
import type { Answer } from "../front/connection.ts";
import type { Crowd } from "../front/crowd.ts";
import { type Front, openFront } from "../front/front.ts";
import { openSessionTurns } from "../front/session-turns.ts";
import type { LaneListener, Lanes } from "../front/lane/lanes.ts";
import type { Http2Options } from "../http2/connection.ts";
import { openHttp2 } from "../http2/http2.ts";
import { openPipeline, type Pipeline } from "./pipeline.ts";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { type AddressInfo, Server as SocketServer, type Socket } from "node:net";
import { answerHalfClosed } from "#base/half-closed.ts";
import { answerUnreadable, connectRefused } from "#base/unreadable-request.ts";
import type { TlsAcceptor } from "../tls/acceptor.ts";

/**
 * Request line and fields together. Browsers send 1–4 KB, proxies in between seldom more than 16 KB. The rest is room
 * for request targets that are too long, so that they get a 414 (http/target).
 */
const headerBytesMax = 96 * 1024;
/** Connections per address; the kernel's backlog holds further ones. An idle one costs about 10 KB. */
export const connectionsMost = 20_000;
/** How long an idle connection is kept. */
export const keepAliveSeconds = 65;
const keepAliveMs = keepAliveSeconds * 1000;
/** What a request may take to arrive that is sent just in time. */
const keepAliveSpareMs = 1000;
const waitsMs = {
  /** For the whole header section. */
  headers: 10_000,
  /** For the whole request: no request here has a body worth waiting for. */
  request: 30_000,
  /** Between two looks at the clock: the waits above may end that much later. */
  check: 5000,
};
/** A connection on which nothing moves for this long is closed. */
const socketIdleMs = 120_000;

/** After this long without a packet, TCP checks whether the client is still there; the system's default is 2 h. */
const tcpKeepAliveMs = 60_000;

/** The default of the configuration. */
const bytesPerSecondLeast = 1024;

/** What running requests have to end when the listener's owner is in a hurry. */
export const hurriedMs = 3000;

export interface Listener {
  address: string;
  port: number;
  /**
   * Stops accepting connections, lets running requests end, then closes the rest after `graceMs`; or `hurriedMs` after
   * the signal, if that is sooner.
   */
  close: (...grace: Grace) => Promise<void>;
}

export interface ListenOptions extends Partial<typeof waitsMs> {
  /**
   * Other processes of this user may listen here as well (SO_REUSEPORT): the kernel spreads new connections over all
   * that do. Connections that a process has not accepted when it ends are reset, unless the system passes them on
   * (net.ipv4.tcp_migrate_req).
   */
  reusePort?: boolean;
  /** Called for each new connection. */
  accepted?: () => void;
  /** Beyond: new ones are refused, or with a front, the idle ones of whoever has the most make room. */
  connectionsMax?: number;
  /** Answers what it can before Node's server sees it. */
  front?: FrontOptions;
  /** These accept the connections, and lend them to the front, which must be there. */
  lanes?: Lanes | undefined;
  /** What a client of a lane has to take of a response. */
  bytesPerSecondMin?: number;
}

export interface FrontOptions {
  readonly answer: Answer;
  readonly clock: Clock;
  /** Connections begin with a handshake. Absent: HTTP in the clear. */
  readonly tls?: Pick<TlsAcceptor, "accept">;
  /** The same for requests over HTTP/2. Absent: HTTP/1.1 alone. */
  readonly http2?: Http2Options;
  /** All connections use HTTP/2, for tests. Otherwise those that have negotiated `h2` do (ALPN, RFC 7301). */
  readonly isAlwaysHttp2?: boolean;
}

/** @throws the system's error when the address can't be bound; ENOTSUP: no SO_REUSEPORT here */
export async function listen(
  host: string,
  port: number,
  application: RequestListener,
  options: ListenOptions = {},
): Promise<Listener> {
  const { reusePort = false, accepted, front: fronted, lanes, ...limited } = options;
  const { connectionsMax = connectionsMost, bytesPerSecondMin = bytesPerSecondLeast, ...limits } = limited;
  const waits = { ...waitsMs, ...limits };
  const connections = new Set<Socket>();
  let isClosing = false;
  let front: Front | undefined;
  /** Connections whose handshake is not complete. */
  const handshaking = new Set<Socket>();
  const pipeline = openPipeline(application, {
    begun(connection) {
      front?.begun(connection);
    },
    idle(connection) {
      if (front !== undefined) front.idle(connection);
      else if (isClosing) connection.destroySoon();
    },
    unwanted(connection) {
      if (front === undefined) connection.pause();
      else front.refuse(connection);
    },
    broken(connection, error) {
      answerUnreadable(error, connection);
    },
  });
  const server = createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: waits.headers,
      requestTimeout: waits.request,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: waits.check,
      requireHostHeader: false, // the application checks this, with an error message of its own
      keepAlive: true,
      keepAliveInitialDelay: tcpKeepAliveMs,
      noDelay: true,
    },
    pipeline.arrived,
  );
  answerHalfClosed(server);
  // No 100 (Continue): the final response does not wait for the body.
  server.on("checkContinue", pipeline.arrived);
  // Other expectations are ignored (RFC 9110 §10.1.1).
  server.on("checkExpectation", pipeline.arrived);
  server.on("connect", (_request, socket) => {
    socket.on("error", () => undefined); // Node has taken its own listener away; "close" follows
    pipeline.broken(socket as Socket, connectRefused);
  });
  server.maxRequestsPerSocket = 0;
  server.setTimeout(socketIdleMs);
  if (fronted !== undefined)
    front = putInFront(server, { ...fronted, isAnswering: pipeline.isAnswering, connectionsMax, handshaking }, waits);
  else {
    server.maxConnections = connectionsMax;
    server.on("connection", (connection) => {
      connections.add(connection);
      connection.once("close", () => connections.delete(connection));
    });
  }
  if (accepted !== undefined) server.on("connection", accepted);
  server.on("clientError", (error, socket) => {
    pipeline.broken(socket as Socket, error);
  });
  if (front !== undefined && lanes !== undefined) {
    const { accept } = front;
    const lane = lanes.listen(
      { host, port },
      {
        isSecure: fronted?.tls !== undefined,
        isHttp2: fronted?.isAlwaysHttp2 === true,
        sharesPort: reusePort,
        waitsMs: { headers: waits.headers, idle: keepAliveMs + keepAliveSpareMs, stalled: socketIdleMs },
        connectionsMax,
        bytesPerSecondMin,
        keepAliveSeconds: tcpKeepAliveMs / 1000,
        lent(connection) {
          accepted?.();
          accept(connection);
        },
      },
    );
    server.emit("listening"); // starts its timer
    return { address: host, port: lane.port, close: (...grace) => closeLane(server, front, lane, grace) };
  }
  const bound = await bind(server, { host, port, reusePort });
  return {
    address: bound.address,
    port: bound.port,
    close: (...grace) =>
      new Promise((resolve) => {
        isClosing = true;
        const cancelForce = afterGrace(grace, () => {
          server.closeAllConnections();
          front?.closeAll();
          for (const socket of handshaking) socket.destroy();
        });
        // Not http's own close() yet: it takes a connection for idle as soon as its response is written, even if a slow
        // client has not received most of it, and cuts it off.
        SocketServer.prototype.close.call(server, () => {
          cancelForce();
          server.close(); // stops its timer, too
          resolve();
        });
        front?.drain();
        for (const connection of connections) if (!pipeline.isAnswering(connection)) connection.destroySoon();
      }),
  };
}

async function bind(
  server: Server,
  { host, port, reusePort }: { host: string; port: number; reusePort: boolean },
): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, reusePort, backlog: 4096, ipv6Only: host.includes(":") }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return server.address() as AddressInfo;
}

/** As for a server's own socket: idle connections close at once, and the others with their responses, or by force. */
async function closeLane(server: Server, front: Front, lane: LaneListener, grace: Grace): Promise<void> {
  const cancelForce = afterGrace(grace, () => {
    server.closeAllConnections();
    front.closeAll();
    lane.cut();
  });
  const drained = lane.drain();
  front.drain();
  await drained;
  cancelForce();
  server.close();
}

type Grace = readonly [graceMs: number, hurry?: AbortSignal | undefined];

/** Calls back when the time is over that running requests have. Returns what prevents that. */
function afterGrace([graceMs, hurry]: Grace, force: () => void): () => void {
  let timer = setTimeout(force, graceMs);
  const shorten = (): void => {
    if (graceMs <= hurriedMs) return;
    clearTimeout(timer);
    timer = setTimeout(force, hurriedMs);
  };
  if (hurry?.aborted === true) shorten();
  hurry?.addEventListener("abort", shorten, { once: true });
  return () => {
    hurry?.removeEventListener("abort", shorten);
    clearTimeout(timer);
  };
}

const twoSpaces = new NearcastError("BAD_REQUEST", "the request line has two spaces in a row");

/** How often HTTP/2 connections are charged for what serves no request. */
const chargeMs = 1000;

/** Sends new connections to the front, or to HTTP/2. Both give the server what they do not answer. */
function putInFront(
  server: Server,
  options: FrontOptions & Pick<Pipeline, "isAnswering"> & { connectionsMax: number; handshaking: Set<Socket> },
  waits: { headers: number; check: number },
): Front {
  const { answer, isAnswering, clock, connectionsMax } = options;
  const serve = server.listeners("connection") as ((this: Server, connection: object) => void)[];
  server.removeAllListeners("connection");
  const crowd: Crowd = { connectionsMax, groups: [], census: null };
  const sessionTurns = openSessionTurns(clock, waits.headers);
  const common = {
    sessionTurns,
    waits: { headers: waits.headers, idle: keepAliveMs },
    crowd,
    clock,
    serve(connection: object) {
      for (const listener of serve) listener.call(server, connection);
    },
  };
  const front = openFront({
    ...common,
    answer,
    isAnswering,
    refuse(socket, why) {
      const late = Object.assign(new Error("too late"), { code: "ERR_HTTP_REQUEST_TIMEOUT" });
      answerUnreadable(why === "late" ? late : twoSpaces, socket);
    },
  });
  const stops = [clock.every(waits.check, front.sweep), clock.every(waits.check, sessionTurns.sweep)];
  server.once("close", () => {
    for (const stop of stops) stop();
  });
  const http2 = options.http2 === undefined ? undefined : openHttp2({ ...common, ...options.http2 });
  if (http2 !== undefined) stops.push(clock.every(waits.check, http2.sweep), clock.every(chargeMs, http2.calm));
  const { tls, handshaking, isAlwaysHttp2 = false } = options;
  const accept = (socket: ClientConnection): void => {
    if (http2 !== undefined && (isAlwaysHttp2 || hasNegotiatedHttp2(socket))) http2.accept(socket);
    else front.accept(socket);
  };
  if (tls === undefined) server.on("connection", accept);
  else {
    server.on("connection", (socket) => {
      handshaking.add(socket);
      socket.once("close", () => handshaking.delete(socket));
      tls.accept(socket, (secured) => {
        handshaking.delete(socket);
        accept(secured);
      });
    });
  }
  if (http2 === undefined) return front;
  return {
    ...front,
    drain() {
      front.drain();
      http2.drain();
    },
    closeAll() {
      front.closeAll();
      http2.closeAll();
    },
  };
}

function hasNegotiatedHttp2({ alpnProtocol }: ClientConnection): boolean {
  return alpnProtocol === "h2";
}
