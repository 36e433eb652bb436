/**
 * The open TCP connections of one listening address: the list of them, their number per network, and how they end.
 * stream.ts accepts them, stream-turns.ts answers them.
 */
import type { Clock } from "#base/clock.ts";
import type { Socket } from "node:net";
import { messageLengthMax } from "../answer/begin-finish.ts";
import type { Client } from "../answer/state.ts";
import { count, counterIndex, type Counters } from "../counters.ts";
import type { Respond } from "../responder.ts";

export interface StreamLimits {
  /** Open connections on one listening address. */
  readonly connectionsMax: number;
  /** Open connections of one client network, a /24 or an IPv6 /56, on one listening address. */
  readonly connectionsPerNetworkMax: number;
  /** From opening to the first answer, and from one answer to the next. */
  readonly idleTimeoutMs: number;
  /** From opening to closing, however busy the connection is. */
  readonly lifetimeMs: number;
}

export const defaultStreamLimits: StreamLimits = {
  // Worst case: 1,000 × (64 KiB read + 64 KiB pending + 192 KiB unsent) is 320 MB; in practice some 5 MB.
  connectionsMax: 1000,
  connectionsPerNetworkMax: 64,
  // RFC 7766 §6.2.3 asks for seconds; 10 is what resolvers see most.
  idleTimeoutMs: 10_000,
  // A longer one has no benefit: a new connection costs a resolver one round trip an hour.
  lifetimeMs: 3_600_000,
};

/** Each message is preceded by its length in two octets. */
export const lengthOctets = 2;
/** Longer answers leave after the shorter ones of their turn. No answer with an address is longer. */
export const smallAnswerMax = 1232;
/** Maximum number of queries that one connection gets answered per turn. */
export const turnQueriesMax = 64;
/** Octets of answers per turn. Beyond this the turn ends, so at most one more answer is added. */
export const turnBytesMax = 64 * 1024;
/** Share of the limits. Above it, clients that support keepalive are asked to close. */
const scarceShare = 0.9;
const noBytes = Buffer.alloc(0);

interface StreamClient extends Client {
  keepaliveTenths: number;
}

export interface Connection {
  readonly socket: Socket;
  readonly client: StreamClient;
  readonly network: string;
  readonly openedMs: number;
  /**
   * Read but not answered yet. Contains whole messages only while it is in the queue, or while the client does not
   * read.
   */
  pending: Buffer;
  isQueued: boolean;
  /** The client has ended its side of the connection. */
  isEnded: boolean;
  /** It has reached its lifetime and ends after its current turn. */
  isOver: boolean;
  /** No more queries are accepted. It is closed when everything has been sent. */
  isFinished: boolean;
  /** Monotonic: the time of the last answer; before that, of its opening. */
  lastAnswerMs: number;
}

/** The connections of one listening address, and the work on them. */
export interface Connections {
  readonly respond: Respond;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly limits: StreamLimits;
  /** In order of their last answer: the first has been silent the longest. */
  readonly open: Set<Connection>;
  readonly countByNetwork: Map<string, number>;
  /** Those with whole messages to answer, in the order of their turns. Each is in it at most once. */
  readonly queue: Connection[];
  isRoundDue: boolean;
  /** One turn's answers, each after its length. Each area has room for one answer beyond the end of the turn. */
  readonly answer: Uint8Array;
  readonly small: Buffer;
  readonly large: Buffer;
}

export function newConnections(deps: {
  readonly respond: Respond;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly limits: StreamLimits;
}): Connections {
  const { respond, counters, clock, limits } = deps;
  return {
    respond,
    counters,
    clock,
    limits,
    open: new Set(),
    countByNetwork: new Map(),
    queue: [],
    isRoundDue: false,
    answer: new Uint8Array(messageLengthMax),
    small: Buffer.alloc(turnQueriesMax * (lengthOctets + smallAnswerMax)),
    large: Buffer.alloc(turnBytesMax + lengthOctets + messageLengthMax),
  };
}

const cutCounter = counterIndex("tcpCut");

/** Adds a connection that has just been accepted. */
export function add(connections: Connections, socket: Socket, network: string, address: Client["address"]): Connection {
  const { open, countByNetwork } = connections;
  const nowMs = connections.clock.monotonicMs();
  const connection: Connection = {
    socket,
    client: { address, port: socket.remotePort ?? 0, transport: "tcp", keepaliveTenths: 0 },
    network,
    openedMs: nowMs,
    pending: noBytes,
    isQueued: false,
    isEnded: false,
    isOver: false,
    isFinished: false,
    lastAnswerMs: nowMs,
  };
  open.add(connection);
  countByNetwork.set(network, (countByNetwork.get(network) ?? 0) + 1);
  return connection;
}

export function silentLongest({ open }: Connections): Connection | undefined {
  for (const connection of open) return connection;
  return undefined;
}

/** Closes the connection at once. Dropping it twice is harmless. */
export function drop({ open, countByNetwork }: Connections, connection: Connection): void {
  if (!open.delete(connection)) return;
  const left = (countByNetwork.get(connection.network) ?? 1) - 1;
  if (left === 0) countByNetwork.delete(connection.network);
  else countByNetwork.set(connection.network, left);
  connection.pending = noBytes;
  connection.isFinished = true;
  connection.socket.destroy();
}

/** Drops and counts a connection that is silent or slow, or that sends a message that is too long. */
export function cut(connections: Connections, connection: Connection): void {
  if (connections.open.has(connection)) count(connections.counters, cutCounter);
  drop(connections, connection);
}

/** Accepts no more queries; closes when all answers have been sent. */
export function finish(connection: Connection): void {
  connection.isFinished = true;
  connection.pending = noBytes;
  connection.socket.resume(); // To notice when the client closes.
  connection.socket.end();
}

/** The timeout for clients that ask for keepalive (RFC 7828); 0 asks them to close. */
export function keepaliveTenthsOf(connections: Connections, { network, openedMs }: Connection): number {
  const { limits, clock, open, countByNetwork } = connections;
  const isScarce =
    open.size > limits.connectionsMax * scarceShare ||
    (countByNetwork.get(network) ?? 0) > limits.connectionsPerNetworkMax * scarceShare;
  const leftMs = openedMs + limits.lifetimeMs - clock.monotonicMs();
  return isScarce || leftMs < limits.idleTimeoutMs ? 0 : Math.min(Math.floor(limits.idleTimeoutMs / 100), 0xffff);
}
