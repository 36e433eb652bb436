/**
 * The origin's HTTP server below Fastify: which connections it keeps, and how it closes them.
 *
 *   accept ─▶ stranger ──a request with a valid token──▶ known ─▶ kept alive between requests
 *                 └──any other request, or too late──▶ one answer at most, then closed
 *
 * A stranger is a connection that has presented no valid token yet. Strangers have a deadline, and their number is
 * bounded, per network and in total. Past the bound the oldest is closed, and the newest is never refused: a writer's
 * connection is a stranger itself until its first header section has arrived, which takes one round trip.
 *
 * Known connections share the rest: connection-reserve.ts keeps room for the next one.
 *
 * Every connection that closes after a response lingers, so that the response arrives (base/lingering-close.ts).
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "#base/clock.ts";
import { answerHalfClosed } from "#base/half-closed.ts";
import { closeLingering, isLingering } from "#base/lingering-close.ts";
import { networkOf } from "#base/networks.ts";
import { whyRefused } from "#base/refused-request.ts";
import { connectRefused } from "#base/unreadable-request.ts";
import type { Tokens } from "../token/tokens.ts";
import { answerBrokenInput, isAnswering, noteRequest } from "./broken-input.ts";
import { openReserve } from "./connection-reserve.ts";
import { paceBody } from "./paced-body.ts";

export interface ConnectionLimits {
  readonly connectionsMax: number;
  /** Connections without a valid token, from one IPv4 address or IPv6 /64. */
  readonly unauthenticatedPerNetworkMax: number;
  /** The deadline for a header section with a valid token, and again for the rest of a refused body. */
  readonly unauthenticatedTimeoutMs: number;
}

/** Why a stranger was closed: the deadline, or too many of its network or in total. */
export const closedReasons = ["deadline", "network", "all"] as const;
export type ClosedReason = (typeof closedReasons)[number];

/** A client whose request was read completely only has to read the response and close. */
const lingerAnsweredMs = 1000;
/** A known client that still sends a refused body: some seconds on a home line. */
const lingerKnownMs = 30_000;

/**
 * The largest rest of an unread body after which the connection is kept: the price of a new connection on a home line.
 */
const keptOpenBytesMax = 16 * 1024 * 1024;

const knownSockets = new WeakSet<Socket>();

export function createOriginServer(
  handler: RequestListener,
  options: ServerOptions,
  deps: {
    tokens: Pick<Tokens, "judge">;
    limits: ConnectionLimits;
    clock: Clock;
    /** A stranger was closed before it had a complete response. */
    onStrangerClosed: (reason: ClosedReason) => void;
  },
): Server {
  const { tokens, limits, clock } = deps;
  const strangers = openStrangers(limits, clock, deps.onStrangerClosed);
  const reserve = openReserve(limits.connectionsMax);
  const newestRequest = new WeakMap<Socket, IncomingMessage>();
  /** Connections whose last request has come. */
  const done = new WeakSet<Socket>();

  const server = createServer(options, (request, response) => {
    const { socket } = request;
    // Sent after a request whose response closes the connection: it gets no response, and must change nothing.
    if (isLingering(socket) || done.has(socket)) {
      request.resume();
      return;
    }
    newestRequest.set(socket, request);
    noteRequest(request, response);
    if (isLast(request)) {
      done.add(socket);
      response.shouldKeepAlive = false;
    }
    const presented = tokens.judge(request.headers.authorization);
    const isWriter = presented.outcome === "known" && presented.kind === "writer";
    response.once("close", reserve.begin(socket, isWriter));
    if (presented.outcome === "known") {
      knownSockets.add(socket);
      strangers.forget(socket);
    } else {
      response.shouldKeepAlive = false;
    }
    response.once("finish", () => {
      leaveBody(request);
    });
    paceBody(request, clock);
    handler(request, response);
  });
  answerHalfClosed(server);
  server.maxConnections = limits.connectionsMax;
  // RFC 9110 §10.1.1 lets a server ignore an unknown expectation; Node would answer it without applying our limits.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
  server.on("connect", (_request, socket) => {
    socket.on("error", () => undefined); // Node has taken its own listener away; "close" follows
    answerBrokenInput(connectRefused, socket as Socket);
  });
  server.on("connection", (socket: Socket) => {
    const network = networkOf(socket.remoteAddress ?? "");
    strangers.add(socket, network);
    reserve.add(socket, network);
    const closeAtOnce = socket.destroySoon.bind(socket);
    // Node calls this after the last answer of a connection.
    socket.destroySoon = () => {
      const request = newestRequest.get(socket);
      if (request === undefined || request.socket.destroyed) closeAtOnce();
      else if (request.complete) closeLingering(socket, lingerAnsweredMs);
      else closeLingering(socket, knownSockets.has(socket) ? lingerKnownMs : limits.unauthenticatedTimeoutMs);
    };
  });
  return server;
}

/**
 * Whether what follows is no request: other servers may see the end of a refused one elsewhere, and Node's parser drops
 * what follows `Upgrade` in the same segment, although the field is ignored here.
 */
function isLast(request: IncomingMessage): boolean {
  return request.headers.upgrade !== undefined || whyRefused(request) !== undefined;
}

/** Whether the rest of a body that nobody wants is read, so that the connection can be used again. */
export function isRestRead({ socket, headers }: IncomingMessage): boolean {
  const lengthBytes = Number(headers["content-length"] ?? Number.POSITIVE_INFINITY);
  return knownSockets.has(socket) && lengthBytes <= keptOpenBytesMax;
}

/** The response is complete. A body that the handler left unread would block the connection. */
function leaveBody(request: IncomingMessage): void {
  if (request.readableEnded) return;
  if (request.complete || isRestRead(request)) request.unpipe().resume();
  else request.socket.destroySoon();
}

interface Strangers {
  readonly add: (socket: Socket, network: string) => void;
  readonly forget: (socket: Socket) => void;
}

function openStrangers(limits: ConnectionLimits, clock: Clock, onClosed: (reason: ClosedReason) => void): Strangers {
  /** Half of the total: the other half is for known connections. */
  const strangersMax = Math.floor(limits.connectionsMax / 2);
  // A map keeps the order of insertion, so the first is the oldest. Bounded by connectionsMax.
  const all = new Map<Socket, { network: string; cancel: () => void }>();
  const byNetwork = new Map<string, Set<Socket>>();
  let isTrimming = false;

  const forget = (socket: Socket): void => {
    const known = all.get(socket);
    if (known === undefined) return;
    known.cancel();
    all.delete(socket);
    const ofNetwork = byNetwork.get(known.network);
    ofNetwork?.delete(socket);
    if (ofNetwork?.size === 0) byNetwork.delete(known.network);
  };
  const closeOldest = (sockets: Iterable<Socket>, excess: number, reason: ClosedReason): void => {
    let left = excess;
    for (const socket of sockets) {
      if (left <= 0) return;
      left -= 1;
      forget(socket);
      socket.destroy();
      onClosed(reason);
    }
  };
  const trim = (): void => {
    isTrimming = false;
    for (const ofNetwork of byNetwork.values()) {
      closeOldest(ofNetwork, ofNetwork.size - limits.unauthenticatedPerNetworkMax, "network");
    }
    closeOldest(all.keys(), all.size - strangersMax, "all");
  };

  return {
    forget,
    add: (socket, network) => {
      const cancel = clock.after(limits.unauthenticatedTimeoutMs, () => {
        if (closeLate(socket)) onClosed("deadline");
      });
      all.set(socket, { network, cancel });
      const ofNetwork = byNetwork.get(network);
      if (ofNetwork === undefined) byNetwork.set(network, new Set([socket]));
      else ofNetwork.add(socket);
      socket.once("close", () => {
        forget(socket);
      });
      if (isTrimming) return;
      isTrimming = true;
      // Two iterations of the event loop: a header section that arrived with its connection is read in the first one.
      setImmediate(() => setImmediate(trim));
    },
  };
}

/** A connection that already has its response is lingering, with its own deadline. @returns whether it was closed */
function closeLate(socket: Socket): boolean {
  if (isLingering(socket)) return false;
  // A response that a slow client does not take must not be mixed with another one.
  if (socket.bytesRead === 0 || isAnswering(socket)) socket.destroy();
  else answerBrokenInput(Object.assign(new Error("late"), { code: "ERR_HTTP_REQUEST_TIMEOUT" }), socket);
  return true;
}
