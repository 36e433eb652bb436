/**
 * DNS over TCP (RFC 7766): any number of messages per connection, each preceded by its length in two octets.
 *
 *   bytes ─▶ pending (one read and a partial message) ─▶ queue of connections with whole messages
 *                                                              │ a turn: up to 64 queries of the first in the queue
 *                                                              ▼
 *                      respond each ─▶ small answers, then large ones, in one write ─▶ back to the queue's end
 *
 * Order: of the answers of one turn, those of up to 1,232 octets leave first and longer ones after them, each kind in
 * the order of its queries. So a long answer does not delay the short answers to later queries. Clients match answers
 * by id and question (RFC 7766 §7).
 *
 * Fairness: a turn is 64 queries of one connection or 64 KiB of answers, whichever comes first. Then all other waiting
 * connections get theirs. After a total of 512 queries or KiB, everything else in the process gets a turn, above all
 * HTTP.
 *
 * The cost of a connection is bounded, whatever its client does:
 *
 *   announces a length that no query has     cut before memory is allocated for it
 *   is silent, or sends an octet now and then  cut: its time runs from answer to answer; octets don't extend it
 *   asks, and does not read the answers      beyond 64 KiB unsent nothing is answered or read, so it is cut too
 *   stays for ever                           closed after an hour, when its queries have been answered
 *   comes many times                         bounded per network; in total, the one silent longest gives way
 *
 * Clients that send edns-tcp-keepalive (RFC 7828) get the idle timeout, or 0, which asks them to close, when
 * connections become scarce or theirs is about to be closed.
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

/** How often to look for idle and old connections. */
const sweepIntervalMs = 1000;

const acceptedCounter = counterIndex("tcpAccepted");
const refusedCounter = counterIndex("tcpRefused");

/** Listens; rejects if the address can't be bound. */
export async function openStream(listen: ListenAddress, deps: StreamDeps): Promise<StreamTransport> {
  const { log, clock, sharesPorts = false } = deps;
  const failures = openFailureLog(log, clock);
  const connections = newConnections(deps);
  // Half-open, since a client may end its side before it has received its answers.
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
          resolve(); // Its only error: it was closed already.
        });
      }),
  };
}

function accept(connections: Connections, socket: Socket): void {
  const { counters, limits, open, countByNetwork } = connections;
  const address = emptyAddress();
  if (!readIp(socket.remoteAddress ?? "", address)) {
    socket.destroy(); // It was reset before it was accepted.
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
    drop(connections, connection); // The client reset the connection, which is no failure here.
  });
  socket.on("close", () => {
    drop(connections, connection);
  });
}

/** Cuts connections that have been silent for too long, and marks those that have been open for too long. */
function sweep(connections: Connections): void {
  const { clock, limits } = connections;
  const nowMs = clock.monotonicMs();
  for (const connection of connections.open) {
    if (nowMs - connection.openedMs >= limits.lifetimeMs) connection.isOver = true;
    // Connections in the queue are waiting for us, not for their clients.
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
