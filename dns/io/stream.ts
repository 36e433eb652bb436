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
import { emptyAddress, maskIp, readIp, type IpAddress } from "../wire/address.ts";
import {
  add,
  cut,
  drop,
  newConnections,
  silentLongest,
  type Connections,
  type StreamLimits,
} from "./stream-connections.ts";
import { consider } from "./stream-turns.ts";
import type { ListenAddress, Transport, TransportDeps } from "./transport.ts";

export interface StreamTransport extends Transport {
  /** Connections that are open now. */
  readonly connections: () => number;
}

export interface StreamDeps extends TransportDeps {
  readonly clock: Clock;
  readonly limits: StreamLimits;
}

/** How often idle and old connections are looked for. */
const sweepIntervalMs = 1000;

const acceptedCounter = counterIndex("tcpAccepted");
const refusedCounter = counterIndex("tcpRefused");

/** Listens; rejects when the address can't be bound. */
export async function openStream(listen: ListenAddress, deps: StreamDeps): Promise<StreamTransport> {
  const { log, clock, sharesPorts = false } = deps;
  const failures = openFailureLog(log, clock);
  const connections = newConnections(deps);
  // Half-open, since a client may say that it has no more to ask before it has its answers.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accept(connections, socket);
  });
  await bind(server, listen, sharesPorts);
  server.on("error", (error) => {
    failures.warn("TCP_LISTENER", { err: error }, "the TCP listener of DNS could not accept a connection");
  });
  const stopSweeping: Cancel = clock.every(sweepIntervalMs, () => {
    sweep(connections);
  });
  const bound = server.address();

  return {
    address: { host: listen.host, port: typeof bound === "object" && bound !== null ? bound.port : listen.port },
    connections: () => connections.open.size,
    close: () =>
      new Promise((resolve) => {
        stopSweeping();
        for (const connection of connections.open) drop(connections, connection);
        server.close(() => {
          resolve(); // Its only error says that it was closed already.
        });
      }),
  };
}

function accept(connections: Connections, socket: Socket): void {
  const { counters, limits, open, countByNetwork } = connections;
  const address = emptyAddress();
  if (!readIp(socket.remoteAddress ?? "", address)) {
    socket.destroy(); // Reset before we came to it.
    return;
  }
  count(counters, acceptedCounter);
  const network = networkOf(address);
  if ((countByNetwork.get(network) ?? 0) >= limits.connectionsPerNetworkMax) {
    count(counters, refusedCounter);
    socket.destroy();
    return;
  }
  if (open.size >= limits.connectionsMax) {
    count(counters, refusedCounter);
    const silent = silentLongest(connections);
    if (silent !== undefined) drop(connections, silent);
  }
  const connection = add(connections, socket, network, address);
  socket.setNoDelay(true);
  socket.on("data", (chunk: Buffer) => {
    if (connection.isFinished) return;
    connection.pending = connection.pending.length === 0 ? chunk : Buffer.concat([connection.pending, chunk]);
    consider(connections, connection);
  });
  socket.on("drain", () => {
    consider(connections, connection);
  });
  socket.on("end", () => {
    connection.isEnded = true;
    consider(connections, connection);
  });
  socket.on("error", () => {
    drop(connections, connection); // A reset by the client: its business.
  });
  socket.on("close", () => {
    drop(connections, connection);
  });
}

/** Cuts what is silent for too long, and marks what has been open for long enough. */
function sweep(connections: Connections): void {
  const { clock, limits } = connections;
  const nowMs = clock.monotonicMs();
  for (const connection of connections.open) {
    if (nowMs - connection.openedMs >= limits.lifetimeMs) connection.isOver = true;
    // Those in the queue wait for us.
    if (connection.isQueued) continue;
    if (nowMs - connection.lastAnswerMs >= limits.idleTimeoutMs) cut(connections, connection);
    else consider(connections, connection);
  }
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
