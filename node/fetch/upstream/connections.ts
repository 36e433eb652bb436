/**
 * The connections to one origin: one undici client each, so that only this code decides which request goes over which
 * connection, and no request waits in a queue of the library.
 *
 * The connection that was used last is used next: at quiet times few are in use, and the others end after their idle
 * time. The places at the origin (places.ts) limit their number.
 */
import type { Socket } from "node:net";
import { Client } from "undici";
import { type ChunkPace, createChunkPace, type PaceLimits } from "#base/chunk-pace.ts";
import type { Clock } from "#base/clock.ts";
import { type WatchedRequest, watchedRequests } from "#base/watched-requests.ts";
import type { Connect } from "./connect.ts";
import { parserHeadBytesMax, readInTurns, type ReadTurns, type Received } from "./read-turns.ts";
import { createStatusLine } from "./status-line.ts";

/**
 * An idle connection is kept for this long, unless the origin asks for less (Keep-Alive: timeout). nginx keeps one for
 * 75 s, Apache and Node for 5 s; Node announces it.
 */
const idleMs = 30_000;
/**
 * Small chunks in all responses of an origin: about 2 % of one core, and 2 ms in one turn of the event loop. A page
 * that its origin writes line by line has a few hundred.
 */
const chunkLimits: PaceLimits = { perSecond: 40_000, savedMax: 4000 };

export interface Connection {
  /** One at a time. */
  readonly request: WatchedRequest;
  /** Ends the connection and the request on it at once, even while it is being opened. */
  readonly destroy: (reason: Error) => void;
  /** Whether TCP and TLS are established; false while the connection is being opened, and after it has ended. */
  isOpen: boolean;
  /** Of the response to the request in progress. */
  readonly received: Received;
  /** Whether bytes wait that no request has asked for: the next response must not begin with them. */
  readonly hasUnread: () => boolean;
}

export interface Connections {
  readonly origin: string;
  readonly connect: Connect;
  readonly clock: Clock;
  /** The pace of the small chunks of all its responses. */
  readonly pace: ChunkPace;
  /** The turns of all origins. */
  readonly turns: ReadTurns;
  /** In the order of their last use. */
  readonly idle: Connection[];
  readonly all: Set<Connection>;
  opened: number;
}

export function createConnections(origin: string, connect: Connect, clock: Clock, turns: ReadTurns): Connections {
  const pace = createChunkPace(chunkLimits, clock);
  return { origin, connect, clock, pace, turns, idle: [], all: new Set(), opened: 0 };
}

/** An idle connection, or else a new one that opens with its first request. */
export function takeConnection(connections: Connections): Connection {
  const idle = connections.idle.pop();
  if (idle !== undefined) return idle;
  const ending = new AbortController();
  const received: Received = { bytes: 0, bodyBytes: () => 0, statusLine: createStatusLine() };
  let socket: Socket | undefined;
  const client = new Client(connections.origin, {
    connect(options, callback) {
      connections.connect(options, ending.signal, (...[error, opened]) => {
        if (opened === null) {
          callback(error, null);
          return;
        }
        socket = opened;
        readInTurns(connections.turns, opened, new URL(connections.origin).host, received);
        callback(null, opened);
      });
    },
    pipelining: 1,
    keepAliveTimeout: idleMs,
    maxHeaderSize: parserHeadBytesMax,
    headersTimeout: 0, // the one deadline for the head is in request.ts
  });
  const connection: Connection = {
    request: watchedRequests(client),
    isOpen: false,
    received,
    hasUnread: () => (socket?.readableLength ?? 0) > 0,
    destroy(reason) {
      forget(connections, connection);
      ending.abort(reason);
      client.destroy(reason).catch(() => undefined);
    },
  };
  connections.all.add(connection);
  client.on("connect", () => {
    connection.isOpen = true;
    connections.opened += 1;
  });
  client.on("disconnect", () => {
    connection.isOpen = false;
    // If it was in use, undici opens another one by itself when a request still waits for it.
    if (connections.idle.includes(connection)) connection.destroy(new Error("the idle connection ended"));
  });
  return connection;
}

/** Takes back a connection that nothing uses any more. One that has ended is dropped. */
export function returnConnection(connections: Connections, connection: Connection): void {
  if (!connections.all.has(connection)) return;
  if (connection.isOpen && !connection.hasUnread()) connections.idle.push(connection);
  else connection.destroy(new Error("the connection ended"));
}

export function closeConnections(connections: Connections, reason: Error): void {
  for (const connection of connections.all) connection.destroy(reason);
}

function forget(connections: Connections, connection: Connection): void {
  connections.all.delete(connection);
  const index = connections.idle.indexOf(connection);
  if (index >= 0) connections.idle.splice(index, 1);
}
