/**
 * The listener for other nodes: HTTP/1.1 over TLS, whose handshake only nodes with the fleet secret can complete
 * (keys.ts).
 *
 *   TCP ──▶ handshake: current or previous secret ──▶ HTTP ──▶ application
 *             │ no secret known yet, a wrong one, no TLS,       │
 *             │ too slow, too many (base)                       └ OPTIONS: answered here, for liveness checks
 *             └──▶ closed; counted, and logged at most once a second
 *
 * A connection proves its secret once, at its beginning. When that secret is no longer accepted, an answer on it
 * contains `Connection: close`, and an idle connection is closed after `staleGraceMs`: by then, clients that know the
 * new secret have left it. Tickets and session ids are disabled, since a resumed session would prove nothing.
 *
 * Request bodies need a bounded Content-Length: peers belong to the fleet, but a fleet has bugs, too.
 */
import { constants } from "node:crypto";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer, type Server, type ServerOptions } from "node:https";
import { type AddressInfo, Server as SocketServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Clock } from "#base/clock.ts";
import { NearcastError, problemOf } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import { answerUnreadable } from "#base/unreadable-request.ts";
import { createHandshakes } from "#base/handshakes.ts";
import { channelKeys, channelTls } from "./keys.ts";

const limits = {
  headerBytes: 32 * 1024,
  /** Of a request; a list of hot keys takes some 100 KB. */
  bodyBytes: 1024 * 1024,
  /** A site of 64 nodes with 64 connections each. */
  connections: 4096,
  /** Connections that have proven nothing yet; beyond this, the oldest of the address with the most is closed. */
  handshakes: 256,
  /** … of one address: two processes of a machine may open their whole pools (64 connections) at once. */
  handshakesPerAddress: 128,
};
const waitsMs = {
  /** As long as the most patient client waits (client.ts, betweenSites): after this, nobody waits for the handshake. */
  handshake: 2000,
  headers: 5000,
  request: 15_000,
  /** Interval between two checks of these. */
  check: 1000,
  keepAlive: 65_000,
  /** A peer that reads nothing for this long is gone. */
  socketIdle: 120_000,
  /** How long an idle connection stays open after its secret is no longer accepted. */
  staleGrace: 30_000,
  /** … and one that is in use. */
  staleMost: 300_000,
  /** Interval between two log lines about refused handshakes. */
  logged: 1000,
};

export interface PeerListener {
  address: string;
  port: number;
  counts: () => PeerListenerCounts;
  /** Stops accepting connections, lets running requests end, then closes the rest after `graceMs`. */
  close: (graceMs: number) => Promise<void>;
}

export interface PeerListenerCounts {
  /** Open now, including those in a handshake. */
  connections: number;
  /** Since the start. */
  handshakes: number;
  handshakesRefused: number;
}

/** A connection that has proven a secret. */
interface Proven {
  readonly identity: string;
  /** Running requests; pipelining allows several. */
  answering: number;
  /** When its secret was first found to be no longer accepted; null: it still is. */
  staleSinceMs: number | null;
}

/**
 * @param host an address of this machine; never a wildcard
 * @param secrets the fleet secrets, the current one first; none: every handshake is refused
 * @throws the system's error when the address can't be bound
 */
export async function listenForPeers(options: {
  host: string;
  port: number;
  secrets: () => readonly Uint8Array[];
  application: RequestListener;
  clock: Clock;
  log: Log;
  limits?: Partial<typeof limits>;
  waitsMs?: Partial<typeof waitsMs>;
}): Promise<PeerListener> {
  const { host, port, application, clock, log } = options;
  const most = { ...limits, ...options.limits };
  const waits = { ...waitsMs, ...options.waitsMs };
  const keys = channelKeys(options.secrets);
  const counts = { handshakes: 0, handshakesRefused: 0 };
  const offered = new WeakMap<Duplex, string>();
  const proven = new Map<Duplex, Proven>();
  const unproven = createHandshakes<Socket>(most);
  /** By address and port of the other side, which a TLS socket and its TCP socket share. */
  const unprovenByEnd = new Map<string, Socket>();
  const connections = new Set<Socket>();
  let isClosing = false;
  const logRefused = refusalLog(waits.logged, clock, log);

  const isAccepted = ({ identity }: Proven): boolean => keys().some((key) => key.identity === identity);

  const state: Answering = {
    proven,
    isAccepted,
    isClosing: () => isClosing,
    bodyBytesMax: most.bodyBytes,
    application,
  };
  const answer: RequestListener = (request, response) => {
    answerPeer(state, request, response);
  };
  const server = createServer(
    {
      ...serverOptions(most, waits),
      pskCallback(socket, identity) {
        const key = keys().find((one) => one.identity === identity);
        if (key === undefined) return null;
        offered.set(socket, identity);
        return key.psk;
      },
    },
    answer,
  );
  server.on("checkContinue", (request, response) => {
    answerPeer(state, request, response, { isWaiting: true });
  });
  server.on("checkExpectation", answer);
  server.maxConnections = most.connections;
  server.setTimeout(waits.socketIdle);

  server.on("connection", (socket: Socket) => {
    const end = `${socket.remoteAddress} ${socket.remotePort}`;
    connections.add(socket);
    unprovenByEnd.set(end, socket);
    socket.once("close", () => {
      connections.delete(socket);
      unproven.end(socket);
      if (unprovenByEnd.get(end) === socket) unprovenByEnd.delete(end);
    });
    // A destroyed connection is reported as a failed handshake, like any other.
    unproven.begin(socket, socket.remoteAddress ?? "")?.destroy();
  });
  server.on("secureConnection", (socket: TLSSocket) => {
    const end = `${socket.remoteAddress} ${socket.remotePort}`;
    const below = unprovenByEnd.get(end);
    if (below !== undefined) unproven.end(below);
    unprovenByEnd.delete(end);
    const identity = offered.get(socket);
    if (identity === undefined) {
      // A handshake without this callback would be one without the key: there is no such suite.
      socket.destroy();
      return;
    }
    counts.handshakes += 1;
    proven.set(socket, { identity, answering: 0, staleSinceMs: null });
    socket.once("close", () => proven.delete(socket));
  });
  // https reports failed handshakes here too, first as `tlsClientError` and then as this event.
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const connection = proven.get(socket);
    if (connection === undefined) {
      counts.handshakesRefused += 1;
      const from = (socket as Socket).remoteAddress;
      logRefused(error.code ?? "closed", from, { underWay: unproven.size(), isSecretKnown: keys().length > 0 });
      socket.destroy();
    } else if (connection.answering > 0) {
      // Text in the middle of an answer would be read as part of it.
      socket.destroy();
    } else answerUnreadable(error, socket);
  });

  const stopChecks = clock.every(waits.check, () => {
    closeStale(proven, isAccepted, waits, clock.monotonicMs());
  });

  await bind(server, host, port).catch((error: unknown) => {
    stopChecks();
    throw error;
  });
  const bound = server.address() as AddressInfo;
  return {
    address: bound.address,
    port: bound.port,
    counts: () => ({ ...counts, connections: connections.size }),
    async close(graceMs) {
      isClosing = true;
      stopChecks();
      const closed = closeServer(server, connections, graceMs, clock);
      for (const socket of unproven.all()) socket.destroy();
      for (const [socket, connection] of proven) closeIdle(socket, connection);
      await closed;
    },
  };
}

function serverOptions(most: typeof limits, waits: typeof waitsMs): ServerOptions {
  return {
    ...channelTls,
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: waits.handshake,
    maxHeaderSize: most.headerBytes,
    headersTimeout: waits.headers,
    requestTimeout: waits.request,
    keepAliveTimeout: waits.keepAlive,
    connectionsCheckingInterval: waits.check,
    requireHostHeader: false,
    keepAlive: true,
    noDelay: true,
  };
}

/** @throws the system's error when the address can't be bound */
async function bind(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1024, ipv6Only: host.includes(":") }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Accepts no more connections; resolves when all have ended, by themselves or closed after `graceMs`. */
async function closeServer(
  server: Server,
  connections: ReadonlySet<Socket>,
  graceMs: number,
  clock: Clock,
): Promise<void> {
  const cancelForce = clock.after(graceMs, () => {
    for (const socket of connections) socket.destroy();
  });
  await new Promise<void>((resolve) => {
    // Not https's own close() yet: it considers a connection idle while its last answer is still being sent.
    SocketServer.prototype.close.call(server, () => {
      resolve();
    });
  });
  cancelForce();
  server.close(); // stops its periodic checks
}

/** Logs at most one line per `intervalMs`: the last refusal and their number, nothing that the client sent. */
function refusalLog(
  intervalMs: number,
  clock: Clock,
  log: Log,
): (reason: string, from: string | undefined, facts: { underWay: number; isSecretKnown: boolean }) => void {
  let loggedMs = -Infinity;
  let unlogged = 0;
  return (reason, from, facts) => {
    unlogged += 1;
    const nowMs = clock.monotonicMs();
    if (nowMs - loggedMs < intervalMs) return;
    log.warn({ reason, from, refused: unlogged, ...facts }, "refused peer handshakes");
    loggedMs = nowMs;
    unlogged = 0;
  };
}

function closeIdle(socket: Duplex, { answering }: Proven): void {
  if (answering === 0) (socket as Socket).destroySoon();
}

/** Closes connections whose secret is no longer accepted. */
function closeStale(
  proven: ReadonlyMap<Duplex, Proven>,
  isAccepted: (connection: Proven) => boolean,
  waits: Pick<typeof waitsMs, "staleGrace" | "staleMost">,
  nowMs: number,
): void {
  for (const [socket, connection] of proven) {
    if (isAccepted(connection)) {
      connection.staleSinceMs = null;
      continue;
    }
    connection.staleSinceMs ??= nowMs;
    const staleMs = nowMs - connection.staleSinceMs;
    if (staleMs >= waits.staleMost) socket.destroy();
    else if (staleMs >= waits.staleGrace) closeIdle(socket, connection);
  }
}

/** What it takes to answer a request. */
interface Answering {
  readonly proven: ReadonlyMap<Duplex, Proven>;
  readonly isAccepted: (connection: Proven) => boolean;
  readonly isClosing: () => boolean;
  readonly bodyBytesMax: number;
  readonly application: RequestListener;
}

/** @param options.isWaiting whether the peer waits for a 100 before it sends the body (RFC 9110 §10.1.1) */
function answerPeer(
  { proven, isAccepted, isClosing, bodyBytesMax, application }: Answering,
  request: IncomingMessage,
  response: ServerResponse,
  { isWaiting = false } = {},
): void {
  const { socket } = request;
  const connection = proven.get(socket);
  if (connection === undefined) {
    socket.destroy();
    return;
  }
  connection.answering += 1;
  response.once("close", () => {
    connection.answering -= 1;
    if (isClosing()) closeIdle(socket, connection);
  });
  if (isClosing() || !isAccepted(connection)) response.shouldKeepAlive = false;
  if (request.method === "OPTIONS") response.writeHead(204, { allow: "GET, HEAD, POST" }).end();
  else if (isBodyBounded(request, response, bodyBytesMax)) {
    // No other method has a body of use: it gets its response, and no 100 before that.
    if (isWaiting && request.method === "POST") response.writeContinue();
    application(request, response);
  }
}

/** Whether the request's body, if any, declares its length and is not too long; otherwise it is answered here. */
function isBodyBounded(request: IncomingMessage, response: ServerResponse, bytesMax: number): boolean {
  const hasLength = request.headers["transfer-encoding"] === undefined;
  if (hasLength && Number(request.headers["content-length"] ?? 0) <= bytesMax) return true;
  const error = hasLength
    ? new NearcastError("BODY_TOO_LARGE", `the body of a peer's request must not be larger than ${bytesMax} bytes`)
    : new NearcastError("BAD_REQUEST", "a peer's request with a body needs Content-Length");
  const body = `${JSON.stringify(problemOf(error, "peer"))}\n`;
  response
    .writeHead(error.status, {
      "content-type": "application/problem+json",
      "content-length": Buffer.byteLength(body),
      connection: "close",
    })
    .end(body);
  return false;
}
