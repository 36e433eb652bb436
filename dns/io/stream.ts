/**
 * DNS over TCP (RFC 7766): messages with a length of two octets before each, any number in one connection.
 *
 *   bytes ─▶ pending (one read and a part of a message) ─▶ whole messages ─▶ respond ─▶ written together
 *
 * A connection can cost us only a little: no memory is taken for a length before its bytes arrive; a message longer
 * than any query ends it; its time runs from one answer to the next, so that dribbling octets gain nothing;
 * while the client does not read its answers, nothing more is read from it; and there is a limit on connections in
 * all and per client network, past which the one that was silent longest gives way, or the newcomer.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import { messageLengthMax, type Client } from "../responder.ts";
import { emptyAddress, maskIp, readIp, type IpAddress } from "../wire/address.ts";
import { putUint16, uint16At } from "../wire/bytes.ts";
import type { ListenAddress, Transport, TransportDeps } from "./transport.ts";

export interface StreamLimits {
  /** Open connections on one listening address. */
  readonly connectionsMax: number;
  /** Open connections of one client network: a /24 or a /48. */
  readonly connectionsPerNetworkMax: number;
  /** From the opening to the first answer, and from one answer to the next. */
  readonly idleTimeoutMs: number;
}

export const defaultStreamLimits: StreamLimits = {
  // 1,000 × 4 KiB pending + 128 KiB unsent at the worst is 132 MB, and some 5 MB in practice.
  connectionsMax: 1000,
  connectionsPerNetworkMax: 64,
  // RFC 7766 §6.2.3 asks for seconds; 10 is what resolvers see most.
  idleTimeoutMs: 10_000,
};

/** No query is longer: a name of 255 octets, an OPT record with options and padding to 512 fit many times. */
const messageBytesMax = 4096;
/** Answers that the client has not taken yet; past this nothing more is read from it. */
const unsentBytesMax = 128 * 1024;
/** How often idle connections are looked for. */
const sweepIntervalMs = 1000;

interface Connection {
  readonly socket: Socket;
  readonly client: Client;
  readonly network: string;
  pending: Buffer;
  /** Monotonic: when the last answer was given, at first when it was opened. */
  lastAnswerMs: number;
}

export interface StreamDeps extends TransportDeps {
  readonly clock: Clock;
  readonly limits: StreamLimits;
}

/** Listens; rejects when the address can't be bound. */
export async function openStream(listen: ListenAddress, deps: StreamDeps): Promise<Transport> {
  const { respond, stats, log, clock, limits } = deps;
  const answer = Buffer.alloc(2 + messageLengthMax);
  const body = answer.subarray(2);
  // In order of their last answer: the first is the one that was silent longest.
  const connections = new Set<Connection>();
  const countByNetwork = new Map<string, number>();

  function accept(socket: Socket): void {
    const address = emptyAddress();
    if (!readIp(socket.remoteAddress ?? "", address)) {
      socket.destroy();
      return;
    }
    stats.tcp.accepted++;
    const network = networkOf(address);
    const others = countByNetwork.get(network) ?? 0;
    if (others >= limits.connectionsPerNetworkMax) {
      stats.tcp.refused++;
      socket.destroy();
      return;
    }
    const [silent] = connections;
    if (connections.size >= limits.connectionsMax && silent !== undefined) {
      stats.tcp.refused++;
      drop(silent);
    }
    const connection: Connection = {
      socket,
      client: { address, port: socket.remotePort ?? 0, transport: "tcp" },
      network,
      pending: Buffer.alloc(0),
      lastAnswerMs: clock.monotonicMs(),
    };
    connections.add(connection);
    countByNetwork.set(network, (countByNetwork.get(network) ?? 0) + 1);
    stats.tcp.connections++;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      take(connection, chunk);
    });
    socket.on("drain", () => {
      answerWaiting(connection);
    });
    socket.on("error", () => {
      drop(connection); // A reset by the client: its business.
    });
    socket.on("close", () => {
      drop(connection);
    });
  }

  function drop(connection: Connection): void {
    if (!connections.delete(connection)) return;
    stats.tcp.connections--;
    const left = (countByNetwork.get(connection.network) ?? 1) - 1;
    if (left === 0) countByNetwork.delete(connection.network);
    else countByNetwork.set(connection.network, left);
    connection.pending = Buffer.alloc(0);
    connection.socket.destroy();
  }

  function cut(connection: Connection): void {
    stats.tcp.cut++;
    drop(connection);
  }

  function take(connection: Connection, chunk: Buffer): void {
    connection.pending = connection.pending.length === 0 ? chunk : Buffer.concat([connection.pending, chunk]);
    answerWaiting(connection);
  }

  /** Answers the whole messages that wait, as long as the client takes its answers. */
  function answerWaiting(connection: Connection): void {
    const { socket } = connection;
    let bytes = connection.pending;
    let hasAnswered = false;
    socket.cork();
    while (bytes.length >= 2 && socket.writableLength <= unsentBytesMax) {
      const length = uint16At(bytes, 0);
      if (length > messageBytesMax) {
        socket.uncork();
        cut(connection);
        return;
      }
      if (bytes.length < 2 + length) break;
      if (reply(connection, bytes.subarray(2, 2 + length))) hasAnswered = true;
      bytes = bytes.subarray(2 + length);
    }
    socket.uncork();
    // A copy, so that a few octets don't keep the whole chunk.
    connection.pending = Buffer.from(bytes);
    if (hasAnswered) {
      connection.lastAnswerMs = clock.monotonicMs();
      connections.delete(connection);
      connections.add(connection);
    }
    if (socket.writableLength > unsentBytesMax) socket.pause();
    else socket.resume();
  }

  function reply({ socket, client }: Connection, query: Uint8Array): boolean {
    const length = respond(query, client, body);
    // Silence (a response sent as a query) leaves the connection open: the next message may be a good one.
    if (length === 0) return false;
    putUint16(answer, 0, length);
    socket.write(Buffer.from(answer.subarray(0, 2 + length)));
    return true;
  }

  function sweep(): void {
    const oldest = clock.monotonicMs() - limits.idleTimeoutMs;
    for (const connection of connections) {
      if (connection.lastAnswerMs > oldest) break;
      cut(connection);
    }
  }

  const server = createServer(accept);
  await bind(server, listen);
  server.on("error", (error) => {
    log.warn({ error }, "TCP listener");
  });
  const stopSweeping: Cancel = clock.every(sweepIntervalMs, sweep);
  const bound = server.address();

  return {
    address: { host: listen.host, port: typeof bound === "object" && bound !== null ? bound.port : listen.port },
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
  maskIp(network, address.family === 4 ? 24 : 48);
  return Buffer.from(network.bytes).toString("latin1") + String(network.family);
}

function bind(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, ipv6Only: isIPv6(host), backlog: 511 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
