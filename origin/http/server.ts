/**
 * The origin's HTTP server below Fastify: which connections it keeps, and how it closes them.
 *
 *   accept ─▶ stranger ──a request with a valid token──▶ known ─▶ kept alive between requests
 *                 └──any other request, or too late──▶ one answer at most, then closed
 *
 * A stranger is a connection that has presented no valid token yet. Strangers have a deadline, and their number is
 * bounded, for each network and in all. Past the bound the oldest is closed, never the newest refused: a writer's
 * connection is a stranger itself until its first head has come, which takes one round trip.
 *
 * Those who are known share what there is: connection-reserve.ts keeps room for the next one.
 *
 * Every connection that closes after an answer lingers, so that the answer arrives (base/lingering-close.ts).
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "#base/clock.ts";
import { answerHalfClosed } from "#base/half-closed.ts";
import { closeLingering, isLingering } from "#base/lingering-close.ts";
import { networkOf } from "#base/networks.ts";
import { answerUnreadable } from "#base/unreadable-request.ts";
import type { Tokens } from "../token/tokens.ts";
import { openReserve } from "./connection-reserve.ts";

export interface ConnectionLimits {
  readonly connectionsMax: number;
  /** Connections without a valid token, from one IPv4 address or IPv6 /64. */
  readonly unauthenticatedPerNetworkMax: number;
  /** What a connection gets until a head with a valid token has come, and again until a refused body has. */
  readonly unauthenticatedTimeoutMs: number;
}

/** Why a stranger was closed: the deadline, or too many of its network or in all. */
export const closedReasons = ["deadline", "network", "all"] as const;
export type ClosedReason = (typeof closedReasons)[number];

/** A client whose request was read whole only has to take the answer and close. */
const lingerAnsweredMs = 1000;
/** A known client that still sends a refused body: some seconds of a home line. */
const lingerKnownMs = 30_000;

const knownSockets = new WeakSet<Socket>();

/** Whether the connection has presented a valid token, of whichever kind. */
export function isKnownConnection(socket: Socket): boolean {
  return knownSockets.has(socket);
}

export function createOriginServer(
  handler: RequestListener,
  options: ServerOptions,
  deps: {
    tokens: Pick<Tokens, "judge">;
    limits: ConnectionLimits;
    clock: Clock;
    /** A stranger was closed before the end of an answer. */
    onStrangerClosed: (reason: ClosedReason) => void;
  },
): Server {
  const { tokens, limits, clock } = deps;
  const strangers = openStrangers(limits, clock, deps.onStrangerClosed);
  const reserve = openReserve(limits.connectionsMax);
  const newestRequest = new WeakMap<Socket, IncomingMessage>();

  const server = createServer(options, (request, response) => {
    const { socket } = request;
    // Sent after a request whose answer closes the connection: it gets none, and must change nothing.
    if (isLingering(socket)) {
      request.resume();
      return;
    }
    newestRequest.set(socket, request);
    const presented = tokens.judge(request.headers.authorization);
    const isWriter = presented.outcome === "known" && presented.kind === "writer";
    response.once("close", reserve.begin(socket, isWriter));
    if (presented.outcome === "known") {
      knownSockets.add(socket);
      strangers.forget(socket);
    } else {
      response.shouldKeepAlive = false;
    }
    // A body that the handler left unread would stop the connection: nothing after it could be read.
    response.once("finish", () => {
      if (!request.readableEnded) request.unpipe().resume();
    });
    handler(request, response);
  });
  answerHalfClosed(server);
  server.maxConnections = limits.connectionsMax;
  // RFC 9110 §10.1.1 lets a server ignore an expectation that it does not know; Node would answer it past all limits.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
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

interface Strangers {
  readonly add: (socket: Socket, network: string) => void;
  readonly forget: (socket: Socket) => void;
}

function openStrangers(limits: ConnectionLimits, clock: Clock, onClosed: (reason: ClosedReason) => void): Strangers {
  /** Half of all: the other half is left to those who are known. */
  const strangersMax = Math.floor(limits.connectionsMax / 2);
  // Sets keep the order of insertion, so the first is the oldest. Bounded by connectionsMax.
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
      // Two turns of the event loop: a head that came together with its connection is read in the first of them.
      setImmediate(() => setImmediate(trim));
    },
  };
}

/** One that already has its answer is lingering, with a deadline of its own. @returns whether it was closed */
function closeLate(socket: Socket): boolean {
  if (isLingering(socket)) return false;
  if (socket.bytesRead === 0) socket.destroy();
  else answerUnreadable(Object.assign(new Error("late"), { code: "ERR_HTTP_REQUEST_TIMEOUT" }), socket);
  return true;
}
