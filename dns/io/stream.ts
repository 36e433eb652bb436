/**
 * DNS over TCP (RFC 7766): messages with a length of two octets before each, any number in one connection.
 *
 *   bytes ─▶ pending (one read and a part of a message) ─▶ queue of connections with whole messages
 *                                                              │ a turn: up to 64 queries of the first in the queue
 *                                                              ▼
 *                      respond each ─▶ small answers, then large ones, in one write ─▶ back to the queue's end
 *
 * Order: in what one turn answers, answers of up to 1,232 octets leave first and longer ones behind them, each kind in
 * the order of its queries. So a long answer does not hold up the addresses that were asked behind it; clients match
 * answers by id and question (RFC 7766 §7).
 *
 * Fairness: a turn is 64 queries of one connection or 64 KiB of answers, whichever comes first; then all the others
 * that wait have theirs. After 512 queries or KiB in all everything else in the process has a turn, HTTP above all.
 *
 * A connection can cost only a little, whatever its client does:
 *
 *   announces a length that no query has     cut before memory is taken for it
 *   is silent, or sends an octet now and then  cut: its time runs from answer to answer, octets prolong nothing
 *   asks, and does not read the answers      past 64 KiB unsent nothing more is answered or read, so it is cut too
 *   stays for ever                           ended after an hour, when what was asked has been answered
 *   comes many times                         so many of one network; in all: the one silent longest gives way
 *
 * Clients that ask by edns-tcp-keepalive (RFC 7828) are told the idle timeout; or 0, which asks them to close, when
 * connections become scarce or theirs is about to be ended.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { openFailureLog } from "#base/failure-log.ts";
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import { count, counterIndex } from "../counters.ts";
import { messageLengthMax, type Client } from "../responder.ts";
import { emptyAddress, maskIp, readIp, type IpAddress } from "../wire/address.ts";
import { putUint16, uint16At } from "../wire/bytes.ts";
import type { ListenAddress, Transport, TransportDeps } from "./transport.ts";

export interface StreamLimits {
  /** Open connections on one listening address. */
  readonly connectionsMax: number;
  /** Open connections of one client network, a /24 or an IPv6 /56, on one listening address. */
  readonly connectionsPerNetworkMax: number;
  /** From the opening to the first answer, and from one answer to the next. */
  readonly idleTimeoutMs: number;
  /** From the opening to the end, however busy it is. */
  readonly lifetimeMs: number;
}

export const defaultStreamLimits: StreamLimits = {
  // At the worst 1,000 × (64 KiB read + 64 KiB pending + 192 KiB unsent) is 320 MB; in practice some 5 MB.
  connectionsMax: 1000,
  connectionsPerNetworkMax: 64,
  // RFC 7766 §6.2.3 asks for seconds; 10 is what resolvers see most.
  idleTimeoutMs: 10_000,
  // Nobody gains by a longer one: a new connection costs a resolver one round trip an hour.
  lifetimeMs: 3_600_000,
};

export interface StreamTransport extends Transport {
  /** Connections that are open now. */
  readonly connections: () => number;
}

export interface StreamDeps extends TransportDeps {
  readonly clock: Clock;
  readonly limits: StreamLimits;
}

const lengthOctets = 2;
/** No query is longer: a name of 255 octets, an OPT record with options and padding to 512 fit many times. */
const queryBytesMax = 4096;
/**
 * Answers that the client has not taken yet; past this nothing more is answered, and so nothing read. A socket that
 * holds more than this (Node's own mark is the same) tells when it has sent all.
 */
const unsentBytesMax = 64 * 1024;
/** Longer answers leave behind the shorter ones of their turn. No answer with an address is longer. */
const smallAnswerMax = 1232;
/** Queries of one connection in one turn. */
const turnQueriesMax = 64;
/** Answers of one turn: past this the turn ends, so at the most one more answer comes on top. */
const turnBytesMax = 64 * 1024;
/** Queries, and KiB of answers, of all connections before the rest of the process has its turn: some 2 ms. */
const roundWorkMax = 512;
/** How often idle and old connections are looked for. */
const sweepIntervalMs = 1000;
/** Of the limits; above it clients that can be asked to leave are asked to. */
const scarceShare = 0.9;
const noBytes = Buffer.alloc(0);

interface StreamClient extends Client {
  keepaliveTenths: number;
}

interface Connection {
  readonly socket: Socket;
  readonly client: StreamClient;
  readonly network: string;
  readonly openedMs: number;
  /** Read and not answered yet: whole messages only while it stands in the queue, or the client does not read. */
  pending: Buffer;
  isQueued: boolean;
  /** The client has said all that it has to say. */
  isEnded: boolean;
  /** It has been open for long enough: the end comes after its present turn. */
  isOver: boolean;
  /** We take no more queries; what is unsent is sent, then it is closed. */
  isFinished: boolean;
  /** Monotonic: when the last answer was given, at first when it was opened. */
  lastAnswerMs: number;
}

/** Listens; rejects when the address can't be bound. */
export async function openStream(listen: ListenAddress, deps: StreamDeps): Promise<StreamTransport> {
  const { respond, counters, log, clock, limits, sharesPorts = false } = deps;
  const failures = openFailureLog(log, clock);
  const acceptedAt = counterIndex("tcpAccepted");
  const refusedAt = counterIndex("tcpRefused");
  const cutAt = counterIndex("tcpCut");
  // In order of their last answer: the first is the one that was silent longest.
  const connections = new Set<Connection>();
  const countByNetwork = new Map<string, number>();
  // Those with whole messages to answer, in order of their turns. Each stands in it once at the most.
  const queue: Connection[] = [];
  let isRoundDue = false;

  // One turn's answers, with their lengths before them. Each area has room for what is past the turn's end.
  const answer = new Uint8Array(messageLengthMax);
  const small = Buffer.alloc(turnQueriesMax * (lengthOctets + smallAnswerMax));
  const large = Buffer.alloc(turnBytesMax + lengthOctets + messageLengthMax);

  function accept(socket: Socket): void {
    const address = emptyAddress();
    if (!readIp(socket.remoteAddress ?? "", address)) {
      socket.destroy(); // Reset before we came to it.
      return;
    }
    count(counters, acceptedAt);
    const network = networkOf(address);
    if ((countByNetwork.get(network) ?? 0) >= limits.connectionsPerNetworkMax) {
      count(counters, refusedAt);
      socket.destroy();
      return;
    }
    if (connections.size >= limits.connectionsMax) {
      count(counters, refusedAt);
      const silent = silentLongest();
      if (silent !== undefined) drop(silent);
    }
    const nowMs = clock.monotonicMs();
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
    connections.add(connection);
    countByNetwork.set(network, (countByNetwork.get(network) ?? 0) + 1);
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      if (connection.isFinished) return;
      connection.pending = connection.pending.length === 0 ? chunk : Buffer.concat([connection.pending, chunk]);
      consider(connection);
    });
    socket.on("drain", () => {
      consider(connection);
    });
    socket.on("end", () => {
      connection.isEnded = true;
      consider(connection);
    });
    socket.on("error", () => {
      drop(connection); // A reset by the client: its business.
    });
    socket.on("close", () => {
      drop(connection);
    });
  }

  function silentLongest(): Connection | undefined {
    for (const connection of connections) return connection;
    return undefined;
  }

  function drop(connection: Connection): void {
    if (!connections.delete(connection)) return;
    const left = (countByNetwork.get(connection.network) ?? 1) - 1;
    if (left === 0) countByNetwork.delete(connection.network);
    else countByNetwork.set(connection.network, left);
    connection.pending = noBytes;
    connection.isFinished = true;
    connection.socket.destroy();
  }

  function cut(connection: Connection): void {
    if (connections.has(connection)) count(counters, cutAt);
    drop(connection);
  }

  /** Takes no more queries; closes when all answers have left. */
  function finish(connection: Connection): void {
    connection.isFinished = true;
    connection.pending = noBytes;
    connection.socket.resume(); // To see the client's end.
    connection.socket.end();
  }

  /** Decides what is next for a connection: its turn, more octets, or the end. */
  function consider(connection: Connection): void {
    const { socket, pending } = connection;
    if (connection.isQueued || connection.isFinished) return;
    if (connection.isOver) {
      finish(connection);
      return;
    }
    const hasLength = pending.length >= lengthOctets;
    const length = hasLength ? uint16At(pending, 0) : 0;
    if (length > queryBytesMax) {
      cut(connection);
    } else if (hasLength && pending.length >= lengthOctets + length) {
      // Nothing more is read before it has been answered, so that what is pending stays small.
      socket.pause();
      if (socket.writableLength <= unsentBytesMax) enqueue(connection);
    } else if (connection.isEnded) {
      finish(connection);
    } else {
      socket.resume();
    }
  }

  function enqueue(connection: Connection): void {
    connection.isQueued = true;
    queue.push(connection);
    if (isRoundDue) return;
    isRoundDue = true;
    setImmediate(round);
  }

  /** Turns for those in the queue, until it is empty or the rest of the process should have its turn. */
  function round(): void {
    let work = 0;
    let done = 0;
    while (done < queue.length && work < roundWorkMax) {
      const connection = queue[done++];
      if (connection === undefined) break;
      connection.isQueued = false;
      if (connection.isFinished) continue;
      work += turn(connection);
      consider(connection);
    }
    queue.splice(0, done);
    isRoundDue = queue.length > 0;
    if (isRoundDue) setImmediate(round);
  }

  /** Answers the next whole messages of a connection; returns how many there were, and KiB of answers. */
  function turn(connection: Connection): number {
    const { client, pending } = connection;
    client.keepaliveTenths = keepaliveTenthsOf(connection);
    let at = 0;
    let queries = 0;
    let smallEnd = 0;
    let largeEnd = 0;
    while (queries < turnQueriesMax && smallEnd + largeEnd < turnBytesMax && at + lengthOctets <= pending.length) {
      const start = at + lengthOctets;
      const end = start + uint16At(pending, at);
      // Too long a length is left to consider().
      if (end > pending.length || end - start > queryBytesMax) break;
      queries++;
      at = end;
      const length = respond(pending.subarray(start, end), end - start, client, answer);
      // Silence (a response sent as a query) leaves the connection open: the next message may be a good one.
      if (length === 0) continue;
      if (length <= smallAnswerMax) smallEnd = append(small, smallEnd, length);
      else largeEnd = append(large, largeEnd, length);
    }
    const rest = pending.subarray(at);
    // A part of a message may wait for long: a copy, so that a few octets don't keep the whole chunk.
    connection.pending = rest.length > queryBytesMax ? rest : Buffer.from(rest);
    if (smallEnd + largeEnd > 0) {
      const bytes = Buffer.allocUnsafe(smallEnd + largeEnd);
      small.copy(bytes, 0, 0, smallEnd);
      large.copy(bytes, smallEnd, 0, largeEnd);
      connection.socket.write(bytes);
      connection.lastAnswerMs = clock.monotonicMs();
      connections.delete(connection);
      connections.add(connection);
    }
    return queries + ((smallEnd + largeEnd) >> 10);
  }

  function append(area: Buffer, at: number, length: number): number {
    putUint16(area, at, length);
    area.set(answer.subarray(0, length), at + lengthOctets);
    return at + lengthOctets + length;
  }

  function keepaliveTenthsOf({ network, openedMs }: Connection): number {
    const isScarce =
      connections.size > limits.connectionsMax * scarceShare ||
      (countByNetwork.get(network) ?? 0) > limits.connectionsPerNetworkMax * scarceShare;
    const leftMs = openedMs + limits.lifetimeMs - clock.monotonicMs();
    return isScarce || leftMs < limits.idleTimeoutMs ? 0 : Math.min(Math.floor(limits.idleTimeoutMs / 100), 0xffff);
  }

  function sweep(): void {
    const nowMs = clock.monotonicMs();
    for (const connection of connections) {
      if (nowMs - connection.openedMs >= limits.lifetimeMs) connection.isOver = true;
      // Those in the queue wait for us.
      if (connection.isQueued) continue;
      if (nowMs - connection.lastAnswerMs >= limits.idleTimeoutMs) cut(connection);
      else consider(connection);
    }
  }

  // Half-open, since a client may say that it has no more to ask before it has its answers.
  const server = createServer({ allowHalfOpen: true }, accept);
  await bind(server, listen, sharesPorts);
  server.on("error", (error) => {
    failures.warn("TCP_LISTENER", { err: error }, "the DNS listener for TCP failed to take a connection");
  });
  const stopSweeping: Cancel = clock.every(sweepIntervalMs, sweep);
  const bound = server.address();

  return {
    address: { host: listen.host, port: typeof bound === "object" && bound !== null ? bound.port : listen.port },
    connections: () => connections.size,
    close: () =>
      new Promise((resolve) => {
        stopSweeping();
        for (const connection of connections) drop(connection);
        server.close(() => {
          resolve(); // Its only error says that it was closed already.
        });
      }),
  };
}

function networkOf(address: IpAddress): string {
  const network: IpAddress = { family: address.family, bytes: Uint8Array.from(address.bytes) };
  maskIp(network, address.family === 4 ? 24 : 56);
  return Buffer.from(network.bytes).toString("latin1") + String(network.family);
}

function bind(server: Server, { host, port }: ListenAddress, reusePort: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, reusePort, ipv6Only: isIPv6(host), backlog: 511 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
